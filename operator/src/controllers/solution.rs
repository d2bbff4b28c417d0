//! ChangeSolution: says how far its review is, and takes in how the tickets ended that were started with it. Each of those stays until it has seen that.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{ChangeSolution, ChangeSolutionStatus, ChangeTicket, Job, SubjectKind};
use decide::{
    change::Content,
    solution::{self, Told, World},
};
use jiff::Timestamp;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::ListParams,
    core::DeserializeGuard,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};

use super::{change, valid};
use crate::{
    context::Context,
    entitled::Writer,
    error::{Result, chain, observing},
    planned::{self, Planned},
    report, scope,
};

const MANAGER: &str = "pilothouse-changesolution";
/// Turns in which nothing is foreseen.
const CALM: Duration = Duration::from_mins(1);

/// Has a solution looked at when its Job was written, which says so of itself when what it names was.
pub fn following(
    solutions: Controller<DeserializeGuard<ChangeSolution>>,
    ctx: &Context,
    part: &str,
) -> Controller<DeserializeGuard<ChangeSolution>> {
    let known = solutions.store();
    solutions.watches(
        scope::within::<DeserializeGuard<Job>>(&ctx.client, part),
        watcher::Config::default(),
        move |job| {
            let (namespace, name) = (job.namespace(), job.name_any());
            let runs = |solution: &Arc<DeserializeGuard<ChangeSolution>>| {
                let planned = solution.0.as_ref().ok()?.spec.plan.job.as_ref()?;
                let runs = solution.namespace() == namespace && planned.job_ref.name == name;
                runs.then(|| ObjectRef::from_obj(&**solution))
            };
            known.state().iter().filter_map(runs).collect::<Vec<_>>()
        },
    )
}

pub async fn reconcile(
    solution: Arc<DeserializeGuard<ChangeSolution>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let solution = valid(&solution)?;
    let now = Timestamp::now();
    let turn = turn(solution, &ctx, now).await;
    let status = match &turn {
        Ok((told, _)) => told.status.clone(),
        Err(error) => solution::failed(solution, error.category(), &chain(error), now),
    };
    if solution.status.as_ref() != Some(&status) {
        report::status(&ctx.client, solution, MANAGER, &status).await?;
        tell(&ctx, solution, &status).await;
    }
    let (told, ended) = turn?;
    for ticket in ended {
        // It looks whether it is among the results, and goes where it has to.
        ctx.wake_ticket(&ticket.namespace().unwrap_or_default(), &ticket.name_any());
    }
    ctx.succeeded(solution);
    let next = told.again.map(|at| at.duration_since(now));
    let next = next.and_then(|wait| Duration::try_from(wait).ok());
    Ok(Action::requeue(next.unwrap_or(CALM).min(CALM)))
}

async fn turn(
    solution: &ChangeSolution,
    ctx: &Context,
    now: Timestamp,
) -> Result<(Told, Vec<ChangeTicket>)> {
    let namespace = solution.namespace().unwrap_or_default();
    let (kind, name) = (SubjectKind::ChangeSolution, solution.name_any());
    let found = look(ctx, solution, true).await?;
    let ended = ended(ctx, solution, &namespace).await?;
    let approvals = change::approvals(ctx, &namespace, kind, &name).await?;
    let world = World {
        job: found.job,
        barred: found.barred,
        approvals: &approvals,
        ended: &ended,
    };
    Ok((solution::status(solution, &world, now), ended))
}

/// Its Job as it is now; of a draft nobody asks.
async fn look(ctx: &Context, solution: &ChangeSolution, asks_rights: bool) -> Result<Planned> {
    let namespace = solution.namespace().unwrap_or_default();
    let own = solution.spec.requested_by.as_ref();
    let own = Writer::new("ChangeSolution", &solution.name_any(), own);
    let job = solution.spec.plan.job.as_ref();
    let job = job.filter(|_| solution.spec.submit);
    planned::look(ctx, &namespace, job, asks_rights.then(|| vec![own])).await
}

/// What is decided on by Approvals of the solution; none where its Job cannot be run.
pub async fn content(ctx: &Context, solution: &ChangeSolution) -> Result<Option<Content>> {
    let found = look(ctx, solution, false).await?;
    let job = found.job.ok();
    Ok(job.map(|job| Content::of_solution(solution, job.as_ref())))
}

/// Tickets that owe it their end. What is heard of tickets may be late, and only says whether to ask: whoever is counted is read after the solution itself was, whose status is written at that version or not at all.
async fn ended(
    ctx: &Context,
    solution: &ChangeSolution,
    namespace: &str,
) -> Result<Vec<ChangeTicket>> {
    let own = |ticket: &ChangeTicket| {
        let used = solution::owing(ticket);
        used.is_some_and(|used| Some(&used.uid) == solution.metadata.uid.as_ref())
    };
    if !ctx.bookings.any(namespace, own).await? {
        return Ok(Vec::new());
    }
    let tickets = Api::<DeserializeGuard<ChangeTicket>>::namespaced(ctx.prompt.clone(), namespace);
    let listed = tickets.list(&ListParams::default()).await;
    let listed = listed
        .map_err(observing("ChangeTickets"))?
        .items
        .into_iter();
    let readable = listed.filter_map(|ticket| ticket.0.ok());
    Ok(readable.filter(own).collect())
}

/// Tells where the solution has moved to.
async fn tell(ctx: &Context, solution: &ChangeSolution, status: &ChangeSolutionStatus) {
    let Some((bad, reason, note)) = solution::moved(solution.status.as_ref(), status) else {
        return;
    };
    let about = solution.object_ref(&());
    ctx.events.tell(&about, bad, reason, "Review", note).await;
}
