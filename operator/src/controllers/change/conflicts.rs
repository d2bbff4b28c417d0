//! What a ticket's turn sees of what was planned besides: other tickets, calendars, and what stands on what in the namespace. It is read with the rights of the operator, and a ticket is told no more of it than names of its own namespace, and of calendars that bind it.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use crds::v1alpha1::{
    CalendarRef, ChangeTicket, Host, OnConflict, ProtectionPolicy, ProtectionRule,
};
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

use crate::{
    context::Context,
    error::{Error, Result, observing},
    heard,
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
    whole: Option<&ChangeTicket>,
    now: Timestamp,
) -> Result<Conflicts> {
    let all = Booking::own(ticket, whole);
    let Some(own) = all.first() else {
        return Ok(Conflicts::default());
    };
    let policies = policies(ctx).await?;
    let readable = policies.iter().filter_map(|policy| policy.0.as_ref().ok());
    let readable: Vec<_> = readable.collect();
    let by_labels = readable.iter().any(|p| p.spec.namespace_selector.is_some());
    let labels = if by_labels {
        Some(ctx.policies.labels(ctx, &own.namespace).await?)
    } else {
        None
    };
    let policies = about(&readable, &own.namespace, labels.as_ref());
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

/// ProtectionPolicies as they are heard of, where there can be any.
async fn policies(ctx: &Context) -> Result<Vec<Arc<DeserializeGuard<ProtectionPolicy>>>> {
    match &ctx.protections {
        Some(known) => heard::all(known).await,
        None => Ok(Vec::new()),
    }
}

fn about<'a>(
    policies: &[&'a ProtectionPolicy],
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> Vec<&'a ProtectionPolicy> {
    let about = |policy: &&&ProtectionPolicy| conflict::is_about(policy, namespace, labels);
    policies.iter().filter(about).copied().collect()
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
        found.extend(calendar(ctx, of, rules).await?);
    }
    Ok(found)
}

async fn calendar(
    ctx: &Context,
    of: CalendarRef,
    rules: Option<Vec<ProtectionRule>>,
) -> Result<Option<Applied>> {
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
    Ok(read.map(|calendar| Applied {
        namespace: of.namespace,
        name: of.name,
        calendar: Arc::new(calendar),
        rules,
    }))
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
