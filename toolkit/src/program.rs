//! What is executed: the program's file, its arguments, its environment and its folder, found on the host before anything is journalled. A script's text
//! travels in sealed memory; only its interpreter ever opens it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use crds::journal::{EFFECT_VARIABLE, Interpreter, Program, Request};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{AccessFlags, access};

use crate::account::Account;
use crate::error::{Error, Step as _};

/// Where programs are looked for, and what they are told.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Number under which an interpreter finds its script.
pub const SCRIPT: i32 = 3;

/// A program that is ready to be executed.
pub struct Executable {
    pub file: CString,
    pub argv: Vec<CString>,
    pub env: Vec<CString>,
    pub folder: CString,
    /// The script's text.
    pub script: Option<OwnedFd>,
}

impl Executable {
    pub fn find(request: &Request, account: &Account) -> Result<Self, Error> {
        let (argv, script) = match &request.program {
            Program::Script {
                interpreter,
                content,
            } => {
                let name = match interpreter {
                    Interpreter::Shell => "/bin/sh",
                    Interpreter::Bash => "bash",
                    Interpreter::Python => "python3",
                };
                (
                    vec![name.to_owned(), format!("/proc/self/fd/{SCRIPT}")],
                    Some(sealed(content)?),
                )
            }
            Program::Argv(argv) => (argv.clone(), None),
        };
        let file = locate(&argv[0])?;
        let folder = match &request.workdir {
            Some(folder) if !std::path::Path::new(folder).is_dir() => {
                return Err(Error::ProgramMissing(
                    "the folder of workdir is not on this host; create it, or name another".into(),
                ));
            }
            Some(folder) => folder.clone(),
            None if std::path::Path::new(&account.home).is_dir() => account.home.clone(),
            None => "/".into(),
        };
        Ok(Self {
            file: c(file),
            argv: argv.into_iter().map(c).collect(),
            env: environment(request, account)
                .into_iter()
                .map(|(name, value)| c(format!("{name}={value}")))
                .collect(),
            folder: c(folder),
            script,
        })
    }
}

fn c(text: String) -> CString {
    CString::new(text).expect("the request was checked for zero bytes")
}

fn environment(request: &Request, account: &Account) -> BTreeMap<String, String> {
    let own = [
        ("PATH", PATH),
        ("HOME", &account.home),
        ("USER", &account.name),
        ("LOGNAME", &account.name),
        ("SHELL", &account.shell),
        ("LANG", "C.UTF-8"),
    ];
    let mut all: BTreeMap<String, String> = own
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    all.extend(request.env.clone());
    all.insert(EFFECT_VARIABLE.into(), request.key.digest());
    all
}

fn locate(name: &str) -> Result<String, Error> {
    let runs = |path: &String| {
        std::path::Path::new(path).is_file() && access(path.as_str(), AccessFlags::X_OK).is_ok()
    };
    let found = if name.starts_with('/') {
        Some(name.to_owned()).filter(runs)
    } else if name.contains('/') {
        None
    } else {
        PATH.split(':')
            .map(|folder| format!("{folder}/{name}"))
            .find(runs)
    };
    found.ok_or_else(|| {
        Error::ProgramMissing(format!(
            "this host has no program {:?} in {PATH}; install it, or give an absolute path",
            name.chars().take(256).collect::<String>()
        ))
    })
}

fn sealed(content: &str) -> Result<OwnedFd, Error> {
    let memory = memfd_create(
        c"script",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )
    .writing("take memory for the script")?;
    let mut file = std::fs::File::from(memory);
    file.write_all(content.as_bytes())
        .writing("put the script into memory")?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).writing("seal the script")?;
    Ok(file.into())
}
