//! What a ScheduledTask does now: which firings start, which are suppressed and why, and when to look again.

mod calendar;
mod gate;
mod status;
mod timetable;

pub use gate::Gate;
pub use status::{Told, status};
pub use timetable::{Cause, Moment, Timetable};

use crds::v1alpha1::{
    Concurrency, Duration, MisfirePolicy, ScheduledTask, ScheduledTaskSpec, Suppressed,
    find_condition,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::Refusal;

/// A firing that starts within this time of its own was not missed.
const ON_TIME: SignedDuration = SignedDuration::from_mins(1);
/// Missed firings that are made up for at most.
const CAUGHT_UP: usize = 100;
/// Firings that are foretold.
const FORETOLD: usize = 5;
/// Moments that are looked at for them; closed times may stand between.
const LOOKED_AT: usize = 500;
/// Characters of why a firing is suppressed.
const MESSAGE: usize = 512;

/// What is said of firings meanwhile.
const SUSPENDED: &str = "spec.suspend was true";

/// What there is besides the task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Runs of this task that have not ended.
    pub active: usize,
    /// Why a run would be refused.
    pub barred: Option<Refusal>,
}

/// Moments that have come since the last turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The first firing of those that came too long ago, and the moment up to which they did.
    pub lapsed: Option<(Timestamp, Timestamp)>,
    pub moments: Vec<Moment>,
    /// Why nothing may start now, also of what was due before: a ChangeCalendar.
    pub shut: Option<Refusal>,
    /// When the next one comes, its jitter included.
    pub again: Option<Timestamp>,
}

impl Due {
    pub fn is_empty(&self) -> bool {
        self.lapsed.is_none() && self.moments.is_empty()
    }
}

/// The next moves of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// Firings that start now.
    pub start: Vec<Timestamp>,
    /// Earlier runs are cancelled first.
    pub replace: bool,
    /// Firings that do not start, in their order.
    pub suppressed: Vec<Suppressed>,
    /// Everything up to here is started or suppressed by this turn.
    pub settled: Timestamp,
    pub again: Option<Timestamp>,
}

/// The moments that have come, of a task whose schedule was read.
pub fn due(task: &ScheduledTask, table: &Timetable, now: Timestamp) -> Due {
    let spec = &task.spec;
    let settled = settled(task, now);
    if runs_left(task) == Some(0) {
        return Due::default();
    }
    let jitter = length(spec.jitter);
    let cut = now
        .saturating_sub(length(spec.misfire.deadline).max(ON_TIME))
        .and_then(|at| at.saturating_sub(jitter))
        .expect("lengths are fixed");
    let lapsed = table.after(settled).take_while(|m| m.at <= cut);
    let lapsed = lapsed
        .filter(|m| m.closed.is_none())
        .map(|m| (m.at, cut))
        .next();
    let mut due = Due {
        lapsed,
        shut: table.shut(now),
        ..Due::default()
    };
    let told = task.status.as_ref().and_then(|s| s.suppressed.first());
    for moment in table.after_told(settled.max(cut), told) {
        let ready = ready(task, &moment);
        if ready > now {
            due.again = Some(ready);
            break;
        }
        due.moments.push(moment);
    }
    if spec.suspend {
        due.again = None;
    }
    due
}

/// What becomes of them.
pub fn next(task: &ScheduledTask, due: Due, world: &World, now: Timestamp) -> Next {
    let mut sorted = Sorted {
        settled: due
            .moments
            .last()
            .map_or_else(|| settled(task, now), |m| m.at),
        ..Sorted::default()
    };
    let suspended = task.spec.suspend || was_suspended(task);
    if let Some(lapsed) = due.lapsed {
        sorted.lapse(task, lapsed, suspended);
    }
    let mut open = Vec::new();
    for Moment { at, closed } in due.moments {
        match closed {
            Some(Cause { reason, message }) => sorted.suppress(at, reason, message),
            None => open.push(at),
        }
    }
    let replace = if suspended {
        sorted.suppress_all(&open, "Suspended", SUSPENDED);
        false
    } else if let Some(refusal) = world.barred.as_ref().or(due.shut.as_ref()) {
        sorted.suppress_all(&open, refusal.reason, &refusal.message);
        false
    } else {
        let open = sorted.made_up_for(task, open, now);
        sorted.side_by_side(task, open, world.active)
    };
    sorted.suppressed.sort_by_key(|s| s.at.0);
    Next {
        replace,
        start: sorted.start,
        suppressed: sorted.suppressed,
        settled: sorted.settled,
        again: due.again,
    }
}

#[derive(Default)]
struct Sorted {
    start: Vec<Timestamp>,
    suppressed: Vec<Suppressed>,
    settled: Timestamp,
}

impl Sorted {
    fn suppress(&mut self, at: Timestamp, reason: &str, message: impl Into<String>) {
        self.suppressed.push(Suppressed {
            at: Time(at),
            reason: reason.to_owned(),
            message: crds::v1alpha1::clip(&message.into(), MESSAGE),
        });
    }

    fn suppress_all(&mut self, all: &[Timestamp], reason: &str, message: &str) {
        for &at in all {
            self.suppress(at, reason, message);
        }
    }

    /// Tells of those that came too long ago as one.
    fn lapse(
        &mut self,
        task: &ScheduledTask,
        (first, until): (Timestamp, Timestamp),
        suspended: bool,
    ) {
        self.settled = self.settled.max(until);
        let deadline = task.spec.misfire.deadline;
        let message =
            format!("missed until {until:.0}, longer ago than spec.misfire.deadline {deadline}");
        if suspended {
            self.suppress(first, "Suspended", SUSPENDED);
        } else {
            self.suppress(first, "Misfire", message);
        }
    }

    /// Takes out what is late and not made up for.
    fn made_up_for(
        &mut self,
        task: &ScheduledTask,
        open: Vec<Timestamp>,
        now: Timestamp,
    ) -> Vec<Timestamp> {
        let misfire = &task.spec.misfire;
        let is_late = |at: &Timestamp| {
            let ready = at.saturating_add(delay(task, *at)).expect("a fixed length");
            now.duration_since(ready) > ON_TIME
        };
        let (late, timely): (Vec<_>, Vec<_>) = open.into_iter().partition(is_late);
        let kept = match misfire.policy {
            MisfirePolicy::Skip => 0,
            MisfirePolicy::RunOnce => usize::from(timely.is_empty()),
            MisfirePolicy::RunAll => CAUGHT_UP,
        };
        let (missed, kept) = late.split_at(late.len() - kept.min(late.len()));
        let message = match misfire.policy {
            MisfirePolicy::Skip => "missed, and spec.misfire.policy is Skip".to_owned(),
            MisfirePolicy::RunOnce => "missed; a later firing runs in its place".to_owned(),
            MisfirePolicy::RunAll => format!("missed, and {CAUGHT_UP} later ones are made up for"),
        };
        self.suppress_all(missed, "Misfire", &message);
        [kept, &timely].concat()
    }

    /// Starts what may run beside earlier runs of the task; whether those are to end first.
    fn side_by_side(&mut self, task: &ScheduledTask, open: Vec<Timestamp>, active: usize) -> bool {
        let left = runs_left(task).unwrap_or(usize::MAX);
        let (first, last) = (open.first().copied(), open.last().copied());
        let started: Vec<_> = match task.spec.concurrency {
            Concurrency::Allow => open.iter().copied().take(left).collect(),
            Concurrency::Forbid if active > 0 => Vec::new(),
            Concurrency::Forbid => first.into_iter().collect(),
            Concurrency::Replace => last.into_iter().collect(),
        };
        let others: Vec<_> = open
            .into_iter()
            .filter(|at| !started.contains(at))
            .collect();
        match task.spec.concurrency {
            Concurrency::Forbid => self.suppress_all(
                &others,
                "PreviousRunActive",
                "an earlier run had not ended, and spec.concurrency is Forbid",
            ),
            Concurrency::Replace => self.suppress_all(
                &others,
                "Superseded",
                "a later firing was due by then, and spec.concurrency is Replace",
            ),
            Concurrency::Allow => {
                self.suppress_all(&others, "MaxRunsReached", "spec.maxRuns were started");
            }
        }
        self.start = started;
        task.spec.concurrency == Concurrency::Replace && active > 0 && !self.start.is_empty()
    }
}

/// The firings to come, and the moments between them that are none.
pub fn forecast(task: &ScheduledTask, table: &Timetable, settled: Timestamp) -> Forecast {
    let mut forecast = Forecast::default();
    let most = runs_left(task).unwrap_or(FORETOLD).min(FORETOLD);
    for moment in table.after(settled).take(LOOKED_AT) {
        if forecast.firings.len() >= most {
            break;
        }
        match moment.closed {
            None => forecast.firings.push(moment.at),
            Some(Cause { reason, message }) if forecast.suppressed.len() < FORETOLD => {
                forecast.suppressed.push(Suppressed {
                    at: Time(moment.at),
                    reason: reason.to_owned(),
                    message,
                });
            }
            Some(_) => {}
        }
    }
    forecast
}

/// What will fire, and what will not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    pub firings: Vec<Timestamp>,
    pub suppressed: Vec<Suppressed>,
}

/// Whether this turn looks for runs that its history no longer keeps: not at each firing, since looking costs more than a few runs too many.
pub fn prunes(task: &ScheduledTask, next: &Next) -> bool {
    let history = &task.spec.history;
    let every = i32::midpoint(history.succeeded, history.failed).max(1);
    let before = task.status.as_ref().and_then(|s| s.runs).unwrap_or(0);
    let after = before.saturating_add(i32::try_from(next.start.len()).unwrap_or(i32::MAX));
    before / every != after / every
}

/// Name of the run of a firing: the same whoever creates it, and another for a task of the same name that was created anew.
pub fn run_name(task: &str, uid: &str, at: Timestamp) -> String {
    let name = task[..task.len().min(36)].trim_end_matches(['-', '.']);
    let uid: String = uid
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(8)
        .collect();
    let at = at.strftime("%Y%m%dt%H%M%S");
    format!("{name}-{at}-{uid}")
}

/// Up to when everything is started or suppressed. Names of runs come from their firings, so looking at a moment again starts nothing twice; a clock that was ahead holds nothing up.
fn settled(task: &ScheduledTask, now: Timestamp) -> Timestamp {
    let created = task
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(now, |t| t.0);
    let status = task.status.as_ref();
    let known = status.and_then(|s| s.schedule_digest.as_deref());
    if known.is_some_and(|known| known != digest(&task.spec)) {
        // What the schedule of before would have fired is not this one's to make up for.
        return now;
    }
    status
        .and_then(|s| s.settled_until.as_ref())
        .map_or(created, |t| t.0)
        .min(now)
}

/// Digest of what the times of a schedule come from.
fn digest(spec: &ScheduledTaskSpec) -> String {
    let mut told = vec![json!(spec.schedule), json!(spec.calendars), json!(spec.dst)];
    if !spec.calendar_refs.is_empty() {
        told.push(json!(spec.calendar_refs));
    }
    let told = serde_json::Value::Array(told);
    format!("sha256:{}", hex::encode(Sha256::digest(told.to_string())))
}

fn was_suspended(task: &ScheduledTask) -> bool {
    let status = task.status.as_ref();
    let ready = status.and_then(|s| find_condition(&s.conditions, "Ready"));
    ready.is_some_and(|ready| ready.reason == "Suspended")
}

fn runs_left(task: &ScheduledTask) -> Option<usize> {
    let started = task.status.as_ref().and_then(|s| s.runs).unwrap_or(0);
    let left = task.spec.max_runs?.saturating_sub(started);
    Some(usize::try_from(left).unwrap_or(0))
}

fn ready(task: &ScheduledTask, moment: &Moment) -> Timestamp {
    let delay = match moment.closed {
        None => delay(task, moment.at),
        Some(_) => SignedDuration::ZERO,
    };
    moment.at.saturating_add(delay).expect("a fixed length")
}

/// What a firing is delayed by: a part of the jitter that is the same whenever one asks.
pub fn delay(task: &ScheduledTask, at: Timestamp) -> SignedDuration {
    let jitter = u64::try_from(task.spec.jitter.get().as_millis()).unwrap_or(u64::MAX);
    if jitter == 0 {
        return SignedDuration::ZERO;
    }
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let dice = Sha256::digest(format!("{uid} {}", at.as_second()));
    let dice = dice
        .iter()
        .take(8)
        .fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    SignedDuration::from_millis(i64::try_from(dice % jitter).unwrap_or(0))
}

fn length(of: Duration) -> SignedDuration {
    SignedDuration::try_from(of.get()).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
