//! One key's journal: a folder that says what was asked, whether it began, what it put out and how it ended. The folder itself is the lock: who holds
//! it starts, supervises or judges the run; it falls free when its holder dies, however that happens.

use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;

use crds::journal::{End, EndReason, Interpreter, Program, Request, VERSION};
use crds::key::EffectKey;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Step as _};
use crate::root;
use crate::slots::Slots;

const STATE: &str = "state";
const OUTPUT: &str = "output";
const REQUEST: &str = "request.json";
/// Every file of a journal.
pub const FILES: [&str; 3] = [STATE, OUTPUT, REQUEST];

const MISSING: Error = Error::Damaged("its state is missing");

const HEADER: usize = 0;
const BEGUN: usize = 1;
const CANCEL: usize = 2;
const END: usize = 3;
const FORGOTTEN: usize = 4;
const SLOTS: usize = 5;

/// First fact of a journal.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
}

/// The run began, or was about to: it is never begun again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    pub at: Timestamp,
    pub boot_id: String,
}

/// Something was asked for at a time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Mark {
    pub at: Timestamp,
}

/// What was asked, for people who look into the folder: digests and names, no text of scripts and no values.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    version: u32,
    key: &'a EffectKey,
    epoch: i64,
    interpreter: Option<Interpreter>,
    program_digest: String,
    variables: Vec<&'a str>,
    run_as: Option<&'a str>,
    workdir: Option<&'a str>,
    timeout_seconds: Option<u32>,
    grace_seconds: u32,
    keep_bytes: u64,
}

/// How far a run got.
#[derive(Debug)]
pub enum Stage {
    /// It never began.
    Fresh,
    /// It began, and no end is written.
    Begun(Begun),
    /// It is over; without `Begun` it was cancelled before it began.
    Ended(Option<Begun>, End),
}

/// A key's folder.
pub struct Journal {
    folder: OwnedFd,
}

/// The right to start, supervise or judge the run. It is never given back by hand: it ends when the last process that has it closes it or dies.
pub struct Held {
    pub journal: Journal,
    _lock: File,
}

/// Answer to the wish to hold a journal.
pub enum Claim {
    Held(Held),
    /// Somebody else holds it.
    Busy,
    /// It was swept a moment ago; open it again.
    Gone,
}

impl Journal {
    /// Opens the key's folder, and makes it when it is missing.
    pub fn open(journals: &OwnedFd, digest: &str) -> Result<Self, Error> {
        Ok(Self {
            folder: root::make(journals, digest)?,
        })
    }

    /// Opens the folder of that name, if it is there.
    pub fn existing(journals: &OwnedFd, name: &std::ffi::OsStr) -> Result<Option<Self>, Error> {
        Ok(root::existing(journals, name)?.map(|folder| Self { folder }))
    }

    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Asks for the journal without waiting.
    pub fn claim(&self) -> Result<Claim, Error> {
        // A descriptor of its own, because a lock belongs to whoever shares the descriptor.
        let own = nix::fcntl::openat(
            &self.folder,
            ".",
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            nix::sys::stat::Mode::empty(),
        );
        let own = match own {
            Err(Errno::ENOENT) => return Ok(Claim::Gone),
            other => other.reading("open the journal's folder")?,
        };
        let lock = File::from(own);
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(Claim::Busy),
            Err(TryLockError::Error(cause)) => Err(cause).reading("lock the journal"),
            Ok(())
                if fstat(&lock)
                    .reading("look at the journal's folder")?
                    .st_nlink
                    == 0 =>
            {
                Ok(Claim::Gone)
            }
            Ok(()) => {
                let folder = self
                    .folder
                    .try_clone()
                    .reading("share the journal's folder")?;
                Ok(Claim::Held(Held {
                    journal: Self { folder },
                    _lock: lock,
                }))
            }
        }
    }

    pub fn stage(&self) -> Result<Stage, Error> {
        let Some(state) = self.state()? else {
            return Ok(Stage::Fresh);
        };
        // The end is read first: a run may begin and end between the two looks, and must not seem to have ended without beginning.
        let end: Option<End> = state.read(END)?;
        Ok(match (state.read(BEGUN)?, end) {
            (begun, Some(end)) => Stage::Ended(begun, end),
            (Some(begun), None) => Stage::Begun(begun),
            (None, None) => Stage::Fresh,
        })
    }

    /// The state to read, unless it was never completed.
    fn state(&self) -> Result<Option<Slots>, Error> {
        ours(Slots::open(&self.folder, STATE, SLOTS)?)
    }

    /// The state to write, unless it was never completed.
    fn writable_state(&self) -> Result<Option<Slots>, Error> {
        ours(Slots::open_to_write(&self.folder, STATE, SLOTS)?)
    }

    /// Whether somebody wants the run to end.
    pub fn cancel_wanted(&self) -> Result<bool, Error> {
        Ok(self
            .state()?
            .ok_or(MISSING)?
            .read::<Mark>(CANCEL)?
            .is_some())
    }

    /// Wants the run to end.
    pub fn want_cancel(&self, now: Timestamp) -> Result<(), Error> {
        self.writable_state()?
            .ok_or(MISSING)?
            .write(CANCEL, &Mark { at: now })
    }

    pub fn forgotten(&self) -> Result<Option<Mark>, Error> {
        self.state()?
            .map_or(Ok(None), |state| state.read(FORGOTTEN))
    }

    /// Allows the journal to be swept; false when there is nothing to forget.
    pub fn forget(&self, now: Timestamp) -> Result<bool, Error> {
        let Some(state) = self.writable_state()? else {
            return Ok(false);
        };
        state.write(FORGOTTEN, &Mark { at: now }).map(|()| true)
    }

    /// The output, to read.
    pub fn output(&self) -> Result<File, Error> {
        root::file(&self.folder, OUTPUT, OFlag::O_RDONLY).reading("open the output")
    }
}

/// What the header says decides who may read the rest.
fn ours(state: Option<Slots>) -> Result<Option<Slots>, Error> {
    let Some(state) = state else {
        return Ok(None);
    };
    match state.read::<Header>(HEADER)? {
        None => Ok(None),
        Some(Header { version: VERSION }) => Ok(Some(state)),
        Some(Header { version }) => Err(Error::UnknownVersion(format!(
            "the journal of this key has version {version}, and this toolkit reads version {VERSION}; use the toolkit that wrote it"
        ))),
    }
}

impl Held {
    /// Takes all the space that the end will need, and puts the request on disk.
    pub fn prepare(&self, request: &Request) -> Result<(), Error> {
        self.make_state()?;
        let asked = serde_json::to_vec(&Asked::from(request)).expect("plain data");
        let file = root::file(
            &self.journal.folder,
            REQUEST,
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC,
        )
        .writing("make the request file")?;
        std::io::Write::write_all(&mut &file, &asked).writing("write the request")?;
        file.sync_all().writing("sync the request")?;
        self.output().map(drop)?;
        fsync(&self.journal.folder).writing("sync the journal's folder")
    }

    fn make_state(&self) -> Result<(), Error> {
        Slots::make(&self.journal.folder, STATE, SLOTS)?.write(HEADER, &Header { version: VERSION })
    }

    /// The output, to write.
    pub fn output(&self) -> Result<File, Error> {
        root::file(
            &self.journal.folder,
            OUTPUT,
            OFlag::O_WRONLY | OFlag::O_CREAT,
        )
        .writing("make the output file")
    }

    /// From here on the run is never begun again.
    pub fn begin(&self, begun: &Begun) -> Result<(), Error> {
        self.journal
            .writable_state()?
            .ok_or(MISSING)?
            .write(BEGUN, begun)
    }

    pub fn end(&self, end: &End) -> Result<(), Error> {
        self.journal
            .writable_state()?
            .ok_or(MISSING)?
            .write(END, end)
    }

    /// Keeps a run that never began from ever beginning.
    pub fn bury(&self, now: Timestamp) -> Result<End, Error> {
        let end = End {
            reason: EndReason::Cancelled,
            exit_code: None,
            signal: None,
            message: "it was cancelled before it began".into(),
            started_at: None,
            finished_at: now,
            output_bytes: 0,
            dropped_bytes: 0,
        };
        self.make_state()?;
        fsync(&self.journal.folder).writing("sync the journal's folder")?;
        self.end(&end)?;
        Ok(end)
    }

    /// Takes the journal away, its folder included.
    pub fn remove(self, journals: &OwnedFd, name: &std::ffi::OsStr) -> Result<(), Error> {
        for file in FILES {
            match unlinkat(&self.journal.folder, file, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(source) => {
                    return Err(Error::Write {
                        what: "remove a file of the journal",
                        source,
                    });
                }
            }
        }
        unlinkat(journals, name, UnlinkatFlags::RemoveDir).writing("remove the journal's folder")
    }
}

impl<'a> From<&'a Request> for Asked<'a> {
    fn from(request: &'a Request) -> Self {
        let (interpreter, text) = match &request.program {
            Program::Script {
                interpreter,
                content,
            } => (Some(*interpreter), content.as_bytes().to_vec()),
            Program::Argv(argv) => (None, argv.join("\0").into_bytes()),
        };
        Self {
            version: VERSION,
            key: &request.key,
            epoch: request.epoch,
            interpreter,
            program_digest: hex::encode(Sha256::digest(text)),
            variables: request.env.keys().map(String::as_str).collect(),
            run_as: request.run_as.as_deref(),
            workdir: request.workdir.as_deref(),
            timeout_seconds: request.timeout_seconds,
            grace_seconds: request.grace_seconds,
            keep_bytes: request.keep_bytes,
        }
    }
}
