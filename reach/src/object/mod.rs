//! Operations on objects of the cluster, as the account of the client that is given. Each is a state that is brought about and looked at again until it is there, so that
//! one that was cut off is simply taken up again.

mod drain;
mod error;
mod look;
mod meta;
mod pod;
mod rollout;

use std::time::Duration;

use crds::{execution::TargetKind, v1alpha1::ActionStep};
use jiff::Timestamp;
use kube::{Client, core::DynamicObject};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use look::{Kind, kind, look};

/// One operation on one object.
#[derive(Clone, Debug)]
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
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Done(String),
    /// It was asked for, and is not there yet.
    Waiting(String),
}

/// How an operation ended.
#[derive(Debug)]
pub enum Outcome {
    Done(String),
    /// Time was over; with what was waited for.
    TimedOut(String),
    Cancelled(String),
    /// Asking again does not help.
    Failed(Error),
}

/// First rest between two looks; it doubles.
const REST: Duration = Duration::from_millis(500);
const MAX_REST: Duration = Duration::from_secs(5);
/// How long a refusal may be that of an API server that has just started and knows no roles.
const SETTLING: Duration = Duration::from_secs(10);

/// Brings the state about and waits for it; `tell` hears of every step of it once.
pub async fn carry_out(
    client: &Client,
    task: &Task,
    deadline: Instant,
    cancel: &CancellationToken,
    mut tell: impl FnMut(&str),
) -> Outcome {
    let (began, mut rest, mut last) = (Instant::now(), REST, String::new());
    let mut asked = Asked::default();
    while !cancel.is_cancelled() && Instant::now() < deadline {
        let looked = timeout_at(deadline, progress(client, task, &mut asked)).await;
        let waits = match looked {
            Ok(Ok(Progress::Done(said))) => {
                tell(&said);
                return Outcome::Done(said);
            }
            Ok(Ok(Progress::Waiting(said))) => said,
            Ok(Err(error)) if error.is_passing() || is_settling(&error, began) => error.said(),
            Ok(Err(error)) => return Outcome::Failed(error),
            Err(_) => break,
        };
        if waits != last {
            tell(&waits);
            last = waits;
            rest = REST;
        }
        tokio::select! {
            () = sleep(rest.min(deadline.saturating_duration_since(Instant::now()))) => {}
            () = cancel.cancelled() => {}
        }
        rest = (rest * 2).min(MAX_REST);
    }
    if cancel.is_cancelled() {
        Outcome::Cancelled(last)
    } else {
        Outcome::TimedOut(last)
    }
}

fn is_settling(error: &Error, began: Instant) -> bool {
    error.is_forbidden() && began.elapsed() < SETTLING
}

/// What was asked for already by this process; it is not asked for twice where somebody else has changed it since.
#[derive(Default)]
struct Asked(bool);

async fn progress(client: &Client, task: &Task, asked: &mut Asked) -> Result<Progress, Error> {
    let action = &task.action;
    if action.delete_pod.is_some() {
        return pod::delete(client, task).await;
    }
    if action.evict.is_some() {
        return pod::evicted(client, &task.namespace, &task.name, &task.uid, None).await;
    }
    if let Some(options) = &action.drain {
        return drain::drain(client, task, options).await;
    }
    let found = look::of_task(client, task).await?;
    if action.cordon.is_some() || action.uncordon.is_some() {
        return drain::cordon(client, task, &found, action.cordon.is_some()).await;
    }
    if let Some(scale) = &action.scale {
        return rollout::scale(client, task, &found, scale, asked).await;
    }
    if let Some(rollout) = &action.rollout_restart {
        return rollout::restart(client, task, &found, rollout, asked).await;
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
