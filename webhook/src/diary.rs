//! What is known of plans: tickets, calendars and ProtectionPolicies as they were last heard. It is for warnings alone, so nothing waits for it, and while a list is read anew there is a warning less.

use std::{
    fmt::Debug,
    pin::pin,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

use crds::v1alpha1::{ChangeCalendar, ChangeTicket, ProtectionPolicy};
use decide::change::conflict::{Diary, Kept};
use futures::StreamExt as _;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use serving::telemetry::chain;
use tokio_util::sync::CancellationToken;

/// As last heard; empty at first.
pub type Known = Arc<RwLock<Diary>>;

/// Follows what is planned until the token is cancelled.
pub fn follow(client: &Client, shutdown: &CancellationToken) -> Known {
    let known = Known::default();
    keep::<ChangeTicket>(client, &known, shutdown);
    keep::<ChangeCalendar>(client, &known, shutdown);
    keep::<ProtectionPolicy>(client, &known, shutdown);
    known
}

fn keep<K>(client: &Client, known: &Known, shutdown: &CancellationToken)
where
    K: Kept + Resource<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let objects = Api::<DeserializeGuard<K>>::all(client.clone());
    let (known, shutdown) = (known.clone(), shutdown.clone());
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        let mut events = pin!(watcher(objects, Config::default()).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => take_in(event, &mut written(&known)),
                Err(e) => {
                    let kind = K::kind(&());
                    tracing::warn!(%kind, error = chain(&e), "what is planned is not readable");
                }
            }
        }
    }));
}

/// Whoever panicked has left one entry too many or too few, which costs no more than a warning.
fn written(known: &Known) -> RwLockWriteGuard<'_, Diary> {
    known.write().unwrap_or_else(PoisonError::into_inner)
}

fn take_in<K>(event: Event<DeserializeGuard<K>>, diary: &mut Diary)
where
    K: Kept + Resource<DynamicType = ()> + Debug,
{
    let gone = |diary: &mut Diary, object: &DeserializeGuard<K>| {
        let namespace = object.namespace().unwrap_or_default();
        K::forget(diary, &namespace, &object.name_any());
    };
    match event {
        Event::Init => K::forget_all(diary),
        Event::InitApply(object) | Event::Apply(object) => match &object.0 {
            Ok(readable) => readable.keep(diary),
            Err(_) => gone(diary, &object),
        },
        Event::Delete(object) => gone(diary, &object),
        Event::InitDone => {}
    }
}
