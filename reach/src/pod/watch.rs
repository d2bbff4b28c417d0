//! One pod as it changes, by name and UID: a namesake created later is not it. An API error is never taken for absence.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};

use super::error::Refusal;

/// What the API says of the pod now.
pub(super) enum Sight {
    Pod(Box<Pod>),
    Gone,
    /// A pod of another UID has the name.
    Replaced,
}

/// Sights of one pod, the first at once and then one a change.
pub(super) struct PodWatch {
    sights: Pin<Box<dyn Stream<Item = watcher::Result<Option<Pod>>> + Send>>,
    uid: String,
}

impl PodWatch {
    pub(super) fn new(client: &Client, namespace: &str, name: &str, uid: &str) -> Self {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let sights = watcher::watch_object(pods, name).default_backoff().boxed();
        Self {
            sights,
            uid: uid.to_owned(),
        }
    }

    /// The next sight; an error only where trying again can not help.
    pub(super) async fn next(&mut self) -> Result<Sight, Refusal> {
        loop {
            match self.sights.next().await.expect("a watch never ends") {
                Ok(Some(pod)) if pod.uid().as_ref() == Some(&self.uid) => {
                    return Ok(Sight::Pod(Box::new(pod)));
                }
                Ok(Some(_)) => return Ok(Sight::Replaced),
                Ok(None) => return Ok(Sight::Gone),
                Err(error) => match kube_error(error) {
                    Ok(refused) if is_denied(&refused) => return Err(Refusal(refused)),
                    Ok(error) => tracing::debug!(%error, "watching a pod again"),
                    Err(error) => tracing::debug!(%error, "watching a pod again"),
                },
            }
        }
    }
}

fn is_denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

fn kube_error(error: watcher::Error) -> Result<kube::Error, watcher::Error> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Ok(error),
        other => Err(other),
    }
}
