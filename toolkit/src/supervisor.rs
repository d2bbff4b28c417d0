//! Lives as long as the run: puts the beginning on disk, executes the program, keeps its output, ends it when time is up or somebody cancels, and puts the end on
//! disk. It never prints; whoever wants to know reads the journal.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use crds::journal::{End, EndReason, Request, Stream};
use crds::mask::Masks;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, read};

use crate::account::Account;
use crate::child;
use crate::ending::{Ending, Event};
use crate::family::{Family, Group};
use crate::journal::{Begun, Held};
use crate::output::Recorder;
use crate::program::Executable;
use crate::watch::{Watch, wait_any};

/// Output is written for those who follow at most this late.
const FLUSH: Duration = Duration::from_millis(20);
/// Bytes taken from a pipe at once.
const READ: usize = 256 << 10;
/// Reads of what is left in a pipe that somebody outside of the run keeps writing to.
const LAST_READS: usize = 64;

/// All that a supervisor needs, found before it was made.
pub struct Task {
    pub held: Held,
    pub request: Request,
    pub account: Account,
    pub program: Executable,
    pub boot_id: String,
}

/// Runs the program to its end; `begun` is called once the beginning is on disk, or can not be put there.
pub fn supervise(task: Task, begun: impl FnOnce(Result<(), crate::error::Error>)) {
    let Task {
        held,
        request,
        account,
        program,
        boot_id,
    } = task;
    let (at, start) = (Timestamp::now(), Instant::now());
    let prepared = held.output().and_then(|output| {
        held.begin(&Begun { at, boot_id })?;
        Ok(output)
    });
    let output = match prepared {
        Ok(output) => output,
        Err(error) => return begun(Err(error)),
    };
    begun(Ok(()));
    let digest = request.key.digest();
    let group = Group::make(&digest);
    let door = group.as_ref().and_then(Group::door);
    // Not every kernel can do it; then a run's daemons are found by their control group alone.
    let _ = prctl::set_child_subreaper(true);
    let signals = block_signals();
    let recorder = Recorder::new(output, request.keep_bytes);
    let end = match child::spawn(&program, &account, door) {
        Ok(child) => {
            let run = Run {
                held: &held,
                main: child.pid,
                pipes: [
                    (Stream::Stdout, Some(child.stdout)),
                    (Stream::Stderr, Some(child.stderr)),
                ],
                masks: Masks::new(request.mask.iter().map(String::as_str)),
                recorder,
                flush_at: None,
                status: None,
                ending: Ending::new(Family::own(group, digest), start, &request),
            };
            run.end(&signals, at)
        }
        Err(cause) => End {
            message: format!("nothing of it ran: {cause}"),
            ..unended(EndReason::SpawnFailed, at)
        },
    };
    // Where not even this can be written, the next look finds a run that was lost.
    let _ = held.end(&end);
}

/// An end of which nothing is known but its reason.
pub fn unended(reason: EndReason, started_at: Timestamp) -> End {
    End {
        reason,
        exit_code: None,
        signal: None,
        message: String::new(),
        started_at: Some(started_at),
        finished_at: Timestamp::now(),
        output_bytes: 0,
        dropped_bytes: 0,
    }
}

fn block_signals() -> SignalFd {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)
        .expect("blocking signals of one's own is always allowed");
    SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .expect("a process that has just begun has descriptors to spare")
}

struct Run<'a> {
    held: &'a Held,
    main: Pid,
    pipes: [(Stream, Option<OwnedFd>); 2],
    masks: Masks,
    recorder: Recorder,
    flush_at: Option<Instant>,
    status: Option<WaitStatus>,
    ending: Ending,
}

impl Run<'_> {
    fn end(mut self, signals: &SignalFd, started_at: Timestamp) -> End {
        let watch = Watch::new(self.held.journal.folder());
        let mut buffer = vec![0; READ];
        let mut wish = None;
        while !self.ending.is_over() {
            self.wait(signals, &watch);
            for index in 0..self.pipes.len() {
                self.take(index, &mut buffer);
            }
            self.flush_if_due();
            let must_stop = take_signals(signals).then_some(EndReason::Lost);
            self.reap();
            // A journal that can not be read for the moment is asked again.
            let cancelled = self.held.journal.cancel_wanted().unwrap_or(false);
            wish = wish
                .or(cancelled.then_some(EndReason::Cancelled))
                .or(must_stop);
            let event = Event {
                main_over: self.status.is_some(),
                output_over: self.pipes.iter().all(|(_, pipe)| pipe.is_none()),
                wish,
            };
            self.ending.look(&event, Instant::now());
        }
        for index in 0..self.pipes.len() {
            (0..LAST_READS)
                .take_while(|_| self.take(index, &mut buffer))
                .for_each(drop);
        }
        self.close(started_at)
    }

    fn wait(&self, signals: &SignalFd, watch: &Watch) {
        let now = Instant::now();
        let due = [self.flush_at, self.ending.deadline(now)]
            .into_iter()
            .flatten()
            .min();
        let longest = due.map_or(watch.patience(), |due| {
            due.saturating_duration_since(now).min(watch.patience())
        });
        let pipes = self.pipes.iter().filter_map(|(_, pipe)| pipe.as_ref());
        let mut fds: Vec<PollFd> = pipes
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
            .collect();
        fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
        fds.extend(watch.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        wait_any(&mut fds, longest);
        watch.clear();
    }

    /// Takes output once; false when there is none at the moment, or none any more.
    fn take(&mut self, index: usize, buffer: &mut [u8]) -> bool {
        let (stream, Some(pipe)) = (self.pipes[index].0, &self.pipes[index].1) else {
            return false;
        };
        match read(pipe, buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            Ok(0) | Err(_) => {
                self.pipes[index].1 = None;
                false
            }
            Ok(count) => {
                let recorder = &mut self.recorder;
                self.masks
                    .push(stream, &buffer[..count], &mut |stream, bytes| {
                        recorder.push(stream, bytes);
                    });
                true
            }
        }
    }

    fn flush_if_due(&mut self) {
        let now = Instant::now();
        match self.flush_at {
            _ if !self.recorder.is_pending() => self.flush_at = None,
            None => self.flush_at = Some(now + FLUSH),
            Some(due) if due <= now => {
                self.recorder.flush();
                self.flush_at = None;
            }
            Some(_) => {}
        }
    }

    /// Takes the end of every child, orphans of the run included, and remembers the main one's.
    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status.pid() {
                None => break,
                Some(pid) if pid == self.main => self.status = Some(status),
                Some(_) => {}
            }
        }
    }

    fn close(mut self, started_at: Timestamp) -> End {
        let recorder = &mut self.recorder;
        self.masks
            .finish(&mut |stream, bytes| recorder.push(stream, bytes));
        let (counts, synced) = self.recorder.finish();
        let (exit_code, signal) = match self.status {
            Some(WaitStatus::Exited(_, code)) => (Some(code), None),
            Some(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
            _ => (None, None),
        };
        let mut notes: Vec<String> = self.ending.note().into_iter().collect();
        notes.extend(
            synced
                .err()
                .map(|cause| format!("the last of the output may not be on disk: {cause}")),
        );
        End {
            exit_code,
            signal,
            message: notes.join("; "),
            output_bytes: counts.bytes,
            dropped_bytes: counts.dropped,
            ..unended(self.ending.reason(exit_code.is_some()), started_at)
        }
    }
}

/// Whether the host asked the supervisor to stop, as it does when it shuts down.
fn take_signals(signals: &SignalFd) -> bool {
    let mut stop = false;
    while let Ok(Some(signal)) = signals.read_signal() {
        stop |= signal.ssi_signo != Signal::SIGCHLD as u32;
    }
    stop
}
