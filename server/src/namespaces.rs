//! Which namespaces there are, and their UIDs: rows belong to a UID, so that a namespace made anew under an old name shows none of the old rows.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use serving::telemetry::chain;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// UIDs by name.
pub type Known = BTreeMap<String, String>;

/// The namespaces as last heard; `None` until they were listed once.
pub type Namespaces = watch::Receiver<Option<Arc<Known>>>;

/// Follows the namespaces until the token is cancelled.
pub fn follow(client: Client, shutdown: CancellationToken) -> Namespaces {
    let (tell, current) = watch::channel(None);
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        let api = Api::<PartialObjectMeta<Namespace>>::all(client);
        let events = watcher(api, Config::default()).default_backoff();
        pin_mut!(events);
        let mut listed = Known::new();
        while let Some(event) = events.next().await {
            match event {
                // One write lock for reading and replacing: a borrow held beside it would wait for itself.
                Ok(event) => drop(tell.send_if_modified(|known| apply(event, &mut listed, known))),
                Err(e) => tracing::warn!(error = chain(&e), "namespaces are not readable"),
            }
        }
    }));
    current
}

/// Takes in an event; whether that was news.
fn apply(
    event: Event<PartialObjectMeta<Namespace>>,
    listed: &mut Known,
    known: &mut Option<Arc<Known>>,
) -> bool {
    let before = known.clone();
    let today = || before.as_deref().cloned().unwrap_or_default();
    let next = match event {
        Event::Init => {
            listed.clear();
            return false;
        }
        Event::InitApply(namespace) => {
            listed.insert(namespace.name_any(), namespace.uid().unwrap_or_default());
            return false;
        }
        Event::InitDone => std::mem::take(listed),
        Event::Apply(namespace) => {
            let mut next = today();
            next.insert(namespace.name_any(), namespace.uid().unwrap_or_default());
            next
        }
        Event::Delete(namespace) => {
            let mut next = today();
            next.remove(&namespace.name_any());
            next
        }
    };
    let news = before.as_deref() != Some(&next);
    *known = Some(Arc::new(next));
    news
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Namespace;
    use kube::{core::PartialObjectMeta, runtime::watcher::Event};
    use tokio::sync::watch;

    use super::{Known, apply};

    fn namespace(name: &str, uid: &str) -> PartialObjectMeta<Namespace> {
        let mut namespace = PartialObjectMeta::<Namespace>::default();
        namespace.metadata.name = Some(name.into());
        namespace.metadata.uid = Some(uid.into());
        namespace
    }

    #[test]
    fn a_name_leads_to_the_uid_of_its_owner_today() {
        let (tell, heard) = watch::channel(None::<Arc<Known>>);
        let mut listed = Known::new();
        let mut hear = |event| tell.send_if_modified(|known| apply(event, &mut listed, known));
        let uid = |name: &str| heard.borrow().as_ref().and_then(|k| k.get(name).cloned());
        assert!(!hear(Event::Init) && !hear(Event::InitApply(namespace("a", "1"))));
        assert!(heard.borrow().is_none(), "a list is told when it is whole");
        assert!(hear(Event::InitDone));
        assert_eq!(uid("a").as_deref(), Some("1"));
        assert!(
            !hear(Event::Apply(namespace("a", "1"))),
            "a label is no news"
        );
        assert!(hear(Event::Delete(namespace("a", "1"))));
        assert_eq!(uid("a"), None);
        assert!(hear(Event::Apply(namespace("a", "2"))));
        assert_eq!(uid("a").as_deref(), Some("2"));
        assert!(
            !hear(Event::Init) && hear(Event::InitDone),
            "what a new list lacks is gone"
        );
        assert_eq!(uid("a"), None);
    }
}
