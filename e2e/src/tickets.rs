//! ChangeTickets of a story: what they come to say of themselves.

use crds::v1alpha1::{ChangeTicket, ChangeTicketStatus, find_condition};
use kube::Api;

use crate::{stage::PATIENCE, wait_for};

/// Waits until the operator has looked at a ticket as it is now, and says this of it.
pub async fn until(
    tickets: &Api<ChangeTicket>,
    name: &str,
    what: &str,
    is: impl Fn(&ChangeTicketStatus) -> bool,
) -> ChangeTicket {
    let seen = |ticket: Option<&ChangeTicket>| {
        let told = ticket.and_then(|t| Some((t.metadata.generation, t.status.as_ref()?)));
        told.is_some_and(|(generation, status)| {
            status.observed_generation == generation && is(status)
        })
    };
    wait_for(tickets.clone(), name, what, PATIENCE, seen).await
}

/// Waits until it is ready, or is not, for this reason.
pub async fn ready(tickets: &Api<ChangeTicket>, name: &str, reason: &str) -> ChangeTicketStatus {
    let is = |status: &ChangeTicketStatus| {
        find_condition(&status.conditions, "Ready").is_some_and(|c| c.reason == reason)
    };
    let ticket = until(tickets, name, reason, is).await;
    ticket.status.expect("it was looked at")
}
