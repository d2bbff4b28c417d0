//! Operations on objects of the cluster, as the account of the client that is given. Each is a state that is brought about: a look at it asks for
//! what is not there yet, so that one that was cut off is simply looked at again.

mod drain;
mod error;
mod look;
mod meta;
mod pod;
mod rollout;

use std::sync::atomic::AtomicBool;

use crds::{execution::TargetKind, v1alpha1::ActionStep};
use jiff::Timestamp;
use kube::{Client, core::DynamicObject};

pub use error::Error;
pub use look::{Kind, kind, look};

/// One operation on one object.
#[derive(Debug)]
pub struct Task {
    pub namespace: String,
    pub kind: TargetKind,
    pub name: String,
    pub uid: String,
    /// What is done; its texts are no templates any more.
    pub action: ActionStep,
    /// What marks this operation and no other.
    pub mark: String,
    /// When it began, the same for everybody who takes it up.
    pub began: Timestamp,
    /// The replicas were asked for; not once more where an autoscaler has changed them since.
    pub scaled: AtomicBool,
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Done(String),
    /// It was asked for, and is not there yet.
    Waiting(String),
}

/// Asks for what is not there yet, and tells how far it is.
pub async fn bring_about(client: &Client, task: &Task) -> Result<Progress, Error> {
    let action = &task.action;
    if action.delete_pod.is_some() {
        return pod::delete(client, task).await;
    }
    if action.evict.is_some() {
        return pod::evicted(client, &task.namespace, &task.name, &task.uid, None).await;
    }
    let found = look::of_task(client, task).await?;
    if let Some(options) = &action.drain {
        return drain::drain(client, task, &found, options).await;
    }
    if action.cordon.is_some() || action.uncordon.is_some() {
        return drain::cordon(client, task, &found, action.cordon.is_some()).await;
    }
    if let Some(scale) = &action.scale {
        return rollout::scale(client, task, &found, scale).await;
    }
    if let Some(rollout) = &action.rollout_restart {
        return rollout::restart(client, task, &found, rollout).await;
    }
    if let Some(rollout) = &action.rollout_undo {
        return rollout::undo(client, task, &found, rollout).await;
    }
    meta::merge(client, task).await
}

/// The text at a path of an object.
fn at<'a>(object: &'a DynamicObject, path: &str) -> Option<&'a serde_json::Value> {
    object.data.pointer(path)
}

fn number(object: &DynamicObject, path: &str) -> i64 {
    at(object, path)
        .and_then(serde_json::Value::as_i64)
        .unwrap_or(0)
}
