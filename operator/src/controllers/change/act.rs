//! The writes of a ticket's turn: the finalizer, the run and what the window does to it, and the answers to people.

use std::time::Duration;

use crds::{
    names::{FINALIZER_CHANGE, FINALIZER_RUN},
    v1alpha1::{
        Action as RunVerb, ChangeLevel, ChangeSolution, ChangeTicket, ChangeTicketStatus, JobRun,
        JobRunSpec, Origin, condition_is_true,
    },
};
use decide::{
    change::{self, Effect},
    solution,
};
use jiff::Timestamp;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{ObjectMeta, PostParams},
    runtime::controller::Action,
};

use super::{Turn, archive, observe::Seen};
use crate::{
    actions,
    context::Context,
    error::{Error, Result, acting, observing},
    finalizers, report,
};

/// Turns without anything to do, so that a clock that was set is noticed.
const CALM: Duration = Duration::from_mins(1);
/// Turns while somebody has to correct something, and while a run goes on.
const SOON: Duration = Duration::from_secs(15);
/// The shortest wait, so that the watch tells of what was just written.
const MOMENT: Duration = Duration::from_millis(20);

/// Keeps the ticket while there is a run to guard, or its solution has to be told how it ended, or its whole has not seen it, or records have not taken it in as it ends, and lets it go after that: the ticket as it is then, none where it went.
pub async fn hold(
    ctx: &Context,
    ticket: &ChangeTicket,
    seen: &Seen,
    decided: &ChangeTicketStatus,
) -> Result<Option<ChangeTicket>> {
    let is_held = ticket.finalizers().iter().any(|f| f == FINALIZER_CHANGE);
    let leaves = ticket.metadata.deletion_timestamp.is_some();
    let goes_on = guards(ticket, seen.run.as_ref());
    let whole = seen.whole.as_ref();
    let unseen = whole.is_some_and(|whole| !change::region::knows(whole, ticket));
    let unkept = decided.finished_at.is_some() && decided.archived_at.is_none();
    let guards = goes_on || unseen || unkept || owes(ticket, seen.run.as_ref());
    if leaves && goes_on && is_held {
        let note = "its run goes on, and the ticket stays until that has ended; cancel the ticket or the run to end it sooner";
        let about = ticket.object_ref(&());
        ctx.events
            .tell(&about, true, "RunGoesOn", "Delete", note)
            .await;
    }
    if leaves && !is_held {
        return Ok(None);
    }
    if is_held == guards {
        return Ok(Some(ticket.clone()));
    }
    let mut wanted = ticket.finalizers().to_vec();
    if guards {
        wanted.push(FINALIZER_CHANGE.to_owned());
    } else {
        wanted.retain(|f| f != FINALIZER_CHANGE);
    }
    let written = finalizers::put(&ctx.client, ticket, &wanted).await?;
    Ok(written.filter(|_| !leaves))
}

/// Whether a run goes on, or is about to be created.
fn guards(ticket: &ChangeTicket, run: Option<&JobRun>) -> bool {
    let Some(status) = ticket.status.as_ref().filter(|s| s.started.is_some()) else {
        return false;
    };
    match run {
        Some(run) => !run.is_finished(),
        None => {
            status.started.as_ref().is_some_and(|s| s.run.is_some())
                && status.run.is_none()
                && status.finished_at.is_none()
                && ticket.metadata.deletion_timestamp.is_none()
        }
    }
}

/// Whether a ticket with a solution has to say how it ended: one that is being deleted waits no longer than for what comes by itself.
fn owes(ticket: &ChangeTicket, run: Option<&JobRun>) -> bool {
    let Some(status) = &ticket.status else {
        return false;
    };
    let Some(started) = status.started.as_ref().filter(|_| uses(ticket)) else {
        return false;
    };
    if ticket.is_finished() {
        return solution::owing(ticket).is_some();
    }
    let has_run = status.run.is_some() || run.is_some();
    let ends_by_itself = has_run && started.level > ChangeLevel::B;
    ends_by_itself || ticket.metadata.deletion_timestamp.is_none()
}

fn uses(ticket: &ChangeTicket) -> bool {
    let status = ticket.status.as_ref();
    status.is_some_and(|status| status.solution.is_some())
}

pub async fn carry_out(
    ctx: &Context,
    ticket: &ChangeTicket,
    decided: &change::Turn,
    effect: Effect,
    seen: &Seen,
) -> Result<()> {
    let name = ticket.name_any();
    let closes = format!("the window of ChangeTicket {name} closes");
    let cancelled = format!("ChangeTicket {name} was cancelled");
    let (verb, word, because) = match effect {
        Effect::Create => return create(ctx, ticket, decided, seen).await,
        Effect::Suspend => (RunVerb::Suspend, "window-closes", closes),
        Effect::Abort => (RunVerb::Cancel, "window-closes", closes),
        Effect::Cancel => (RunVerb::Cancel, "ticket-cancelled", cancelled),
    };
    match &seen.run {
        Some(run) => actions::once(ctx, run, verb, word, &because).await,
        None => Ok(()),
    }
}

/// Creates the run, unless it is there.
async fn create(
    ctx: &Context,
    ticket: &ChangeTicket,
    decided: &change::Turn,
    seen: &Seen,
) -> Result<()> {
    let Some(run) = run_of(ctx, ticket, decided, seen) else {
        return Ok(());
    };
    let namespace = ticket.namespace().unwrap_or_default();
    let (api, name) = (
        Api::<JobRun>::namespaced(ctx.prompt.clone(), &namespace),
        run.name_any(),
    );
    match api.create(&PostParams::default(), &run).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = api.get_opt(&name).await;
            let there = there.map_err(observing(format!("JobRun {name}")))?;
            let ours = there.is_none_or(|run| change::is_own(&run, ticket));
            ours.then_some(()).ok_or(Error::NameTaken { name })
        }
        Err(error) => Err(acting(format!("JobRun {name}"))(error)),
    }
}

/// A run of what was approved. It is no part of the ticket: whatever deletes that in the foreground would cancel it.
fn run_of(
    ctx: &Context,
    ticket: &ChangeTicket,
    decided: &change::Turn,
    seen: &Seen,
) -> Option<JobRun> {
    let solution = seen.solution();
    let planned = change::planned(ticket, solution)?;
    let own = Origin {
        kind: ChangeTicket::kind(&()).into_owned(),
        name: ticket.name_any(),
        uid: ticket.uid().unwrap_or_default(),
        at: None,
        requested_by: seen.author(ticket).cloned().unwrap_or_default(),
    };
    let further = solution.map(|seen| Origin {
        kind: ChangeSolution::kind(&()).into_owned(),
        name: seen.used.name.clone(),
        uid: seen.used.uid.clone(),
        at: None,
        requested_by: seen.requested_by.clone(),
    });
    Some(JobRun {
        metadata: ObjectMeta {
            name: decided.status.run.clone(),
            namespace: ticket.namespace(),
            finalizers: Some(vec![FINALIZER_RUN.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: JobRunSpec {
            job_ref: Some(planned.job_ref.clone()),
            job_revision: decided.status.job_revision.clone(),
            parameters: planned.parameters.clone(),
            secret_parameters: planned.secret_parameters.clone(),
            on_behalf_of: [own].into_iter().chain(further).collect(),
            requested_by: Some(ctx.me.clone()),
            ..JobRunSpec::new(&planned.service_account_name)
        },
        status: None,
    })
}

/// Tells people what became of their actions.
pub async fn answer(ctx: &Context, turn: &Turn, now: Timestamp) -> Result<()> {
    for (action, answer) in turn.actions.iter().zip(&turn.decided.answers) {
        let status = change::answered(action, answer, now);
        report::status(&ctx.client, action, "pilothouse-changeaction", &status).await?;
    }
    Ok(())
}

/// When to look again.
pub async fn again(ctx: &Context, turn: &Turn, now: Timestamp) -> Result<Action> {
    let (decided, status) = (&turn.decided, &turn.decided.status);
    let is_draft = !condition_is_true(&status.conditions, "Submitted");
    let owes = status.solution.as_ref().is_some_and(|used| !used.told);
    if owes && status.started.is_some() && status.finished_at.is_some() {
        return Ok(Action::requeue(SOON));
    }
    if status.finished_at.is_some() {
        return archive::rest(ctx, turn, now).await;
    }
    if is_draft && decided.again.is_none() {
        return Ok(Action::await_change());
    }
    let waits = condition_is_true(&status.conditions, "Stalled")
        || condition_is_true(&status.conditions, "Executing");
    let calm = if waits { SOON } else { CALM };
    let next = decided.again.map(|at| at.duration_since(now));
    let next = next.and_then(|wait| Duration::try_from(wait).ok());
    Ok(Action::requeue(next.unwrap_or(CALM).clamp(MOMENT, calm)))
}
