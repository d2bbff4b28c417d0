//! A ticket after its end: records take it in with what people did to it and decided on it, and it is deleted when its time is over.

use std::time::Duration;

use crds::v1alpha1::{ChangeAction, ChangeTicket, SubjectKind};
use decide::{
    archive,
    change::{self, risk::Past},
};
use jiff::Timestamp;
use kube::{ResourceExt as _, runtime::controller::Action};

use super::{Turn, bound::Bound, observe};
use crate::{archives, context::Context, error::Result};

/// Turns while records are away, or somebody has no answer yet.
const WAITING: Duration = Duration::from_secs(2);

/// Whether a ticket that has ended was taken in just now, or need not wait for that any more.
pub async fn takes_in(ctx: &Context, ticket: &ChangeTicket) -> Result<bool> {
    let status = ticket.status.as_ref();
    if !ticket.is_finished() || status.is_some_and(|status| status.archived_at.is_some()) {
        return Ok(false);
    }
    let (namespace, name) = (ticket.namespace().unwrap_or_default(), ticket.name_any());
    // What is older is about another ticket of its name.
    let since = ticket.creation_timestamp();
    let about = |action: &ChangeAction| {
        action.spec.ticket_ref.name == name && action.creation_timestamp() >= since
    };
    let actions = ctx.change_actions.within(&namespace, about).await?;
    let kind = SubjectKind::ChangeTicket;
    let mut approvals = observe::approvals(ctx, &namespace, kind, &name).await?;
    approvals.retain(|approval| approval.creation_timestamp() >= since);
    let namespace_uid = ctx.uid_of(&namespace).await?;
    match archive::of_ticket(ticket, &actions, &approvals, &namespace_uid) {
        Some(all) => Ok(archives::take_in(ctx, ticket, &all).await),
        None => Ok(false),
    }
}

/// When to look again at a ticket that has ended; it goes when its time is over.
pub async fn rest(ctx: &Context, turn: &Turn, now: Timestamp) -> Result<Action> {
    let ticket = &turn.ticket;
    if turn.decided.status.archived_at.is_none() {
        return Ok(Action::requeue(WAITING));
    }
    let Some(expires) = change::expires(ticket, ctx.args.archive_after) else {
        return Ok(Action::await_change());
    };
    if let Some(left) = left(expires, now) {
        return Ok(Action::requeue(left));
    }
    // Nobody gets rid of a failure that counts by how long their ticket is to stay.
    let bound = Bound::look(ctx, &ticket.namespace().unwrap_or_default()).await?;
    let past = Past::of(ticket);
    let scales = bound.scales().into_iter();
    let counts = scales.filter_map(|scale| scale.remembers(past.as_ref()?));
    if let Some(left) = counts.max().and_then(|until| left(until, now)) {
        return Ok(Action::requeue(left));
    }
    archives::remove(ctx, ticket).await?;
    Ok(Action::await_change())
}

fn left(until: Timestamp, now: Timestamp) -> Option<Duration> {
    let left = Duration::try_from(until.duration_since(now)).ok();
    left.filter(|left| !left.is_zero())
}
