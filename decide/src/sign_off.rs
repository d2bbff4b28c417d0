//! A step that people decide on: whose Approvals count, what they come to, and until when there is time. That rests on the plan, on when the step began and on
//! the Approvals that are there; an outcome that stands in the run's status is carried out, whatever becomes of these.

use std::collections::BTreeSet;

use crds::{
    execution::State,
    v1alpha1::{
        Approval, ApprovalOutcome, ApprovalStep, Decision, DecisionTaken, JobRun, JobRunStatus,
        OnExpiry, Requester, StepApproval, SubjectKind, clip, whole_second,
    },
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    Refusal,
    approval::{Content, user},
    plan::{Plan, Task},
    run::{Next, Phase, Standing},
};

/// People whom a sentence names.
const NAMED: usize = 3;
/// Decisions that a status holds of a step.
const KEPT: usize = 16;
/// Bytes of what a status says of a step.
const MESSAGE_BYTES: usize = 512;

/// An attempt that waits for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaits {
    pub task: Task,
    pub attempt: i32,
    /// When it began.
    pub since: Timestamp,
    /// Why nobody has to decide any more.
    pub moot: Option<Moot>,
}

/// What makes a decision needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moot {
    Cancelled,
    /// The run has failed and starts nothing more.
    Stopped,
    /// Somebody has the step count as done.
    Skipped,
}

/// How an attempt ends on which was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    pub task: Task,
    pub attempt: i32,
    pub state: State,
    pub reason: &'static str,
    pub message: String,
}

/// What people are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub run: &'a str,
    pub plan: &'a Plan,
    /// Hash of the plan.
    pub hash: &'a str,
    /// What the run has said so far.
    pub told: Option<&'a JobRunStatus>,
    pub approvals: &'a [Approval],
    pub now: Timestamp,
}

/// Adds to the next moves of a run what people have decided. An outcome is written down before it is carried out, so that no leader finds another.
pub fn ask(next: &mut Next, asked: &Question<'_>) {
    next.held = is_idle(next);
    for awaits in next.awaits.clone() {
        let told = asked.told(awaits.task.step);
        let told = told.filter(|told| told.attempt == awaits.attempt && told.outcome.is_some());
        let decided = told.cloned().unwrap_or_else(|| asked.look(&awaits));
        let look_again = match decided.outcome {
            Some(outcome) if told.is_some() => {
                let body = asked.plan.asks(awaits.task.step);
                let conclusion = conclusion(&awaits, outcome, body, &decided.message);
                next.conclude.push(conclusion);
                None
            }
            Some(_) => Some(asked.now),
            None => Some(decided.until.0),
        };
        next.held &= decided.outcome.is_none();
        next.again = [next.again, look_again].into_iter().flatten().min();
        next.decided.insert(awaits.task.step, decided);
    }
}

/// Whether a run does nothing but wait for people.
fn is_idle(next: &Next) -> bool {
    let goes_on = matches!(next.phase, Phase::Running | Phase::RollingBack);
    let running = next.tasks.iter().flatten();
    let running = running.filter(|s| **s == Standing::Running).count();
    let nothing_starts = next.start.is_empty() && next.again.is_none();
    goes_on && nothing_starts && !next.awaits.is_empty() && running == next.awaits.len()
}

fn conclusion(
    awaits: &Awaits,
    outcome: ApprovalOutcome,
    body: Option<&ApprovalStep>,
    message: &str,
) -> Conclusion {
    let goes_on = body.is_some_and(|body| body.on_expiry == OnExpiry::Continue);
    let (state, reason) = match outcome {
        ApprovalOutcome::Approved => (State::Succeeded, "Approved"),
        ApprovalOutcome::Rejected => (State::Failed, "Rejected"),
        ApprovalOutcome::Expired if goes_on => (State::Succeeded, "Expired"),
        ApprovalOutcome::Expired => (State::TimedOut, "Expired"),
        ApprovalOutcome::Withdrawn => (State::Cancelled, "Withdrawn"),
    };
    Conclusion {
        task: awaits.task,
        attempt: awaits.attempt,
        state,
        reason,
        message: message.to_owned(),
    }
}

/// Why an Approval that names a step of a run does not count, if it does not.
pub fn counts(
    approval: &Approval,
    run: &JobRun,
    (plan, hash): (&Plan, &str),
    now: Timestamp,
) -> Result<(), Refusal> {
    let asked = Question {
        run: run.metadata.name.as_deref().unwrap_or_default(),
        plan,
        hash,
        told: run.status.as_ref(),
        approvals: &[],
        now,
    };
    let name = approval.spec.subject.step.as_deref().unwrap_or_default();
    let all = plan.steps.iter().map(|step| step.name.as_str());
    let asking = all
        .enumerate()
        .filter(|(step, _)| plan.asks(*step).is_some());
    let asking: Vec<_> = asking.collect();
    let Some(&(step, _)) = asking.iter().find(|(_, of)| *of == name) else {
        let named: Vec<_> = asking.iter().map(|(_, name)| *name).collect();
        let message = format!(
            "JobRun {} has no step {name} that waits for an approval; those that do: {}",
            asked.run,
            if named.is_empty() {
                "none".to_owned()
            } else {
                named.join(", ")
            }
        );
        return Err(Refusal::new("NotFound", message));
    };
    let about = asked.about(step);
    let Some(told) = asked.told(step) else {
        about.may_decide(approval, now)?;
        return Err(not_asked(name, run.is_finished()));
    };
    let span = (told.since.0, told.until.0);
    let uid = approval.metadata.uid.as_deref();
    if told.outcome.is_none() {
        return about.counts(approval, span, now);
    }
    if told.decisions.iter().any(|d| uid == Some(d.uid.as_str())) {
        return Ok(());
    }
    about.counts(approval, span, now)?;
    let message = format!("it came after the decision: {}", told.message);
    Err(Refusal::new("TooLate", message))
}

fn not_asked(step: &str, is_finished: bool) -> Refusal {
    if is_finished {
        let message = format!("the run has ended, and its step {step} waits for nobody");
        return Refusal::new("TooLate", message);
    }
    let message = format!("step {step} does not wait for an approval yet; decide when it does");
    Refusal::new("TooEarly", message)
}

impl<'a> Question<'a> {
    /// What the run says of an approval step.
    fn told(&self, step: usize) -> Option<&'a StepApproval> {
        let name = &self.plan.steps[step].name;
        let mut steps = self.told?.steps.iter();
        steps.find(|told| told.name == *name)?.approval.as_ref()
    }

    fn about(&self, step: usize) -> About<'a> {
        let (planned, plan) = (&self.plan.steps[step], self.plan);
        About {
            content: Content {
                kind: SubjectKind::JobRun,
                name: self.run,
                step: Some(&planned.name),
                digest: self.hash,
                writers: &plan.writers,
            },
            asked: plan.asks(step).expect("only such steps are asked about"),
        }
    }

    /// What has been decided by now on an attempt.
    fn look(&self, awaits: &Awaits) -> StepApproval {
        let about = self.about(awaits.task.step);
        let (since, until) = span(awaits, about.asked);
        let named = self.approvals.iter().filter(|a| about.content.is_named(a));
        let counting = named.filter(|a| about.counts(a, (since, until), self.now).is_ok());
        let mut counting: Vec<&Approval> = counting.collect();
        counting.sort_by_key(|a| (created(a), a.metadata.uid.as_deref()));
        let rejected = counting
            .iter()
            .find(|a| a.spec.decision == Decision::Reject)
            .copied();
        let mut people = BTreeSet::new();
        counting.retain(|a| a.spec.decision == Decision::Approve && people.insert(user(a)));
        let enough = usize::try_from(about.asked.approvals).is_ok_and(|n| counting.len() >= n);
        let (outcome, message) = match (awaits.moot, rejected) {
            (Some(moot), _) => (Some(ApprovalOutcome::Withdrawn), moot.told().to_owned()),
            (None, Some(by)) => (Some(ApprovalOutcome::Rejected), rejection(by)),
            (None, None) if enough => {
                let message = format!("approved by {}", named_of(&counting));
                (Some(ApprovalOutcome::Approved), message)
            }
            (None, None) if until <= self.now => (
                Some(ApprovalOutcome::Expired),
                about.expired(&counting, until),
            ),
            (None, None) => (None, about.waits(&counting, until)),
        };
        let decisions = rejected.into_iter().chain(counting).take(KEPT).map(taken);
        StepApproval {
            attempt: awaits.attempt,
            needed: about.asked.approvals,
            since: Time(since),
            until: Time(until),
            outcome,
            decisions: decisions.collect(),
            message: clip(&message, MESSAGE_BYTES),
        }
    }
}

impl Moot {
    const fn told(self) -> &'static str {
        match self {
            Self::Cancelled => "nobody decides any more, since the run was cancelled",
            Self::Stopped => "nobody decides any more, since the run has failed",
            Self::Skipped => "nobody decides any more, since the step was skipped",
        }
    }
}

/// What one step asks.
struct About<'a> {
    content: Content<'a>,
    asked: &'a ApprovalStep,
}

impl About<'_> {
    /// Whether a decision on the step is one of the time in which it is asked for.
    fn counts(
        &self,
        approval: &Approval,
        (since, until): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.may_decide(approval, now)?;
        let created = created(approval);
        if created < since {
            let message = format!(
                "it was given at {created:.0}, before the step began to wait at {since:.0}; look at what was done since, and decide anew"
            );
            return Err(Refusal::new("TooEarly", message));
        }
        if created >= until {
            let message = format!("the time to decide was over at {until:.0}");
            return Err(Refusal::new("TooLate", message));
        }
        Ok(())
    }

    /// Whether it comes from somebody who may decide, and is about this plan.
    fn may_decide(&self, approval: &Approval, now: Timestamp) -> Result<(), Refusal> {
        self.content.counts(approval, now)?;
        let nobody = Requester::default();
        let by = approval.spec.requested_by.as_ref().unwrap_or(&nobody);
        let ApprovalStep { groups, users, .. } = self.asked;
        let open = groups.is_empty() && users.is_empty();
        let is_named = users.contains(&by.user) || by.groups.iter().any(|g| groups.contains(g));
        if open || is_named {
            return Ok(());
        }
        let message = format!(
            "{} may decide on this step, and {} is none of them",
            self.whom(),
            by.user
        );
        Err(Refusal::new("NotEntitled", message))
    }

    fn waits(&self, approving: &[&Approval], until: Timestamp) -> String {
        let asked = self.asked.message.as_ref();
        let asked = asked.map(|message| format!(": {message}"));
        format!(
            "{}; {} may decide until {until:.0}{}",
            self.so_far(approving),
            self.whom(),
            asked.unwrap_or_default()
        )
    }

    fn expired(&self, approving: &[&Approval], until: Timestamp) -> String {
        let goes_on = match self.asked.on_expiry {
            OnExpiry::Fail => "",
            OnExpiry::Continue => "; the run goes on, as onExpiry says",
        };
        let so_far = self.so_far(approving);
        format!("{so_far} when the time to decide was over at {until:.0}{goes_on}")
    }

    fn so_far(&self, approving: &[&Approval]) -> String {
        let (count, needed) = (approving.len(), self.asked.approvals);
        let who = match count {
            0 => String::new(),
            _ => format!(" ({})", named_of(approving)),
        };
        format!("{count} of {needed} approvals{who}")
    }

    fn whom(&self) -> String {
        let ApprovalStep { groups, users, .. } = self.asked;
        let of_groups = (!groups.is_empty()).then(|| format!("members of {}", joined(groups)));
        let of_users = (!users.is_empty()).then(|| joined(users));
        let whom: Vec<_> = of_groups.into_iter().chain(of_users).collect();
        if whom.is_empty() {
            "whoever has the verb approve on the run".to_owned()
        } else {
            whom.join(", and ")
        }
    }
}

/// The seconds in which an Approval has to be created to count for an attempt. The API server counts whole seconds, so the one in which a first attempt began
/// is part of them, and that of a later one is not: what was said of the attempt before is no word on this one.
fn span(awaits: &Awaits, asked: &ApprovalStep) -> (Timestamp, Timestamp) {
    let second = SignedDuration::from_secs(1);
    let begun = whole_second(awaits.since);
    let later = |at: Timestamp, by: SignedDuration| {
        at.saturating_add(by).expect("it is a fixed length of time")
    };
    let since = if awaits.attempt > 1 {
        later(begun, second)
    } else {
        begun
    };
    let time = SignedDuration::try_from(asked.expires_after.get()).unwrap_or(SignedDuration::MAX);
    let whole = SignedDuration::from_secs(time.as_secs().saturating_add(1));
    let time = if time.subsec_nanos() == 0 {
        time
    } else {
        whole
    };
    (since, later(since, time))
}

/// When it was written, by the API server's clock.
fn created(approval: &Approval) -> Timestamp {
    let at = approval.metadata.creation_timestamp.as_ref();
    at.map_or(Timestamp::UNIX_EPOCH, |at| at.0)
}

fn taken(approval: &Approval) -> DecisionTaken {
    DecisionTaken {
        approval: approval.metadata.name.clone().unwrap_or_default(),
        uid: approval.metadata.uid.clone().unwrap_or_default(),
        decision: approval.spec.decision,
        by: clip(user(approval), MESSAGE_BYTES),
        at: Time(created(approval)),
    }
}

fn rejection(by: &Approval) -> String {
    let why = by.spec.reason.as_deref().unwrap_or_default();
    format!("rejected by {}: {why}", user(by))
}

fn named_of(approvals: &[&Approval]) -> String {
    let names: Vec<_> = approvals.iter().map(|a| user(a).to_owned()).collect();
    joined(&names)
}

fn joined(names: &[String]) -> String {
    let named = names.iter().take(NAMED).cloned();
    let more = names.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!("{more} more"));
    named.chain(more).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "sign_off_tests.rs"]
mod tests;
