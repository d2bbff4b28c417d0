//! How risky a ticket is, by the policies about its namespace. It is read with the rights of the operator, and a ticket is told no more of it than names of its own namespace, and what the policies say.

use std::collections::{BTreeMap, BTreeSet};

use crds::v1alpha1::{ChangeTicket, JobSpec};
use decide::change::{
    conflict::Found,
    risk::{self, Facts, Scale, Weighed},
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
    let scales = bound.scales();
    if scales.is_empty() {
        return Ok(Weighed::default());
    }
    let mut calendars = BTreeMap::new();
    let hours = scales.iter().copied().filter_map(Scale::hours);
    for of in hours.collect::<BTreeSet<_>>() {
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
    Ok(risk::weigh(ticket, scales, &facts, now))
}
