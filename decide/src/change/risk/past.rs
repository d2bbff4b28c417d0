//! Changes that have ended, as much of them as says something of the people who had a part in them.

use std::collections::BTreeSet;

use crds::v1alpha1::{ChangeOutcome, ChangeTicket, ChangeVerb};
use jiff::Timestamp;

/// A change that ended well, or failed; one that was cancelled or has expired did neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    pub name: String,
    /// Those who wrote, carried out, started or reported it, as far as they are named.
    pub people: BTreeSet<String>,
    pub ended: Timestamp,
    pub outcome: ChangeOutcome,
}

impl Past {
    pub fn of(ticket: &ChangeTicket) -> Option<Self> {
        let (spec, status) = (&ticket.spec, ticket.status.as_ref()?);
        let ended = status.finished_at.as_ref()?.0;
        let outcome = status.result.as_ref()?.outcome;
        let taken = status.actions.iter();
        let reported = taken.filter(|taken| taken.action == ChangeVerb::Complete);
        let people = spec.implementers.users.iter();
        let people = people
            .chain(spec.requested_by.iter().map(|by| &by.user))
            .chain(status.started.iter().map(|started| &started.by))
            .chain(reported.map(|taken| &taken.by));
        Some(Self {
            name: ticket.metadata.name.clone().unwrap_or_default(),
            people: people.filter(|user| !user.is_empty()).cloned().collect(),
            ended,
            outcome,
        })
    }
}
