//! Starts the program as the named user, in a session of its own, with its output in two pipes. Either the program is executed, or the step that failed is
//! told and nothing of it has run.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{
    ForkResult, Pid, chdir, execve, fork, geteuid, getpid, getppid, pipe2, setgroups, setresgid,
    setresuid, setsid,
};

use crate::account::Account;
use crate::program::{Executable, SCRIPT};

/// Descriptors below this number are given to the program.
const GIVEN: RawFd = SCRIPT + 1;

/// What the program can put out before it waits for the supervisor: much, so that the two seldom wait for each other.
const PIPE: i32 = 1 << 20;

/// A program that runs.
pub struct Child {
    pub pid: Pid,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// The program was not executed.
#[derive(Debug, thiserror::Error)]
#[error("the host could not {step}: {source}")]
pub struct NotExecuted {
    step: String,
    source: Errno,
}

type Failure = (&'static str, Errno);

trait Doing<T> {
    fn doing(self, step: &'static str) -> Result<T, Failure>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, step: &'static str) -> Result<T, Failure> {
        self.map_err(|e| (step, e))
    }
}

struct Ends {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    script: Option<OwnedFd>,
    group: Option<OwnedFd>,
}

/// Executes the program; `group` is the list of processes of its control group.
pub fn spawn(
    program: &Executable,
    account: &Account,
    group: Option<OwnedFd>,
) -> Result<Child, NotExecuted> {
    let prepared = prepare(program, group).map_err(|(step, source)| NotExecuted {
        step: step.into(),
        source,
    })?;
    let (ends, stdout, stderr, told, tell) = prepared;
    let supervisor = getpid();
    // SAFETY: the toolkit has one thread, so the child may do whatever its parent could.
    #[allow(
        unsafe_code,
        reason = "std::process can not run the steps between fork and exec"
    )]
    let forked = unsafe { fork() };
    match forked {
        Err(source) => Err(NotExecuted {
            step: "make a process".into(),
            source,
        }),
        Ok(ForkResult::Child) => {
            drop(told);
            let Err((step, cause)) = become_program(program, account, &ends, supervisor);
            let _ = File::from(tell).write_all(format!("{} {step}", cause as i32).as_bytes());
            std::process::exit(127)
        }
        Ok(ForkResult::Parent { child }) => {
            drop((ends, tell));
            outcome(told).inspect_err(|_| {
                let _ = waitpid(child, None);
            })?;
            Ok(Child {
                pid: child,
                stdout,
                stderr,
            })
        }
    }
}

type Prepared = (Ends, OwnedFd, OwnedFd, OwnedFd, OwnedFd);

fn prepare(program: &Executable, group: Option<OwnedFd>) -> Result<Prepared, Failure> {
    let pipe = || pipe2(OFlag::O_CLOEXEC).doing("make a pipe");
    let ((stdout, stdout_end), (stderr, stderr_end), (told, tell)) = (pipe()?, pipe()?, pipe()?);
    let null = nix::fcntl::open(
        "/dev/null",
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .doing("open /dev/null")?;
    let script = program.script.as_ref().map(high).transpose()?;
    let ends = Ends {
        stdin: high(&null)?,
        stdout: high(&stdout_end)?,
        stderr: high(&stderr_end)?,
        script,
        group,
    };
    for read in [&stdout, &stderr] {
        fcntl(read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).doing("prepare a pipe")?;
        // A user who may have no larger pipe has a slower one.
        let _ = fcntl(read, FcntlArg::F_SETPIPE_SZ(PIPE));
    }
    Ok((ends, stdout, stderr, told, high(&tell)?))
}

/// Another descriptor for the same, out of the way of the numbers that the program is given.
fn high(fd: &OwnedFd) -> Result<OwnedFd, Failure> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(GIVEN)).doing("share a descriptor")?;
    // SAFETY: the kernel has just made this descriptor for us.
    #[allow(unsafe_code, reason = "fcntl gives a bare number")]
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Waits until the program is executed, or reads why it is not.
fn outcome(told: OwnedFd) -> Result<(), NotExecuted> {
    let mut text = String::new();
    // A child that dies before it can tell is like one whose program died at once.
    let _ = File::from(told).read_to_string(&mut text);
    match text.split_once(' ') {
        None => Ok(()),
        Some((code, step)) => Err(NotExecuted {
            step: step.into(),
            source: Errno::from_raw(code.parse().unwrap_or_default()),
        }),
    }
}

fn become_program(
    program: &Executable,
    account: &Account,
    ends: &Ends,
    supervisor: Pid,
) -> Result<Infallible, Failure> {
    setsid().doing("begin a session")?;
    if let Some(group) = &ends.group {
        nix::unistd::write(group, b"0").doing("enter the control group")?;
    }
    reset_signals()?;
    give(ends)?;
    become_user(account)?;
    // After the change of user, which would clear it; and a supervisor that died before it sends nothing any more.
    prctl::set_pdeathsig(Signal::SIGKILL).doing("follow the supervisor")?;
    if getppid() != supervisor {
        return Err(("follow the supervisor", Errno::ESRCH));
    }
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    chdir::<CStr>(&program.folder).doing("enter the folder")?;
    execve(&program.file, &program.argv, &program.env).doing("execute the program")
}

fn reset_signals() -> Result<(), Failure> {
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: the default action is no function of ours.
        #[allow(
            unsafe_code,
            reason = "a handler could be a function; this one is none"
        )]
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.doing("reset signals")?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).doing("unblock signals")
}

/// Puts the ends under the numbers that programs expect; everything else closes when the program is executed.
fn give(ends: &Ends) -> Result<(), Failure> {
    let mut given = vec![(&ends.stdin, 0), (&ends.stdout, 1), (&ends.stderr, 2)];
    given.extend(ends.script.as_ref().map(|script| (script, SCRIPT)));
    for (end, number) in given {
        // SAFETY: nothing here owns the small numbers: descriptors inherited under them were closed or replaced at start.
        #[allow(unsafe_code, reason = "the numbers are the interface of exec")]
        let made = unsafe { nix::unistd::dup2_raw(end, number) }.doing("hand over a descriptor")?;
        std::mem::forget(made);
    }
    for entry in std::fs::read_dir("/proc/self/fd").map_err(|_| ("list descriptors", Errno::EIO))? {
        let number = entry
            .ok()
            .and_then(|e| e.file_name().to_str()?.parse::<RawFd>().ok());
        let beyond = if ends.script.is_some() { GIVEN } else { SCRIPT };
        if let Some(number) = number.filter(|&n| n >= beyond) {
            close_on_exec(number);
        }
    }
    Ok(())
}

fn close_on_exec(number: RawFd) {
    // SAFETY: the descriptor is only borrowed for the call, and one that is gone already makes it fail harmlessly.
    #[allow(
        unsafe_code,
        reason = "descriptors that nobody here owns are known by number only"
    )]
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    debug_assert_eq!(fd.as_raw_fd(), number);
}

fn become_user(account: &Account) -> Result<(), Failure> {
    if account.uid == geteuid() {
        return Ok(());
    }
    setgroups(&account.groups).doing("take the user's groups")?;
    setresgid(account.gid, account.gid, account.gid).doing("take the user's group")?;
    setresuid(account.uid, account.uid, account.uid).doing("become the user")
}
