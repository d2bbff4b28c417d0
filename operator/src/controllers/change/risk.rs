//! How risky a ticket is, by the policies about its namespace. It is read with the rights of the operator, and a ticket is told no more of it than names of its own namespace, and what the policies say.

use std::collections::BTreeMap;

use crds::v1alpha1::{ChangeTicket, JobSpec};
use decide::change::{
    conflict::Found,
    risk::{self, Facts, Weighed},
};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{bound::Bound, conflicts};
use crate::{context::Context, error::Result};

pub async fn look(
    ctx: &Context,
    ticket: &ChangeTicket,
    bound: &Bound,
    (job, conflicts): (Option<&JobSpec>, &[Found]),
    now: Timestamp,
) -> Result<Weighed> {
    let policies = bound.policies();
    if risk::scales(policies.iter().copied()).next().is_none() {
        return Ok(Weighed::default());
    }
    let mut calendars = BTreeMap::new();
    for of in risk::calendars(policies.iter().copied()) {
        let found = conflicts::calendar(ctx, of).await?;
        calendars.extend(found.map(|calendar| (of.clone(), calendar)));
    }
    let namespace = ticket.namespace().unwrap_or_default();
    let facts = Facts {
        labels: bound.labels(),
        job,
        conflicts,
        past: &ctx.bookings.past(&namespace).await?,
        calendars: &calendars,
    };
    Ok(risk::weigh(ticket, policies, &facts, now))
}
