//! How a run comes to its end: by itself, by time, by request. Whatever the way, when it is over no process of it is left, or the message says how many resisted.

use std::time::{Duration, Instant};

use crds::journal::{EndReason, Request};
use nix::sys::signal::Signal;

use crate::family::Family;

/// How long output is awaited after the main process ended, where something in the background still holds the pipe.
const DRAIN: Duration = Duration::from_secs(2);
/// Longest time between TERM and KILL for what a program left in the background.
const BACKGROUND_GRACE: Duration = Duration::from_secs(1);
/// How long killed processes may take to go; one in an uninterruptible wait may take for ever.
const KILL: Duration = Duration::from_secs(5);
/// How long what is about to end by itself may take to do so, before it counts as left in the background.
const SETTLE: Duration = Duration::from_millis(100);
/// How often it is looked whether signalled processes are gone.
const LOOK: Duration = Duration::from_millis(20);

/// What a turn of the supervisor saw.
pub struct Event {
    pub main_over: bool,
    pub output_over: bool,
    /// Why it should end although it could go on: cancelled, or lost because the supervisor must stop.
    pub wish: Option<EndReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The main process ended; its output is awaited.
    Draining(Instant),
    /// Its output is over; what is still there may be about to go.
    Settling(Instant),
    /// TERM was sent.
    Terminating(Instant),
    /// KILL was sent.
    Killing(Instant),
    Over,
}

/// The way of one run to its end.
pub struct Ending {
    family: Family,
    phase: Phase,
    cause: Option<EndReason>,
    deadline: Option<Instant>,
    grace: Duration,
    /// Processes that were left in the background, and ended.
    background: usize,
    /// Processes that could not be ended.
    left: usize,
}

impl Ending {
    pub fn new(family: Family, start: Instant, request: &Request) -> Self {
        let timeout = request
            .timeout_seconds
            .map(|seconds| Duration::from_secs(seconds.into()));
        Self {
            family,
            phase: Phase::Running,
            cause: None,
            // A timeout beyond what the clock can say is none.
            deadline: timeout.and_then(|timeout| start.checked_add(timeout)),
            grace: Duration::from_secs(request.grace_seconds.into()),
            background: 0,
            left: 0,
        }
    }

    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// When to look again at the latest.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Running => self.deadline,
            Phase::Draining(until) => Some(until),
            Phase::Settling(until) | Phase::Terminating(until) | Phase::Killing(until) => {
                Some(until.min(now + LOOK))
            }
            Phase::Over => Some(now),
        }
    }

    pub fn look(&mut self, event: &Event, now: Instant) {
        match self.phase {
            Phase::Running => self.look_at_running(event, now),
            Phase::Draining(until) if event.output_over || now >= until => {
                self.phase = Phase::Settling(now + SETTLE);
                self.look(event, now);
            }
            Phase::Settling(until) if now >= until => self.end_the_rest(now),
            Phase::Settling(_) | Phase::Terminating(_) | Phase::Killing(_)
                if event.main_over && self.family.members().is_empty() =>
            {
                self.phase = Phase::Over;
            }
            Phase::Terminating(until) if now >= until => {
                self.family.signal(Signal::SIGKILL);
                self.phase = Phase::Killing(now + KILL);
            }
            Phase::Killing(until) if now >= until => {
                self.left = self.family.members().len();
                self.phase = Phase::Over;
            }
            // What is born while its parent dies is met again.
            Phase::Killing(_) => self.family.signal(Signal::SIGKILL),
            _ => {}
        }
    }

    fn look_at_running(&mut self, event: &Event, now: Instant) {
        if event.main_over {
            self.phase = Phase::Draining(now + DRAIN);
            return self.look(event, now);
        }
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        self.cause = event.wish.or(late.then_some(EndReason::TimedOut));
        if self.cause.is_none() {
            return;
        }
        self.family.signal(Signal::SIGTERM);
        self.phase = Phase::Terminating(now + self.grace);
    }

    fn end_the_rest(&mut self, now: Instant) {
        self.background = self.family.members().len();
        if self.background == 0 {
            self.phase = Phase::Over;
            return;
        }
        self.family.signal(Signal::SIGTERM);
        self.phase = Phase::Terminating(now + self.grace.min(BACKGROUND_GRACE));
    }

    /// The reason to write; `exited` says whether the main process ended by itself.
    pub fn reason(&self, exited: bool) -> EndReason {
        self.cause.unwrap_or(if exited {
            EndReason::Exited
        } else {
            EndReason::Signaled
        })
    }

    /// What people should know.
    pub fn note(&self) -> Option<String> {
        let stopped =
            "the host asked the supervisor to stop, as at a shutdown, and the run was ended";
        match (self.left, self.cause) {
            (0, Some(EndReason::Lost)) => Some(stopped.into()),
            (0, _) => match self.background {
                0 => None,
                1 => Some("1 background process was ended".into()),
                many => Some(format!("{many} background processes were ended")),
            },
            (left, _) => Some(format!(
                "{left} of its processes could not be ended; look for them on the host"
            )),
        }
    }
}
