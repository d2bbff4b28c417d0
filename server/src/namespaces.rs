//! Which namespaces there are, and their UIDs: rows belong to a UID, so that a namespace made anew under an old name shows none of the old rows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
use tokio::{
    sync::watch,
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

/// UIDs by name.
pub type Known = BTreeMap<String, String>;

/// The namespaces as last heard; `None` until they were listed once.
pub type Namespaces = watch::Receiver<Option<Arc<Known>>>;

type Teller = watch::Sender<Option<Arc<Known>>>;

/// Between two looks at namespaces that may be looked at only one by one.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Follows the namespaces that are named, or all, until the token is cancelled.
pub fn follow(client: Client, named: Vec<String>, shutdown: CancellationToken) -> Namespaces {
    let (tell, current) = watch::channel(None);
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        if named.is_empty() {
            hear(Api::all(client), tell).await;
        } else {
            look(&Api::all(client), &named, tell).await;
        }
    }));
    current
}

async fn hear(api: Api<PartialObjectMeta<Namespace>>, tell: Teller) {
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
}

/// A Role lets its namespace be read by name, and not be watched.
async fn look(api: &Api<Namespace>, named: &[String], tell: Teller) {
    let mut turns = time::interval(LOOK_AGAIN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let before = tell.borrow().clone();
        if let Some(seen) = seen(api, named, before.as_deref()).await {
            tell.send_if_modified(|known| replace(seen, known));
        }
    }
}

/// The namespaces as they are; one that cannot be read is as it was before, and without a before nothing is known.
async fn seen(api: &Api<Namespace>, named: &[String], before: Option<&Known>) -> Option<Known> {
    let mut seen = Known::new();
    for name in named {
        match api.get_metadata(name).await {
            Ok(namespace) => {
                seen.insert(name.clone(), namespace.uid().unwrap_or_default());
            }
            // One that goes takes along the Role by which it was read.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {}
            Err(e) => {
                tracing::warn!(
                    namespace = name,
                    error = chain(&e),
                    "a namespace is not readable"
                );
                let uid = before?.get(name);
                seen.extend(uid.map(|uid| (name.clone(), uid.clone())));
            }
        }
    }
    Some(seen)
}

/// Whether that was news.
fn replace(next: Known, known: &mut Option<Arc<Known>>) -> bool {
    let news = known.as_deref() != Some(&next);
    *known = Some(Arc::new(next));
    news
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
    replace(next, known)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use axum::http::{Request, Response};
    use k8s_openapi::api::core::v1::Namespace;
    use kube::{Api, Client, client::Body, core::PartialObjectMeta, runtime::watcher::Event};
    use serde_json::json;
    use tokio::sync::watch;

    use super::{Known, apply, seen};

    /// An API server that answers about each namespace with a status, and a UID where that is 200.
    fn answering(answers: &'static [(&'static str, u16)]) -> Api<Namespace> {
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let found = answers.iter().find(|(name, _)| path.ends_with(name));
            let (name, code) = *found.expect("it is named");
            let body = if code == 200 {
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name, "uid": "new"}})
            } else {
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code})
            };
            let answer = Response::builder().status(code);
            let answer = answer.body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(answer.expect("an answer")) }
        });
        Api::all(Client::new(service, "default"))
    }

    #[tokio::test]
    async fn what_may_no_longer_be_read_is_gone_and_what_cannot_be_read_is_as_it_was() {
        let api = answering(&[
            ("read", 200),
            ("gone", 404),
            ("taken", 403),
            ("silent", 500),
        ]);
        let named = ["read", "gone", "taken", "silent"].map(str::to_owned);
        let before = Known::from(named.clone().map(|name| (name, "old".to_owned())));
        let wanted = [("read", "new"), ("silent", "old")];
        let wanted = Known::from(wanted.map(|(name, uid)| (name.to_owned(), uid.to_owned())));
        assert_eq!(seen(&api, &named, Some(&before)).await, Some(wanted));
        assert_eq!(seen(&api, &named, None).await, None);
    }

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
