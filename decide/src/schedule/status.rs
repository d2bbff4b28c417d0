//! What a ScheduledTask's status says.

use crds::v1alpha1::{
    ScheduledTask, ScheduledTaskSpec, ScheduledTaskStatus, Suppressed, Verdict, clip,
    find_condition, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Next, Timetable, World, digest, forecast,
    gate::{CLOSED, WAITED_FOR},
    run_name,
};
use crate::Refusal;

/// Suppressed firings that are kept.
const KEPT: usize = 10;

/// What a turn came to.
pub struct Told<'a> {
    pub table: &'a Timetable,
    pub next: &'a Next,
    /// Where somebody looked.
    pub world: Option<&'a World>,
}

/// The status after a turn; the refusal says what has to be corrected in the spec.
pub fn status(
    task: &ScheduledTask,
    told: &Result<Told<'_>, Refusal>,
    now: Timestamp,
) -> ScheduledTaskStatus {
    let mut status = task.status.clone().unwrap_or_default();
    status.observed_generation = task.metadata.generation;
    status.schedule = Some(clip(&line(&task.spec), 256));
    status.schedule_digest = Some(digest(&task.spec));
    (status.next_firings, status.next_suppressed) = (Vec::new(), Vec::new());
    let verdict = match told {
        Ok(told) => {
            settle(&mut status, task, told, now);
            foretell(&mut status, task, told)
        }
        Err(refusal) => stalled(refusal.reason, &refusal.message),
    };
    let generation = task.metadata.generation;
    if verdict.status == "False" && !WAITED_FOR.contains(&verdict.reason) {
        let stalled = Verdict::yes("Stalled", verdict.reason, verdict.message.clone());
        set_condition(&mut status.conditions, &stalled, generation, now);
    } else {
        status.conditions.retain(|c| c.type_ != "Stalled");
    }
    set_condition(&mut status.conditions, &verdict, generation, now);
    status
}

/// Takes in what was started and suppressed.
fn settle(status: &mut ScheduledTaskStatus, task: &ScheduledTask, told: &Told<'_>, now: Timestamp) {
    let (uid, name) = (task.metadata.uid.as_deref(), task.metadata.name.as_deref());
    let before = status.last_fired.iter().map(|at| at.0);
    let fired: Vec<_> = before.chain(told.next.start.iter().copied()).collect();
    if let Some(&last) = told.next.start.last() {
        status.last_fired = Some(Time(last));
        status.last_run = Some(run_name(
            name.unwrap_or_default(),
            uid.unwrap_or_default(),
            last,
        ));
        let started = i32::try_from(told.next.start.len()).unwrap_or(i32::MAX);
        status.runs = Some(status.runs.unwrap_or(0).saturating_add(started));
    }
    for suppressed in &told.next.suppressed {
        remember(status, suppressed, &fired);
    }
    status.last_suppressed = status.suppressed.first().map(|s| {
        let at = told.table.local(s.at.0).strftime("%Y-%m-%d %H:%M:%S");
        clip(&format!("{at} {}", s.reason), 128)
    });
    status.settled_until = Some(Time(told.next.settled));
    if let Some(world) = told.world {
        let entitled = match &world.barred {
            None => Verdict::yes("Entitled", "MayRun", ""),
            Some(refusal) => Verdict::no("Entitled", refusal.reason, &refusal.message),
        };
        set_condition(
            &mut status.conditions,
            &entitled,
            task.metadata.generation,
            now,
        );
    }
}

/// The latest first; what follows another of the same cause, with no run between, becomes one with it.
fn remember(status: &mut ScheduledTaskStatus, suppressed: &Suppressed, fired: &[Timestamp]) {
    let kept = &mut status.suppressed;
    let same = |s: &Suppressed| {
        let between = |at: &Timestamp| s.at.0 < *at && *at < suppressed.at.0;
        !fired.iter().any(between)
            && s.reason == suppressed.reason
            && s.message == suppressed.message
    };
    if kept.first().is_some_and(same) {
        return;
    }
    kept.insert(0, suppressed.clone());
    kept.truncate(KEPT);
}

/// What comes next, and whether the task is in order.
fn foretell(status: &mut ScheduledTaskStatus, task: &ScheduledTask, told: &Told<'_>) -> Verdict {
    if task.spec.suspend {
        return Verdict::yes("Ready", "Suspended", "spec.suspend is true");
    }
    let runs = status.runs.unwrap_or(0);
    if task.spec.max_runs.is_some_and(|max| runs >= max) {
        return Verdict::yes(
            "Ready",
            "Finished",
            format!("spec.maxRuns: {runs} were started"),
        );
    }
    if let Some(lacking) = told.table.lacking() {
        return Verdict::no("Ready", lacking.reason, &lacking.message);
    }
    let asked = ScheduledTask {
        status: Some(status.clone()),
        ..task.clone()
    };
    let forecast = forecast(&asked, told.table, told.next.settled);
    status.next_firings = forecast.firings.into_iter().map(Time).collect();
    status.next_suppressed = forecast.suppressed;
    if status.next_firings.is_empty() {
        return finished(status, &task.spec);
    }
    match find_condition(&status.conditions, "Entitled").filter(|c| c.status == "False") {
        Some(barred) => Verdict {
            type_: "Ready",
            status: "False",
            reason: known(&barred.reason),
            message: barred.message.clone(),
        },
        None => Verdict::yes("Ready", "Scheduled", ""),
    }
}

fn finished(status: &ScheduledTaskStatus, spec: &ScheduledTaskSpec) -> Verdict {
    let mut suppressed = status.next_suppressed.iter();
    if let Some(closed) = suppressed.find(|s| s.reason == CLOSED) {
        return Verdict::no("Ready", CLOSED, &closed.message);
    }
    if !status.next_suppressed.is_empty() {
        return stalled(
            "NeverFires",
            "spec.calendars close every time of the schedule that is left",
        );
    }
    if status.runs.is_some() || !status.suppressed.is_empty() {
        return Verdict::yes("Ready", "Finished", "no firing is left");
    }
    match &spec.schedule.at {
        Some(at) => stalled(
            "InThePast",
            format!(
                "spec.schedule.at: {} had passed when this was written",
                at.0
            ),
        ),
        None => stalled(
            "NeverFires",
            "no time of spec.schedule ever comes, or none before spec.expires; correct it",
        ),
    }
}

fn stalled(reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict::no("Ready", reason, message)
}

/// Reasons of a condition that this very module wrote.
fn known(reason: &str) -> &'static str {
    let known = ["JobNotFound", "WriterNotEntitled", "NotStamped"];
    known
        .into_iter()
        .find(|k| *k == reason)
        .unwrap_or("NotEntitled")
}

fn line(spec: &ScheduledTaskSpec) -> String {
    let schedule = &spec.schedule;
    let zone = schedule.time_zone.as_deref().unwrap_or_default();
    match (&schedule.at, &schedule.every, &schedule.cron) {
        (Some(at), _, _) => format!("at {}", at.0),
        (_, Some(every), _) => format!("every {every}"),
        (_, _, cron) => format!("{} {zone}", cron.as_deref().unwrap_or_default()),
    }
}
