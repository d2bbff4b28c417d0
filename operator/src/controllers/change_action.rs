//! ChangeAction: says so when there is no such ticket. The ticket itself answers all others.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{ChangeAction, ChangeTicket, find_condition};
use decide::{Refusal, change};
use kube::{Api, ResourceExt as _, core::DeserializeGuard, runtime::controller::Action};

use super::valid;
use crate::{
    context::Context,
    error::{Result, observing},
    report,
};

/// Turns while the ticket has not answered yet.
const SOON: Duration = Duration::from_secs(10);

pub async fn reconcile(
    action: Arc<DeserializeGuard<ChangeAction>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let action = valid(&action)?;
    let told = action.status.as_ref().map(|status| &status.conditions);
    if told.is_some_and(|told| find_condition(told, "Applied").is_some())
        || action.metadata.deletion_timestamp.is_some()
    {
        return Ok(Action::await_change());
    }
    let (namespace, name) = (
        action.namespace().unwrap_or_default(),
        &action.spec.ticket_ref.name,
    );
    let tickets: Api<ChangeTicket> = Api::namespaced(ctx.client.clone(), &namespace);
    let ticket = tickets.get_opt(name).await;
    let ticket = ticket.map_err(observing(format!("ChangeTicket {name}")))?;
    let refusal = match ticket {
        None => Refusal::new(
            "TicketNotFound",
            format!(
                "spec.ticketRef.name: there is no ChangeTicket {name}; correct the name and create the action anew"
            ),
        ),
        Some(ticket) if ticket.creation_timestamp() > action.creation_timestamp() => Refusal::new(
            "TicketIsNewer",
            format!("ChangeTicket {name} was created after this action"),
        ),
        Some(_) if action.spec.requested_by.is_none() => Refusal::new(
            "NotStamped",
            "spec.requestedBy is empty: the admission policies of the chart are not in force; install them and create the action anew",
        ),
        Some(_) => return Ok(Action::requeue(SOON)),
    };
    let status = change::answered(action, &Err(refusal), jiff::Timestamp::now());
    report::status(&ctx.client, action, "pilothouse-changeaction", &status).await?;
    ctx.succeeded(action);
    Ok(Action::await_change())
}
