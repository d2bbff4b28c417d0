//! Pods that go: deleted, or evicted as their disruption budgets allow.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, EvictParams, Preconditions},
};

use super::{Error, Progress, Task};

/// Deletes the task's pod and waits until it is gone.
pub async fn delete(client: &Client, task: &Task) -> Result<Progress, Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &task.namespace);
    let what = format!("pod {}", task.name);
    let Some(pod) = there(&pods, &task.name, &task.uid).await? else {
        return Ok(Progress::Done(format!("{what} is gone")));
    };
    if pod.metadata.deletion_timestamp.is_none() {
        let deleted = pods.delete(&task.name, &only(&task.uid, None)).await;
        gone(deleted.map(|_| ()), "delete", &what)?;
    }
    Ok(Progress::Waiting(format!(
        "{what} is deleted and not gone yet"
    )))
}

/// Evicts a pod, and tells whether it is gone.
pub async fn evicted(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
    grace: Option<Duration>,
) -> Result<Progress, Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let what = format!("pod {namespace}/{name}");
    let Some(pod) = there(&pods, name, uid).await? else {
        return Ok(Progress::Done(format!("{what} is gone")));
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return Ok(Progress::Waiting(format!(
            "{what} is evicted and not gone yet"
        )));
    }
    let params = EvictParams {
        delete_options: Some(only(uid, grace)),
        ..EvictParams::default()
    };
    match pods.evict(name, &params).await {
        Err(kube::Error::Api(status)) if status.code == 429 => Ok(Progress::Waiting(format!(
            "{what} may not go yet: {}",
            status.message
        ))),
        answer => {
            gone(answer.map(|_| ()), "evict", &what)?;
            Ok(Progress::Waiting(format!(
                "{what} is evicted and not gone yet"
            )))
        }
    }
}

/// The pod, if it is still this one.
async fn there(pods: &Api<Pod>, name: &str, uid: &str) -> Result<Option<Pod>, Error> {
    let found = pods.get_opt(name).await.map_err(|source| Error::Request {
        verb: "read",
        what: format!("pod {name}"),
        source,
    })?;
    Ok(found.filter(|pod| pod.uid().as_deref() == Some(uid)))
}

fn only(uid: &str, grace: Option<Duration>) -> DeleteParams {
    DeleteParams {
        grace_period_seconds: grace.map(|grace| u32::try_from(grace.as_secs()).unwrap_or(u32::MAX)),
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

/// One that is not there, or is another by now, is gone.
fn gone(answer: Result<(), kube::Error>, verb: &'static str, what: &str) -> Result<(), Error> {
    match answer {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        answer => answer.map_err(|source| Error::Request {
            verb,
            what: what.to_owned(),
            source,
        }),
    }
}
