//! ChangeTicket: reviewed, started within its window, closed with a result. Its run is created in the turn after the one that has written down that it starts, under a name that comes from the ticket.

mod act;
mod archive;
mod bound;
mod conflicts;
mod observe;
mod region;
mod risk;

use std::sync::Arc;

use crds::v1alpha1::{
    ChangeAction, ChangeCalendar, ChangeSolution, ChangeTicket, ChangeTicketStatus, Job,
};
use decide::change;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Resource as _, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};

pub use observe::{approvals, content, knows};
pub use region::hear;

use super::valid;
use crate::{
    context::{Context, Ticket},
    error::{Result, chain},
    report, scope,
};

/// Has a ticket looked at when a calendar that it refers to, its Job, or its solution was written. A Job says so of itself when what it names was.
pub fn following(
    tickets: Controller<DeserializeGuard<ChangeTicket>>,
    ctx: &Context,
    part: &str,
) -> Controller<DeserializeGuard<ChangeTicket>> {
    let known = tickets.store();
    ctx.bookings.are_known(part, known.clone());
    let naming =
        move |namespace: Option<String>, name: &str, has: fn(&ChangeTicket, &str) -> bool| {
            let names = |ticket: &Arc<DeserializeGuard<ChangeTicket>>| {
                let readable = ticket.0.as_ref().ok()?;
                let names = ticket.namespace() == namespace && has(readable, name);
                names.then(|| ObjectRef::from_obj(&**ticket))
            };
            known.state().iter().filter_map(names).collect::<Vec<_>>()
        };
    let (of_calendar, of_solution) = (naming.clone(), naming.clone());
    tickets
        .watches(
            scope::within::<DeserializeGuard<ChangeCalendar>>(&ctx.client, part),
            watcher::Config::default(),
            move |calendar| {
                let name = calendar.name_any();
                of_calendar(calendar.namespace(), &name, refers_to)
            },
        )
        .watches(
            scope::within::<DeserializeGuard<Job>>(&ctx.client, part),
            watcher::Config::default(),
            move |job| naming(job.namespace(), &job.name_any(), runs),
        )
        .watches(
            scope::within::<DeserializeGuard<ChangeSolution>>(&ctx.client, part),
            watcher::Config::default(),
            move |solution| of_solution(solution.namespace(), &solution.name_any(), uses),
        )
}

fn refers_to(ticket: &ChangeTicket, calendar: &str) -> bool {
    let mut refs = ticket.spec.calendar_refs.iter();
    refs.any(|of| of.name == calendar)
}

fn runs(ticket: &ChangeTicket, job: &str) -> bool {
    let planned = ticket.spec.plan.job.as_ref();
    planned.is_some_and(|planned| planned.job_ref.name == job)
}

fn uses(ticket: &ChangeTicket, solution: &str) -> bool {
    let planned = ticket.spec.plan.solution.as_ref();
    planned.is_some_and(|planned| planned.name == solution) && !ticket.is_finished()
}

/// The ticket that an action is about.
pub fn of_action(action: DeserializeGuard<ChangeAction>) -> Option<Ticket> {
    let action = action.0.ok()?;
    Some(Ticket::new(&action.spec.ticket_ref.name).within(&action.namespace()?))
}

pub async fn reconcile(
    ticket: Arc<DeserializeGuard<ChangeTicket>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let ticket = valid(&ticket)?;
    let now = Timestamp::now();
    let turn = turn(ticket, &ctx, now).await;
    let (observed, status) = match &turn {
        Ok(Some(turn)) => (&turn.ticket, turn.decided.status.clone()),
        // Nothing is left of it.
        Ok(None) => return Ok(Action::await_change()),
        Err(error) if error.is_conflict() || ticket.is_finished() => (ticket, told(ticket)),
        Err(error) => {
            let (stood, generation) = (told(ticket), ticket.metadata.generation);
            let status = change::failed(stood, generation, error.category(), &chain(error), now);
            (ticket, status)
        }
    };
    if observed.status.as_ref() != Some(&status) {
        report::status(&ctx.client, observed, "pilothouse-changeticket", &status).await?;
        tell(&ctx, observed, &status).await;
        if status.live == Some(true) {
            ctx.ticket_is_live(&observed.namespace().unwrap_or_default());
        }
    }
    let Some(turn) = turn? else {
        return Ok(Action::await_change());
    };
    act::answer(&ctx, &turn, now).await?;
    let again = act::again(&ctx, &turn, now).await?;
    turn.made?;
    ctx.succeeded(ticket);
    Ok(again)
}

fn told(ticket: &ChangeTicket) -> ChangeTicketStatus {
    ticket.status.clone().unwrap_or_default()
}

/// What a turn came to, of the ticket as it was by then.
struct Turn {
    ticket: ChangeTicket,
    decided: change::Turn,
    actions: Vec<ChangeAction>,
    /// Whether its parts are as it has them. Where one cannot be written, what has become of the others is told all the same.
    made: Result<()>,
}

async fn turn(ticket: &ChangeTicket, ctx: &Context, now: Timestamp) -> Result<Option<Turn>> {
    let seen = observe::look(ctx, ticket, now).await?;
    let mut decided = change::turn(ticket, &seen.world(), now);
    if archive::takes_in(ctx, ticket).await? {
        decided.status.archived_at = Some(Time(now));
    }
    let Some(ticket) = act::hold(ctx, ticket, &seen, &decided.status).await? else {
        return Ok(None);
    };
    if let Some(effect) = decided.effect {
        act::carry_out(ctx, &ticket, &decided, effect, &seen).await?;
    }
    let made = region::carry_out(ctx, &ticket, &seen.parts, &decided.for_parts).await;
    if let Err(error) = made.as_ref()
        && !error.is_conflict()
    {
        let stands = decided.status;
        let generation = ticket.metadata.generation;
        decided.status = change::failed(stands, generation, error.category(), &chain(error), now);
    }
    Ok(Some(Turn {
        ticket,
        decided,
        actions: seen.actions,
        made,
    }))
}

/// Tells where the ticket has moved to.
async fn tell(ctx: &Context, ticket: &ChangeTicket, status: &ChangeTicketStatus) {
    let Some((bad, reason, note)) = change::moved(ticket.status.as_ref(), status) else {
        return;
    };
    let about = ticket.object_ref(&());
    ctx.events.tell(&about, bad, reason, "Proceed", note).await;
}
