//! The API over a real store, with a table of rights in place of the API server: what clients send and what they get back.
#![allow(clippy::unwrap_used)]

mod archives;
mod auditing;
mod deciding;
mod fronting;
mod ingesting;
mod logs;
mod on_postgres;
mod over_tls;
mod reading;
mod watching;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::connect_info::MockConnectInfo,
    http::{Request, StatusCode, header},
    response::Response,
};
use crds::{
    execution::{Batch, Execution, LogChunk, State},
    names::RECORDS_AUDIENCE,
};
use futures::{StreamExt as _, future::BoxFuture};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use records::{
    Options, Retention, SqliteStore, Store,
    conformance::{row, rows},
};
use serde_json::{Value, json};
use serving::{Attributes, Decision, FrontProxy, Peer, Review, ReviewError, User};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    api::{self, Api},
    ingest::{self, Ingest},
    metrics::Metrics,
    namespaces::Known,
    signing::Key,
    slot::Slot,
    volume::{Measure, Volume},
};

const BASE: &str = "/apis/records.pilothouse.dev/v1alpha1";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const FRONT: &str = "system:serviceaccount:ops:pilothouse-front";
/// What a front says when it asks for somebody.
const ADMIN: [(&str, &str); 2] = for_user("admin");
const READER: [(&str, &str); 2] = for_user("reader");
/// May read records, and of kinds runs and what is done to them.
const WATCHER: [(&str, &str); 2] = for_user("watcher");
const OPERATOR: &str = "system:serviceaccount:ops:pilothouse-operator";

const WEBHOOK: &str = "system:serviceaccount:ops:pilothouse-webhook";

const fn for_user(name: &str) -> [(&str, &str); 2] {
    [
        (
            "Authorization",
            "Bearer system:serviceaccount:ops:pilothouse-front",
        ),
        ("X-Remote-User", name),
    ]
}

/// Tokens are names, those of pods with @ and the pod; `reader` may do everything in namespace `a`, `admin` everywhere.
struct Rights;

impl Review for Rights {
    fn whose<'a>(
        &'a self,
        token: &'a str,
        audience: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<User>, ReviewError>> {
        let (name, pod) = token.split_once('@').unzip();
        let pod = pod.map(|pod: &str| {
            let key = "authentication.kubernetes.io/pod-name".to_owned();
            (key, vec![pod.to_owned()])
        });
        let user = User {
            name: name.unwrap_or(token).to_owned(),
            extra: pod.into_iter().collect(),
            ..User::default()
        };
        let meant = audience.is_none_or(|a| a == RECORDS_AUDIENCE && token.starts_with("system:"));
        Box::pin(async move { Ok(Some(user).filter(|u| meant && u.name != "forged")) })
    }

    fn may<'a>(
        &'a self,
        user: &'a User,
        asked: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, ReviewError>> {
        let of_runs = ["jobruns", "runactions"].contains(&asked.resource.as_str());
        let is_kind = asked.group == "pilothouse.dev";
        let served = ["executions", "archives", "auditentries", "auditcheckpoints"];
        assert!(is_kind || served.contains(&asked.resource.as_str()));
        assert!(is_kind || asked.group == "records.pilothouse.dev");
        let allowed = match user.name.as_str() {
            "admin" => true,
            "watcher" => !is_kind || of_runs,
            "reader" => asked.namespace.as_deref() == Some("a") && asked.subresource.is_none(),
            _ => false,
        };
        let reason = String::new();
        Box::pin(async move { Ok(Decision { allowed, reason }) })
    }
}

struct World {
    api: Router,
    ingest: Router,
    store: Arc<dyn Store>,
    namespaces: watch::Sender<Option<Arc<Known>>>,
    shutdown: CancellationToken,
    folder: TempDir,
    key: Arc<Key>,
}

fn known(pairs: &[(&str, &str)]) -> Arc<Known> {
    let owned = |(name, uid): &(&str, &str)| ((*name).to_owned(), (*uid).to_owned());
    Arc::new(pairs.iter().map(owned).collect::<BTreeMap<_, _>>())
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store: Arc<dyn Store> = Arc::new(
            SqliteStore::open(folder.path(), Options::default(), Timestamp::now()).unwrap(),
        );
        let slot = Slot::default();
        slot.fill(store.clone());
        Self::with(slot, store, folder, |_| None)
    }

    /// A world whose volume is so full.
    fn on_a_volume(measure: Measure) -> Self {
        let World { store, folder, .. } = Self::new();
        let slot = Slot::default();
        slot.fill(store.clone());
        Self::with(slot, store, folder, measure)
    }

    fn with(slot: Slot, store: Arc<dyn Store>, folder: TempDir, measure: Measure) -> Self {
        let (namespaces, heard) = watch::channel(Some(known(&[("a", "a-uid"), ("b", "b-uid")])));
        let shutdown = CancellationToken::new();
        let key = Arc::new(Key::make().unwrap().0);
        let keys = watch::channel(Some(Arc::clone(&key))).1;
        let api = api::router(Api {
            slot: slot.clone(),
            namespaces: heard.clone(),
            review: Arc::new(Rights),
            keys,
            front: FRONT.into(),
            shutdown: shutdown.clone(),
        });
        let ingest = ingest::router(Ingest {
            slot,
            review: Arc::new(Rights),
            operator: OPERATOR.into(),
            webhook: WEBHOOK.into(),
            namespaces: heard,
            metrics: Metrics::new(&mut Registry::default()),
            volume: Volume {
                folder: folder.path().to_owned(),
                measure,
            },
        });
        Self {
            api,
            ingest,
            store,
            namespaces,
            shutdown,
            folder,
            key,
        }
    }

    async fn add(&self, executions: impl Into<Vec<Execution>>) {
        self.store.append(rows(executions)).await.unwrap();
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::get(format!("{BASE}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.api
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.ask(path, &ADMIN).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        body(response).await
    }

    async fn refused(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        status: StatusCode,
        reason: &str,
    ) -> Value {
        let response = self.ask(path, headers).await;
        assert_eq!(response.status(), status, "{path}");
        let told = body(response).await;
        assert_eq!(
            (&told["kind"], &told["reason"], &told["code"]),
            (&json!("Status"), &json!(reason), &json!(status.as_u16()))
        );
        told
    }

    async fn watch(&self, path: &str) -> Events {
        let response = self.ask(path, &ADMIN).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        Events {
            body: response.into_body().into_data_stream(),
        }
    }
}

async fn body(response: Response) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
}

struct Events {
    body: axum::body::BodyDataStream,
}

impl Events {
    /// The next event; the test fails rather than waits for ever.
    async fn next(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(Duration::from_secs(10), self.body.next())
            .await
            .expect("an event comes");
        line.map(|line| serde_json::from_slice(&line.unwrap()).unwrap())
    }

    async fn told(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let name = &event["object"]["metadata"]["name"];
        (
            event["type"].as_str().unwrap().into(),
            name.as_str().unwrap_or_default().into(),
        )
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap())
        .collect()
}

fn event(kind: &str, name: &str) -> (String, String) {
    (kind.into(), name.into())
}
