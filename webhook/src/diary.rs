//! What is known of plans: tickets, calendars and ProtectionPolicies as they were last heard. It is for warnings alone, so nothing waits for it, and while a list is read anew there is a warning less, or one of people of whom nothing is known.

use std::{
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

use crds::v1alpha1::{ChangeCalendar, ChangeTicket, ProtectionPolicy};
use decide::change::conflict::{Diary, Kept};
use kube::{Client, Resource, ResourceExt as _, core::DeserializeGuard, runtime::watcher::Event};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::heard::{self, News};

/// As last heard; empty at first.
pub type Known = Arc<RwLock<Diary>>;

/// Follows what is planned until the token is cancelled; somebody else hears of the tickets too.
pub fn follow(
    client: &Client,
    shutdown: &CancellationToken,
    of_tickets: impl FnMut(&News<ChangeTicket>) + Send + 'static,
) -> Known {
    let known = Known::default();
    keep(client, &known, shutdown, of_tickets);
    keep::<ChangeCalendar>(client, &known, shutdown, |_| {});
    keep::<ProtectionPolicy>(client, &known, shutdown, |_| {});
    known
}

fn keep<K>(
    client: &Client,
    known: &Known,
    shutdown: &CancellationToken,
    mut also: impl FnMut(&News<K>) + Send + 'static,
) where
    K: Kept + Resource<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let known = known.clone();
    heard::follow(client, shutdown, move |news| {
        also(&news);
        take_in(news, &mut written(&known));
    });
}

/// Whoever panicked has left one entry too many or too few, which costs no more than a warning.
fn written(known: &Known) -> RwLockWriteGuard<'_, Diary> {
    known.write().unwrap_or_else(PoisonError::into_inner)
}

fn take_in<K>(news: News<K>, diary: &mut Diary)
where
    K: Kept + Resource<DynamicType = ()> + Debug,
{
    let gone = |diary: &mut Diary, object: &DeserializeGuard<K>| {
        let namespace = object.namespace().unwrap_or_default();
        K::forget(diary, &namespace, &object.name_any());
    };
    match news {
        Event::Init => K::forget_all(diary),
        Event::InitApply(object) | Event::Apply(object) => match &object.0 {
            Ok(readable) => readable.keep(diary),
            Err(_) => gone(diary, &object),
        },
        Event::Delete(object) => gone(diary, &object),
        Event::InitDone => {}
    }
}
