//! Waits for a change in a journal's folder: its slots and output are written there, and its files are closed when their writer dies.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Longest wait where changes are told, as a second line.
const TOLD: Duration = Duration::from_secs(1);
/// Longest wait where the host has no more watches to give.
const UNTOLD: Duration = Duration::from_millis(100);

/// A watch on a folder.
pub struct Watch(Option<Inotify>);

impl Watch {
    pub fn new(folder: &OwnedFd) -> Self {
        let wanted =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_CREATE;
        let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        Self(
            watch
                .ok()
                .filter(|watch| watch.add_watch(path.as_str(), wanted).is_ok()),
        )
    }

    /// Longest time to wait before the folder is looked at again.
    pub const fn patience(&self) -> Duration {
        if self.0.is_some() { TOLD } else { UNTOLD }
    }

    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|watch| watch.as_fd())
    }

    /// Takes what was told; what it was does not matter, the folder is looked at as a whole.
    pub fn clear(&self) {
        let Some(watch) = &self.0 else { return };
        while watch.read_events().is_ok_and(|events| !events.is_empty()) {}
    }

    /// Waits for a change; false when the other side of standard output went away.
    pub fn wait(&self) -> bool {
        let stdout = std::io::stdout();
        let mut fds = vec![PollFd::new(stdout.as_fd(), PollFlags::empty())];
        fds.extend(self.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let _ = poll(&mut fds, timeout(self.patience()));
        let gone = fds[0].revents().is_some_and(|r| {
            r.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL)
        });
        self.clear();
        !gone
    }
}

/// Waits for any of the descriptors; interruptions and time-outs are answered alike, by looking again.
pub fn wait_any(fds: &mut [PollFd], longest: Duration) {
    match poll(fds, timeout(longest)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(cause) => {
            panic!("poll takes descriptors that are open and memory that is ours: {cause}")
        }
    }
}

/// Rounded up, so that a wait never ends just before its time.
fn timeout(longest: Duration) -> PollTimeout {
    let milliseconds = longest.as_nanos().div_ceil(1_000_000);
    i32::try_from(milliseconds)
        .ok()
        .and_then(|ms| PollTimeout::try_from(ms).ok())
        .unwrap_or(PollTimeout::MAX)
}
