//! The bodies `wait` and `pause`: work that has no effect and takes time.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Duration;

/// Waits until an object of the run's namespace, or of the cluster, meets a condition. The step's timeout bounds the wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitStep {
    /// object to look at, read as the run's account, which must be allowed to get it.
    pub object: ObjectName,
    /// until is a CEL expression over `object`, such as `object.status.readyReplicas == object.spec.replicas`. An object or field that is not there yet is waited for.
    #[schemars(length(min = 1, max = 1024))]
    pub until: String,
    /// every is how long the object is left alone between two looks. Default 2s.
    #[serde(default = "two_seconds")]
    pub every: Duration,
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

/// An object of any kind by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// apiVersion of the object, such as apps/v1.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// kind of the object.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// name of the object. May be a template, such as `{{ target.name }}`.
    #[schemars(length(min = 1, max = 1024))]
    pub name: String,
}

/// Does nothing for a while, counted from the start of the step, whichever operator does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseStep {
    /// duration of the pause; it is not bounded by the step's timeout.
    pub duration: Duration,
}
