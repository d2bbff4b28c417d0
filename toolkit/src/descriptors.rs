//! Descriptors and signals that a process inherits: the toolkit begins with none of the first but the three usual ones, and dies of no signal that belongs to a connection.

use std::os::fd::RawFd;

use nix::fcntl::OFlag;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{Mode, umask};

/// Closes everything inherited but the three usual descriptors, and takes a known state.
pub fn begin() {
    let entries = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers: Vec<RawFd> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|&number| number > 2) {
        let _ = nix::unistd::close(number);
    }
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    // A broken pipe, a gone terminal and a file over its limit are errors of the call that meets them.
    for ignored in [Signal::SIGPIPE, Signal::SIGHUP, Signal::SIGXFSZ] {
        // SAFETY: ignoring is no function of ours.
        #[allow(
            unsafe_code,
            reason = "a handler could be a function; this one is none"
        )]
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
}

/// Puts /dev/null in place of the three usual descriptors.
pub fn silence() {
    let Ok(null) = nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
    else {
        return;
    };
    for number in 0..3 {
        // SAFETY: the three usual descriptors belong to the process, and stay open under their numbers.
        #[allow(unsafe_code, reason = "the numbers are the interface")]
        if let Ok(made) = unsafe { nix::unistd::dup2_raw(&null, number) } {
            std::mem::forget(made);
        }
    }
}
