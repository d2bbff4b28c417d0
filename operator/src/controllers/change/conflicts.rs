//! What a ticket's turn sees of what was planned besides: other tickets, calendars, and what stands on what in the namespace. It is read with the rights of the operator, and a ticket is told no more of it than names of its own namespace, and of calendars that bind it.

use std::{fmt::Debug, sync::Arc};

use crds::v1alpha1::{CalendarRef, ChangeTicket, Host, OnConflict, ProtectionPolicy};
use decide::{
    calendar::Calendar,
    change::conflict::{self, Applied, Around, Booking, Found, Graph, Item, Owned},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::ListParams,
    core::{DeserializeGuard, NamespaceResourceScope},
};
use serde::de::DeserializeOwned;

use super::bound::Bound;
use crate::{
    context::Context,
    error::{Error, Result, observing},
};

/// Objects of a kind that are looked at for what is related.
const MOST: u32 = 500;

/// What a ticket conflicts with, and what is done with that.
#[derive(Default)]
pub struct Conflicts {
    pub found: Vec<Found>,
    pub on_conflict: OnConflict,
}

pub async fn look(
    ctx: &Context,
    ticket: &ChangeTicket,
    (bound, whole): (&Bound, Option<&ChangeTicket>),
    now: Timestamp,
) -> Result<Conflicts> {
    let all = Booking::own(ticket, whole);
    let Some(own) = all.first() else {
        return Ok(Conflicts::default());
    };
    let policies = bound.policies();
    let others = ctx.bookings.meeting(&own.namespace, &all).await?;
    let calendars = calendars(ctx, own, &policies).await?;
    let relates = !others.is_empty() || calendars.iter().any(|one| one.rules.is_some());
    let graph = if relates && all.iter().any(|own| !own.touched.is_empty()) {
        graph(ctx, &own.namespace).await?
    } else {
        Graph::default()
    };
    let around = Around {
        others,
        calendars,
        graph,
    };
    Ok(Conflicts {
        found: conflict::conflicts_of_all(&all, &around, now),
        on_conflict: conflict::on_conflict(policies),
    })
}

/// The calendars that a ticket refers to and those of policies. One that is not there, or cannot be read, is told of elsewhere.
async fn calendars(
    ctx: &Context,
    own: &Booking,
    policies: &[&ProtectionPolicy],
) -> Result<Vec<Applied>> {
    let of_ticket = own.calendars.iter().map(|name| CalendarRef {
        namespace: own.namespace.clone(),
        name: name.clone(),
    });
    let of_policies = conflict::applied(policies.iter().copied());
    let of_policies = of_policies
        .into_iter()
        .map(|(of, rules)| (of.clone(), Some(rules.to_vec())));
    let mut found = Vec::new();
    for (of, rules) in of_ticket.map(|of| (of, None)).chain(of_policies) {
        let read = calendar(ctx, &of).await?;
        found.extend(read.map(|calendar| Applied {
            namespace: of.namespace,
            name: of.name,
            calendar,
            rules,
        }));
    }
    Ok(found)
}

/// A calendar, where there is one that can be read.
pub async fn calendar(ctx: &Context, of: &CalendarRef) -> Result<Option<Arc<Calendar>>> {
    let found = match ctx.calendar(&of.namespace, &of.name).await {
        Err(error) if !matches!(*error, kube::Error::SerdeError(_)) => {
            return Err(Error::Observe {
                what: format!("ChangeCalendar {}/{}", of.namespace, of.name),
                source: error,
            });
        }
        found => found.ok().flatten(),
    };
    let read = found.and_then(|calendar| Calendar::read(&calendar.spec).ok());
    Ok(read.map(Arc::new))
}

/// What stands on what in a namespace.
async fn graph(ctx: &Context, namespace: &str) -> Result<Graph> {
    let some = ListParams::default().limit(MOST);
    let sets = Api::<ReplicaSet>::namespaced(ctx.client.clone(), namespace);
    let sets = sets.list_metadata(&some).await;
    let sets = sets.map_err(observing(format!("ReplicaSets of {namespace}")))?;
    let between = sets.items.into_iter().map(|set| Owned {
        item: Item::new("apps", "replicasets", &set.name_any()),
        meta: set.metadata,
    });
    let hosts = listed::<DeserializeGuard<Host>>(ctx, namespace).await?;
    let hosts: Vec<_> = hosts.into_iter().filter_map(|host| host.0.ok()).collect();
    Ok(Graph::of(
        &listed::<Pod>(ctx, namespace).await?,
        &between.collect::<Vec<_>>(),
        &listed::<Service>(ctx, namespace).await?,
        &listed::<PodDisruptionBudget>(ctx, namespace).await?,
        &hosts,
    ))
}

async fn listed<K>(ctx: &Context, namespace: &str) -> Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::namespaced(ctx.client.clone(), namespace);
    let listed = api.list(&ListParams::default().limit(MOST)).await;
    let what = || format!("objects of the kind {} of {namespace}", K::kind(&()));
    Ok(listed.map_err(observing(what()))?.items)
}
