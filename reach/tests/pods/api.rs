//! An API server for one pod: just enough of create, get, list, watch, delete, patch and log to play kubelet against it.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::watch;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The cluster: at most one pod, its log, and what was asked of it.
#[derive(Clone)]
pub struct Cluster {
    pod: watch::Sender<Value>,
    log: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    pub fn new() -> Self {
        Self {
            pod: watch::Sender::new(Value::Null),
            log: Arc::default(),
            asked: Arc::default(),
        }
    }

    pub fn client(&self) -> Client {
        let cluster = self.clone();
        let answer = move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move { Ok::<_, Infallible>(cluster.answer(request).await) }
        };
        Client::new(tower::service_fn(answer), "shop")
    }

    /// The verbs and paths asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("lock").clone()
    }

    pub fn pod(&self) -> Value {
        self.pod.borrow().clone()
    }

    pub fn put(&self, pod: Value) {
        self.pod.send_replace(pod);
    }

    pub fn write_log(&self, text: &str) {
        self.log.lock().expect("lock").push_str(text);
    }

    /// What a kubelet does: reports a state of the container.
    pub fn report(&self, state: &Value) {
        let status = json!({"phase": "Running", "containerStatuses": [{
            "name": "step", "state": state, "image": "", "imageID": "",
            "ready": false, "restartCount": 0,
        }]});
        self.pod.send_modify(|pod| {
            pod["spec"]["nodeName"] = json!("n1");
            pod["status"] = status;
        });
    }

    /// Waits until the pod is as described.
    pub async fn wait(&self, what: impl Fn(&Value) -> bool) -> Value {
        let mut pod = self.pod.subscribe();
        pod.wait_for(|pod| what(pod))
            .await
            .expect("the cluster is there")
            .clone()
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        let name = head
            .uri
            .path()
            .strip_prefix("/api/v1/namespaces/shop/pods")
            .expect("pods");
        let verb = if query.contains("watch=true") {
            "WATCH"
        } else {
            head.method.as_str()
        };
        self.asked
            .lock()
            .expect("lock")
            .push(format!("{verb} {name}"));
        let sent = body.collect_bytes().await.expect("body");
        let sent: Value = serde_json::from_slice(&sent).unwrap_or_default();
        match (&head.method, name) {
            (&Method::POST, "") => self.create(sent),
            (&Method::GET, "") if verb == "WATCH" => self.changes(),
            (&Method::GET, "") => self.list(),
            (&Method::GET, log) if log.ends_with("/log") => {
                plain(StatusCode::OK, self.log.lock().expect("lock").clone())
            }
            (&Method::GET, _) => self.found(StatusCode::OK),
            (&Method::DELETE, "") => self.sweep(),
            (&Method::DELETE, _) => self.delete(&sent),
            (&Method::PATCH, _) => self.release(&sent),
            other => panic!("{other:?}"),
        }
    }

    fn create(&self, mut pod: Value) -> Answer {
        if self.pod().is_object() {
            return refused(StatusCode::CONFLICT, "AlreadyExists", "already exists");
        }
        pod["metadata"]["uid"] = json!("u1");
        pod["metadata"]["creationTimestamp"] = json!(jiff::Timestamp::now());
        self.put(pod);
        self.found(StatusCode::CREATED)
    }

    fn found(&self, code: StatusCode) -> Answer {
        match self.pod() {
            Value::Null => refused(StatusCode::NOT_FOUND, "NotFound", "not found"),
            pod => plain(code, pod.to_string()),
        }
    }

    fn list(&self) -> Answer {
        let items: Vec<_> = Some(self.pod())
            .filter(Value::is_object)
            .into_iter()
            .collect();
        let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items});
        plain(StatusCode::OK, list.to_string())
    }

    /// The pod as it is, and then as it changes.
    fn changes(&self) -> Answer {
        let mut pod = self.pod.subscribe();
        pod.mark_changed();
        let events = stream::unfold(pod, |mut pod| async {
            pod.changed().await.ok()?;
            let now = pod.borrow_and_update().clone();
            let event = match now {
                Value::Null => {
                    json!({"type": "DELETED", "object": {"apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": "p", "resourceVersion": "2"}}})
                }
                mut pod => {
                    pod["metadata"]["resourceVersion"] = json!("2");
                    json!({"type": "MODIFIED", "object": pod})
                }
            };
            let line = Bytes::from(format!("{event}\n"));
            Some((Ok(hyper::body::Frame::data(line)), pod))
        });
        Response::new(StreamBody::new(events.boxed()).boxed_unsync())
    }

    fn delete(&self, options: &Value) -> Answer {
        let mut pod = self.pod();
        if pod.is_null() || options["preconditions"]["uid"] != pod["metadata"]["uid"] {
            return self.found(StatusCode::OK);
        }
        if pod["metadata"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty)
        {
            self.put(Value::Null);
        } else if pod["metadata"].get("deletionTimestamp").is_none() {
            let grace = jiff::SignedDuration::from_secs(5);
            pod["metadata"]["deletionTimestamp"] = json!(jiff::Timestamp::now() + grace);
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(5);
            self.put(pod.clone());
        }
        plain(StatusCode::OK, pod.to_string())
    }

    /// Deletes those that were let go of.
    fn sweep(&self) -> Answer {
        if self.pod()["metadata"]["labels"]["pilothouse.dev/released"] == "true" {
            self.put(Value::Null);
        }
        self.list()
    }

    fn release(&self, patch: &Value) -> Answer {
        assert_eq!(
            patch["metadata"]["$deleteFromPrimitiveList/finalizers"],
            json!(["pilothouse.dev/result"])
        );
        let mut pod = self.pod();
        if pod.is_null() {
            return self.found(StatusCode::OK);
        }
        if patch["metadata"]["uid"] != pod["metadata"]["uid"] {
            return refused(StatusCode::CONFLICT, "Conflict", "the UID does not match");
        }
        pod["metadata"]["finalizers"] = json!([]);
        let labels = patch["metadata"]["labels"].as_object().expect("labels");
        for (name, value) in labels {
            pod["metadata"]["labels"][name] = value.clone();
        }
        let gone = pod["metadata"].get("deletionTimestamp").is_some();
        self.put(if gone { Value::Null } else { pod.clone() });
        plain(StatusCode::OK, pod.to_string())
    }
}

fn refused(code: StatusCode, reason: &str, message: &str) -> Answer {
    let status = json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": message});
    plain(code, status.to_string())
}

fn plain(code: StatusCode, text: String) -> Answer {
    let once = stream::iter([Ok(hyper::body::Frame::data(Bytes::from(text)))]);
    let mut answer = Response::new(StreamBody::new(once).boxed_unsync());
    *answer.status_mut() = code;
    answer
}
