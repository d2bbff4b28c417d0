//! What a run's status says: conditions, counts, and one sentence on what it waits for or why it ended.

use crds::v1alpha1::{
    ActionTaken, Duration, JobRun, JobRunStatus, ParameterRead, StepStatus, TargetCounts, Verdict,
    clip, condition_is_true, find_condition, set_condition,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    Refusal, again,
    control::Control,
    plan::{Plan, PlannedStep},
    receipt::ALREADY_BEGUN,
    run::{End, Hold, Next, Phase, Standing},
};

/// Failed targets that a step names.
const NAMED: usize = 10;

/// Actions that a status holds.
const ACTIONS: usize = 20;

/// What a run says of work that waits for a place.
pub const CROWDED: &str = "work waits for a place: this namespace holds its share of what the operator has in hand at once (operator.limits.inFlight)";

/// What a turn found out.
#[derive(Clone, Debug)]
pub enum Outlook<'a> {
    /// The run can never be planned.
    Refused(&'a Refusal),
    /// Something has to come first; reason and message name it.
    Waiting {
        reason: &'static str,
        message: &'a str,
    },
    Moving(&'a Next),
    /// Cancelled before there was a plan, or when it is lost.
    Cancelled,
    /// The turn failed and will be taken again.
    Errored {
        category: &'static str,
        message: &'a str,
    },
}

/// The frozen plan and where it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Frozen<'a> {
    pub plan: &'a Plan,
    pub name: &'a str,
    pub hash: &'a str,
}

/// A turn as the status tells it.
#[derive(Clone, Debug)]
pub struct Turn<'a> {
    pub frozen: Option<Frozen<'a>>,
    /// None where the turn failed before it knew; what stood then stays.
    pub control: Option<&'a Control>,
    /// Actions that this turn took in.
    pub taken: &'a [ActionTaken],
    /// The run has its machines; from the next turn on there may be effects.
    pub begun: bool,
    /// Whether the run lets go of its machines while people think; none where the turn failed before it knew.
    pub lets_go: Option<bool>,
    /// Work of the run waits until there is a place for it.
    pub crowded: bool,
    pub outlook: Outlook<'a>,
}

/// The status after a turn.
pub fn status(run: &JobRun, turn: &Turn<'_>, now: Timestamp) -> JobRunStatus {
    let mut status = run.status.clone().unwrap_or_default();
    status.observed_generation = run.metadata.generation;
    // What was asked for stays, whatever else this turn has to say.
    if let Some(control) = turn.control {
        control.keep(&mut status, turn.frozen.map(|frozen| frozen.plan));
        status.actions.extend(turn.taken.iter().cloned());
        let over = status.actions.len().saturating_sub(ACTIONS);
        status.actions.drain(..over);
    }
    if turn.begun {
        status.started_at.get_or_insert(Time(now));
    }
    match turn.lets_go {
        Some(true) => drop(status.released_at.get_or_insert(Time(now))),
        Some(false) => status.released_at = None,
        None => {}
    }
    let frozen = turn.frozen;
    if let Some(frozen) = frozen {
        describe_plan(&mut status, frozen);
        status.notes = notes(frozen.plan, turn.crowded);
    }
    let told = match &turn.outlook {
        Outlook::Refused(refusal) => refused(refusal),
        Outlook::Waiting { reason, message } => waiting(reason, message),
        Outlook::Cancelled => cancelled(turn.begun),
        Outlook::Errored { category, message } => waiting(category, message),
        Outlook::Moving(next) => {
            if let Some(frozen) = frozen {
                count(&mut status, frozen.plan, next);
            }
            let above = turn
                .control
                .is_some_and(|c| c.suspended_above && !c.suspend);
            let named = run.metadata.name.as_deref().unwrap_or_default();
            match awaited(named, frozen, next) {
                Some(asked) if next.held => waiting("AwaitingApproval", &asked),
                asked => moving(&status, next, above, asked),
            }
        }
    };
    let planned = status.plan_hash.is_some();
    tell(&mut status, planned, &told, run.metadata.generation, now);
    status
}

/// When a run that has ended is deleted.
pub fn expires(run: &JobRun, usual: Option<Duration>) -> Option<Timestamp> {
    let status = run.status.as_ref()?;
    let failed = find_condition(&status.conditions, "Failed");
    if failed.is_some_and(|c| c.reason == ALREADY_BEGUN) {
        // Git brought it back; it would bring it back again and again.
        return None;
    }
    let ended = status.finished_at.as_ref()?.0;
    let kept = SignedDuration::try_from(run.spec.ttl_after_finished.or(usual)?.get()).ok()?;
    ended.checked_add(kept).ok()
}

/// One turn's news.
struct Told {
    summary: &'static str,
    message: String,
    running: Verdict,
    suspended: Option<(&'static str, String)>,
    /// `Ok` is Complete, `Err` is Failed; with the reason.
    end: Option<Result<&'static str, &'static str>>,
}

fn refused(refusal: &Refusal) -> Told {
    Told {
        summary: "Refused",
        message: refusal.message.clone(),
        running: Verdict::no("Running", "Refused", ""),
        suspended: None,
        end: Some(Err(refusal.reason)),
    }
}

fn cancelled(begun: bool) -> Told {
    let message = if begun {
        "cancelled; its plan is lost, so what still runs on targets ends by its own timeout"
    } else {
        "cancelled before anything was started"
    };
    Told {
        summary: "Cancelled",
        message: message.into(),
        running: Verdict::no("Running", "Ended", ""),
        suspended: None,
        end: Some(Err("Cancelled")),
    }
}

fn waiting(reason: &'static str, message: &str) -> Told {
    Told {
        summary: "Waiting",
        message: message.to_owned(),
        running: Verdict::no("Running", reason, message),
        suspended: None,
        end: None,
    }
}

/// Whom the run asks by which steps, and what was just decided.
fn awaited(run: &str, frozen: Option<Frozen<'_>>, next: &Next) -> Option<String> {
    let plan = frozen?.plan;
    let told = next.decided.iter().map(|(&step, approval)| {
        let (step, message) = (&plan.steps[step].name, &approval.message);
        let how = format!(" (kubectl pilothouse approve run/{run} --step {step})");
        let how = approval.outcome.map_or(how, |_| String::new());
        format!("steps.{step}: {message}{how}")
    });
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| told.join("; and "))
}

fn moving(
    status: &JobRunStatus,
    next: &Next,
    suspended_above: bool,
    asked: Option<String>,
) -> Told {
    let counts = status.targets.clone().unwrap_or_default();
    let failures = format!("{} of {} targets failed", counts.failed, counts.total);
    let going = |summary, reason: &'static str, message: String| Told {
        summary,
        running: Verdict::yes("Running", reason, message.clone()),
        message,
        suspended: None,
        end: None,
    };
    match next.phase {
        Phase::Running => going(
            "Running",
            "InProgress",
            asked.unwrap_or_else(|| {
                let at = next.again;
                at.map(|at| format!("the next attempt or batch starts at {at:.0}"))
                    .unwrap_or_default()
            }),
        ),
        Phase::RollingBack => going(
            "RollingBack",
            "RollingBack",
            format!("{failures}; the steps of onFailure are taken"),
        ),
        Phase::Cancelling => going("Cancelling", "Cancelling", "ending what runs".into()),
        Phase::Suspended(hold) => held(hold, suspended_above, &failures),
        Phase::Ended(end) => ended(end, &counts, &failures),
    }
}

fn ended(end: End, counts: &TargetCounts, failures: &str) -> Told {
    let (summary, end, message) = match end {
        End::Succeeded if counts.failed > 0 => (
            "Succeeded",
            Ok("Succeeded"),
            format!("{failures}, within maxFailures"),
        ),
        End::Succeeded => (
            "Succeeded",
            Ok("Succeeded"),
            format!("all {} targets succeeded", counts.total),
        ),
        End::Skipped => (
            "Skipped",
            Ok("Skipped"),
            "no target matched; nothing was done".to_owned(),
        ),
        End::Failed => (
            "Failed",
            Err("StepsFailed"),
            format!("{failures}; see `kubectl get executions`"),
        ),
        End::Cancelled => (
            "Cancelled",
            Err("Cancelled"),
            "cancelled by a RunAction".to_owned(),
        ),
    };
    Told {
        summary,
        message,
        running: Verdict::no("Running", "Ended", ""),
        suspended: None,
        end: Some(end),
    }
}

fn held(hold: Hold, above: bool, failures: &str) -> Told {
    let (reason, message) = match hold {
        Hold::Asked if above => (
            "ParentSuspended",
            "the run that it is a part of is suspended; Resume that one".to_owned(),
        ),
        Hold::Asked => (
            "Asked",
            "suspended by a RunAction; Resume or Cancel it with another".to_owned(),
        ),
        Hold::ThresholdExceeded => (
            "ThresholdExceeded",
            format!("{failures}, more than maxFailures; Resume or Cancel with a RunAction"),
        ),
    };
    Told {
        summary: "Suspended",
        running: Verdict::no("Running", "Suspended", message.clone()),
        suspended: Some((reason, message.clone())),
        message,
        end: None,
    }
}

fn describe_plan(status: &mut JobRunStatus, frozen: Frozen<'_>) {
    let plan = frozen.plan;
    status.plan_name = Some(frozen.name.to_owned());
    status.plan_hash = Some(frozen.hash.to_owned());
    let read = plan.read.iter().map(|(name, from)| ParameterRead {
        name: name.clone(),
        parameter: from.name.clone(),
        version: from.version.unwrap_or_default(),
    });
    status.parameters = read.collect();
    if status.targets.is_none() {
        status.targets = Some(TargetCounts {
            total: number(plan.total()),
            ..TargetCounts::default()
        });
    }
}

fn notes(plan: &Plan, crowded: bool) -> Vec<String> {
    let plain = plan
        .lanes
        .iter()
        .flat_map(|l| &l.targets)
        .filter(|t| t.plain)
        .count();
    let plain = (plain > 0).then(|| format!("{plain} hosts take no toolkit (transport Plain): work that is cut off there becomes Unknown and is not repeated"));
    let crowded = crowded.then(|| CROWDED.to_owned());
    plain.into_iter().chain(crowded).collect()
}

fn count(status: &mut JobRunStatus, plan: &Plan, next: &Next) {
    let before = std::mem::take(&mut status.steps);
    let told = |(step, planned): (usize, &PlannedStep)| {
        let before = before.iter().find(|told| told.name == planned.name);
        // What was decided stays.
        let decided = next.decided.get(&step);
        let approval = decided.or_else(|| before?.approval.as_ref());
        StepStatus {
            approval: approval.cloned(),
            ..step_status(plan, step, &planned.name, &next.tasks[step])
        }
    };
    status.steps = plan.steps.iter().enumerate().map(told).collect();
    let (mut ended, mut succeeded) = (0, 0);
    for (lane, targets) in plan.lanes.iter().enumerate() {
        let steps: Vec<_> = (0..plan.steps.len())
            .filter(|&s| plan.steps[s].lane == lane && !plan.steps[s].on_failure)
            .collect();
        for target in 0..targets.targets.len() {
            let mut all = steps.iter().map(|&step| next.tasks[step][target]);
            ended += usize::from(all.all(|s| !matches!(s, Standing::Pending | Standing::Running)));
            succeeded += usize::from(again::is_well(plan, next, lane, target));
        }
    }
    let total = plan.total();
    status.targets = Some(TargetCounts {
        total: number(total),
        succeeded: number(succeeded),
        failed: number(next.failed_targets),
    });
    status.progress = Some(format!("{ended}/{total}"));
}

fn step_status(plan: &Plan, step: usize, name: &str, tasks: &[Standing]) -> StepStatus {
    let of = |wanted| number(tasks.iter().filter(|&&s| s == wanted).count());
    let failed = tasks
        .iter()
        .enumerate()
        .filter(|(_, s)| **s == Standing::Failed);
    StepStatus {
        name: name.to_owned(),
        pending: of(Standing::Pending),
        running: of(Standing::Running),
        succeeded: of(Standing::Succeeded),
        failed: of(Standing::Failed),
        skipped: of(Standing::Skipped) + of(Standing::Passed),
        failed_targets: failed
            .take(NAMED)
            .map(|(i, _)| plan.lane(step).targets[i].name.clone())
            .collect(),
        approval: None,
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).expect("targets are bounded by the schema")
}

fn tell(
    status: &mut JobRunStatus,
    planned: bool,
    told: &Told,
    generation: Option<i64>,
    now: Timestamp,
) {
    status.summary = Some(told.summary.to_owned());
    status.message = Some(clip(&told.message, 1024));
    let mut set =
        |verdict: &Verdict| set_condition(&mut status.conditions, verdict, generation, now);
    set(&match (planned, told.end) {
        (true, _) => Verdict::yes("Planned", "Frozen", ""),
        (false, Some(Err(reason))) => Verdict::no("Planned", reason, &told.message),
        (false, _) => Verdict::no("Planned", told.running.reason, &told.message),
    });
    set(&told.running);
    set(&match &told.suspended {
        Some((reason, message)) => Verdict::yes("Suspended", reason, message),
        None => Verdict::no("Suspended", "NotSuspended", ""),
    });
    for verdict in verdicts(told) {
        set(&verdict);
    }
    if told.end.is_some() {
        // kstatus reads a Reconciling that is left over as work still going on.
        status.conditions.retain(|c| c.type_ != "Reconciling");
        status.finished_at.get_or_insert(Time(now));
    }
    debug_assert!(
        !(condition_is_true(&status.conditions, "Complete")
            && condition_is_true(&status.conditions, "Failed"))
    );
}

/// What people and kstatus read off whether it goes on, and how it ended.
fn verdicts(told: &Told) -> Vec<Verdict> {
    let message = &told.message;
    match told.end {
        Some(Ok(reason)) => vec![
            Verdict::yes("Complete", reason, message),
            Verdict::yes("Ready", reason, message),
        ],
        // Git brought it back; there is nothing left to do, and nothing for anybody to correct.
        Some(Err(reason)) if reason == ALREADY_BEGUN => vec![
            Verdict::yes("Failed", reason, message),
            Verdict::yes("Ready", reason, message),
        ],
        Some(Err(reason)) => vec![
            Verdict::yes("Failed", reason, message),
            Verdict::yes("Stalled", reason, message),
            Verdict::no("Ready", reason, message),
        ],
        None => vec![
            Verdict::yes("Reconciling", told.running.reason, message),
            Verdict::unknown("Ready", told.running.reason, message),
        ],
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
