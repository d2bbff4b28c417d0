//! Hosts that many attempts need at once: one list by the selector that found them costs the API server far less than a read for each.

use std::{collections::HashMap, sync::Arc};

use crds::v1alpha1::Host;
use decide::plan::Lane;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{bursts::Bursts, resolve::Resolver};

/// Fewer are read one by one; and what a list costs for each of its Hosts is so much less than a read.
const MANY: usize = 8;
const CHEAPER: usize = 16;

/// Hosts by name, as they are read by namespace, account and label selector; none where too few ask.
#[derive(Default)]
pub struct Listed(Bursts<[String; 3], Option<Arc<HashMap<String, Host>>>>);

impl Listed {
    /// A Host of a lane as a list says that the API server has at hand, and so it may be a moment old; none where few ask for any of them, or the list does not tell of it.
    pub async fn host(&self, resolver: &Resolver, lane: &Lane, name: &str) -> Option<Host> {
        let selector = lane.selector.as_ref()?;
        let Resolver {
            client,
            namespace,
            account,
            ..
        } = resolver;
        let read = async |askers: usize| {
            if askers < MANY || askers * CHEAPER < lane.targets.len() {
                return None;
            }
            let at_hand = ListParams::default().match_any().labels(selector);
            let hosts = Api::<Host>::namespaced(client.clone(), namespace);
            let hosts = hosts.list(&at_hand).await.ok()?;
            let named = hosts.into_iter().map(|host| (host.name_any(), host));
            Some(Arc::new(named.collect()))
        };
        let asked = [namespace, account, selector].map(ToOwned::to_owned);
        let hosts = self.0.ask_among(asked, read).await?;
        hosts.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crds::execution::TargetKind;
    use decide::plan::PlannedTarget;
    use futures::future::join_all;
    use http::{Request, Response};
    use kube::{Client, client::Body};
    use serde_json::json;

    use super::*;

    /// Reads of an account in a namespace of so many Hosts; and how many lists it was asked for.
    fn resolver(hosts: usize) -> (Resolver, Arc<AtomicUsize>) {
        let lists = Arc::new(AtomicUsize::new(0));
        let counted = lists.clone();
        let answer = move |request: Request<Body>| {
            let (path, query) = (request.uri().path(), request.uri().query());
            assert_eq!(path, "/apis/pilothouse.dev/v1alpha1/namespaces/shop/hosts");
            let query = query.expect("it is a list").trim_start_matches('&');
            let wanted =
                "labelSelector=app%3Dweb&resourceVersion=0&resourceVersionMatch=NotOlderThan";
            assert_eq!(query, wanted);
            counted.fetch_add(1, Ordering::Relaxed);
            let items = (0..hosts).map(|n| {
                json!({"metadata": {"name": format!("h{n}")}, "spec": {"type": "VirtualMachine", "address": format!("192.0.2.{n}"),
                    "credentialsRef": {"name": "key"}}})
            });
            let list = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "HostList", "metadata": {}, "items": items.collect::<Vec<_>>()});
            let answer = Response::new(Body::from(list.to_string().into_bytes()));
            async { Ok::<_, std::convert::Infallible>(answer) }
        };
        let resolver = Resolver {
            client: Client::new(tower::service_fn(answer), "shop"),
            namespace: "shop".into(),
            account: "default".into(),
            secrets: Arc::default(),
            lanes: Arc::default(),
            listed: Arc::default(),
        };
        (resolver, lists)
    }

    fn lane(selector: Option<&str>, hosts: usize) -> Lane {
        Lane {
            kind: TargetKind::Host,
            selector: selector.map(str::to_owned),
            targets: vec![PlannedTarget::default(); hosts],
        }
    }

    async fn asked(resolver: &Resolver, lane: &Lane, askers: usize) -> Vec<Option<String>> {
        let host = async |n: usize| {
            let name = format!("h{n}");
            let host = resolver.listed.host(resolver, lane, &name).await;
            host.map(|host| host.spec.address)
        };
        join_all((0..askers).map(host)).await
    }

    #[tokio::test]
    async fn many_that_start_together_take_one_list_and_what_it_does_not_tell_of_is_left_to_them() {
        let (resolver, lists) = resolver(19);
        let told = asked(&resolver, &lane(Some("app=web"), 20), 20).await;
        for (n, told) in told[..19].iter().enumerate() {
            assert_eq!(told.as_deref(), Some(format!("192.0.2.{n}").as_str()));
        }
        assert_eq!(told[19], None);
        assert_eq!(lists.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn few_of_all_and_those_that_no_selector_found_are_not_listed() {
        let (resolver, lists) = resolver(20);
        let (web, named) = (Some("app=web"), None);
        for (selector, hosts, askers) in [(web, 20, 7), (web, 10_000, 20), (named, 20, 20)] {
            let told = asked(&resolver, &lane(selector, hosts), askers).await;
            assert!(told.iter().all(Option::is_none), "{told:?}");
        }
        assert_eq!(lists.load(Ordering::Relaxed), 0);
    }
}
