//! The folder that holds every journal. It is opened one component at a time and never through a link, and refused unless only its owner can change it.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::{fsync, geteuid};

use crate::error::{Error, Step as _};

/// Mode of every folder below the root, and of the root when it is made here.
pub const FOLDER: Mode = Mode::S_IRWXU;
/// Mode of every file.
pub const FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// A folder that only its owner can change.
pub struct Root {
    folder: OwnedFd,
}

impl Root {
    /// Opens the folder, and makes it when only its last component is missing.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut folder = openat(AT_FDCWD, "/", flags(), Mode::empty()).reading("open /")?;
        let mut parts = path.components().peekable();
        if parts.next() != Some(Component::RootDir) {
            return Err(Error::BadRequest(format!(
                "the root {} is not an absolute path",
                path.display()
            )));
        }
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else {
                return Err(Error::BadRequest(format!(
                    "the root {} holds a component that is no name",
                    path.display()
                )));
            };
            let last = parts.peek().is_none();
            folder = enter(&folder, Path::new(name), last)
                .map_err(|cause| unsafe_part(cause, Path::new(name)))?;
            check(&fstat(&folder).reading("look at the root")?, last).map_err(|rule| {
                Error::UnsafeRoot(format!(
                    "{} of {} {rule}",
                    Path::new(name).display(),
                    path.display()
                ))
            })?;
        }
        Ok(Self { folder })
    }

    /// Opens a folder directly below, and makes it when it is missing.
    pub fn folder(&self, name: &str) -> Result<OwnedFd, Error> {
        make(&self.folder, name)
    }
}

const fn flags() -> OFlag {
    OFlag::O_DIRECTORY
        .union(OFlag::O_NOFOLLOW)
        .union(OFlag::O_CLOEXEC)
        .union(OFlag::O_RDONLY)
}

fn enter(parent: &OwnedFd, name: &Path, last: bool) -> Result<OwnedFd, Errno> {
    match openat(parent, name, flags(), Mode::empty()) {
        Err(Errno::ENOENT) if last => {
            mkdirat(parent, name, FOLDER)
                .or_else(|e| if e == Errno::EEXIST { Ok(()) } else { Err(e) })?;
            openat(parent, name, flags(), Mode::empty())
        }
        other => other,
    }
}

fn unsafe_part(cause: Errno, name: &Path) -> Error {
    match cause {
        Errno::ELOOP | Errno::ENOTDIR => {
            Error::UnsafeRoot(format!("{} is a link or no folder", name.display()))
        }
        Errno::ENOSPC | Errno::EROFS | Errno::EDQUOT | Errno::EACCES | Errno::EPERM => {
            Error::Write {
                what: "make the root",
                source: cause,
            }
        }
        source => Error::Read {
            what: "open the root",
            source,
        },
    }
}

/// Says which rule a component breaks. Parents may belong to root, and be open to all when sticky, as /tmp is.
fn check(found: &FileStat, last: bool) -> Result<(), &'static str> {
    let own = found.st_uid == geteuid().as_raw();
    let open = found.st_mode & 0o022 != 0;
    let sticky = found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
        && found.st_mode & 0o1000 != 0;
    match (last, own, open) {
        (true, false, _) => Err("does not belong to the toolkit's user"),
        (true, _, true) => Err("can be written by others"),
        (false, false, _) if found.st_uid != 0 => Err("belongs to another user"),
        (false, _, true) if !sticky => Err("can be written by others"),
        _ => Ok(()),
    }
}

/// Opens a folder of the toolkit's user alone, and makes it durably when it is missing.
pub fn make(parent: impl AsFd, name: &str) -> Result<OwnedFd, Error> {
    match mkdirat(&parent, name, FOLDER) {
        Ok(()) => fsync(&parent).writing("sync a folder")?,
        Err(Errno::EEXIST) => {}
        Err(source) => {
            return Err(Error::Write {
                what: "make a folder",
                source,
            });
        }
    }
    let folder = openat(&parent, name, flags(), Mode::empty()).reading("open a folder")?;
    let found = fstat(&folder).reading("look at a folder")?;
    if found.st_uid != geteuid().as_raw() || found.st_mode & 0o077 != 0 {
        return Err(Error::UnsafeRoot(format!(
            "{name} is not owned by the toolkit's user alone"
        )));
    }
    Ok(folder)
}

/// Opens a folder that is there.
pub fn existing(parent: impl AsFd, name: &std::ffi::OsStr) -> Result<Option<OwnedFd>, Error> {
    match openat(parent, name.as_bytes(), flags(), Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::ENOENT) => Ok(None),
        Err(source) => Err(Error::Read {
            what: "open a folder",
            source,
        }),
    }
}

/// Opens a file directly in a folder.
pub fn file(folder: impl AsFd, name: &str, how: OFlag) -> Result<File, Errno> {
    openat(
        folder,
        name,
        how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        FILE,
    )
    .map(File::from)
}
