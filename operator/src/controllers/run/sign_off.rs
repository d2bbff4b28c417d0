//! Asks people on whom a step of a run waits: what they have decided, and what becomes of the run's machines while they think.

use std::mem;

use crds::v1alpha1::{Approval, ApprovalOutcome, JobRun, JobRunStatus, StepStatus, SubjectKind};
use decide::{
    run::Next,
    sign_off::{self, Question},
};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    News,
    observe::{self, Kept},
    part,
};
use crate::{claims::Taken, context::Context, error::Result};

/// Adds to the next moves what has been decided by now. Approvals that come later wake the run.
pub async fn ask(
    ctx: &Context,
    run: &JobRun,
    kept: &Kept,
    next: &mut Next,
    now: Timestamp,
) -> Result<()> {
    if next.awaits.is_empty() {
        return Ok(());
    }
    let asked = Question {
        run: &run.name_any(),
        plan: &kept.plan,
        hash: &kept.hash,
        told: run.status.as_ref(),
        approvals: &about(ctx, run).await?,
        now,
    };
    sign_off::ask(next, &asked);
    Ok(())
}

/// Approvals that are about a step of a run.
async fn about(ctx: &Context, run: &JobRun) -> Result<Vec<Approval>> {
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    let is = |approval: &Approval| {
        let subject = &approval.spec.subject;
        subject.kind == SubjectKind::JobRun && subject.name == name && subject.step.is_some()
    };
    ctx.approvals.within(&namespace, is).await
}

/// What became of the approval steps.
pub fn outcomes(status: &JobRunStatus) -> Vec<Option<(i32, Option<ApprovalOutcome>)>> {
    let steps = status.steps.iter();
    let outcome = |step: &StepStatus| {
        let approval = step.approval.as_ref()?;
        Some((approval.attempt, approval.outcome))
    };
    steps.map(outcome).collect()
}

/// After the run has said something new: its Approvals say whether they count for it, and machines that it does without are given to others.
pub async fn told(
    ctx: &Context,
    run: &JobRun,
    old: Option<&JobRunStatus>,
    new: &JobRunStatus,
) -> Result<()> {
    let had = old.is_some_and(|old| old.released_at.is_none());
    if had && new.released_at.is_some() {
        ctx.release(&run.uid().unwrap_or_default());
    }
    let before = old.map(outcomes).unwrap_or_default();
    let now = outcomes(new);
    if now.iter().all(Option::is_none) || before == now {
        return Ok(());
    }
    let namespace = run.namespace().unwrap_or_default();
    for approval in about(ctx, run).await? {
        ctx.wake_approval(&namespace, &approval.name_any());
    }
    Ok(())
}

/// Whether a run that has begun does without its machines, and what there is to say while it waits for them again. Others may work on them while people think;
/// nothing starts before the run has them again and its status says so.
pub async fn machines(
    ctx: &Context,
    run: &JobRun,
    kept: &Kept,
    next: &mut Next,
    now: Timestamp,
) -> Result<(bool, Option<News>)> {
    let does_without = run.status.as_ref().is_some_and(|s| s.released_at.is_some());
    if next.held {
        // What a part has is its whole's too, which would wait for it.
        let may_go = part::family(run).is_empty() && !kept.plan.machines().is_empty();
        return Ok((does_without || may_go, None));
    }
    let works = |step: usize| kept.plan.asks(step).is_none();
    if !does_without || !next.start.iter().any(|(task, _)| works(task.step)) {
        return Ok((does_without, None));
    }
    drop(mem::take(&mut next.start));
    let reason = "WaitingForMachine";
    match ctx.memory.claims.take(&run.uid().unwrap_or_default()) {
        Taken::Given => {
            next.again = Some(now);
            Ok((false, None))
        }
        Taken::Waits(other, message) => {
            observe::still_there(ctx, &other).await?;
            Ok((true, Some(News::Waiting { reason, message })))
        }
        Taken::Never(refusal) => {
            let message = refusal.message;
            Ok((true, Some(News::Waiting { reason, message })))
        }
    }
}
