//! The body `action`: one operation on a target, done as the run's account, that may be begun again without being done twice.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Duration, schema};

/// Exactly one operation. On workloads: scale, rolloutRestart, rolloutUndo. On pods: deletePod, evict. On nodes, or on Hosts that name their node: cordon, uncordon, drain. On workloads, pods and nodes: label, annotate, patch. On hosts: service, reboot, packageHold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.scale), has(self.rolloutRestart), has(self.rolloutUndo), has(self.deletePod), has(self.evict), has(self.cordon), has(self.uncordon), has(self.drain), has(self.label), has(self.annotate), has(self.patch), has(self.service), has(self.reboot), has(self.packageHold)].filter(x, x).size() == 1").message("an action is exactly one operation"))]
pub struct ActionStep {
    /// scale sets the number of replicas of a Deployment or StatefulSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// rolloutRestart replaces the pods of a Deployment, StatefulSet or DaemonSet by its own strategy, as kubectl rollout restart does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_restart: Option<Rollout>,
    /// rolloutUndo takes a Deployment, StatefulSet or DaemonSet back to the pod template that it had before the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_undo: Option<Rollout>,
    /// deletePod deletes the pod and waits until it is gone. A pod of the same name that came later is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_pod: Option<Plain>,
    /// evict has the pod evicted as soon as its PodDisruptionBudgets allow, and waits until it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evict: Option<Plain>,
    /// cordon keeps new pods off the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Plain>,
    /// uncordon lets pods onto the node again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncordon: Option<Plain>,
    /// drain cordons the node and evicts its pods as their PodDisruptionBudgets allow; those of DaemonSets and static ones stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// label sets labels, and removes those whose value is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Marks>,
    /// annotate sets annotations, and removes those whose value is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotate: Option<Marks>,
    /// patch merges a piece of an object into the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<MergePatch>,
    /// service starts, stops or restarts a systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceState>,
    /// reboot restarts the machine and waits until it answers again with another boot ID. The step's timeout bounds the way down, deliveryTimeout the way up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<Plain>,
    /// packageHold keeps packages at their version, or lets go of them; by apt, dnf or zypper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_hold: Option<PackageHold>,
}

impl ActionStep {
    /// Every text of an operation on objects that may be a template, with its field.
    pub fn texts(&mut self) -> Vec<(String, &mut String)> {
        let mut all = Vec::new();
        for (name, marks) in [("label", &mut self.label), ("annotate", &mut self.annotate)] {
            let set = marks.iter_mut().flat_map(|marks| &mut marks.set);
            all.extend(set.map(|(key, text)| (format!("action.{name}.set.{key}"), text)));
        }
        for (key, value) in self.patch.iter_mut().flat_map(|patch| &mut patch.merge) {
            leaves(&format!("action.patch.merge.{key}"), value, &mut all);
        }
        all
    }
}

/// The texts within a piece of an object.
fn leaves<'a>(field: &str, value: &'a mut Value, all: &mut Vec<(String, &'a mut String)>) {
    match value {
        Value::String(text) => all.push((field.to_owned(), text)),
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                leaves(&format!("{field}[{i}]"), item, all);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                leaves(&format!("{field}.{key}"), value, all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// An operation with nothing to say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plain {}

/// How many replicas a workload has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scale {
    /// replicas of the workload.
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: i32,
    /// wait until the replicas are there and ready. Default true.
    #[serde(default = "yes")]
    pub wait: bool,
}

/// How a workload takes on another pod template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// wait until the rollout has ended. Default true.
    #[serde(default = "yes")]
    pub wait: bool,
}

/// How a node is emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// gracePeriod of every pod in place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Duration>,
    /// deleteEmptyDirData also evicts pods whose emptyDir volumes are lost by that. Default false: such a pod fails the drain before anything is evicted.
    #[serde(default)]
    pub delete_empty_dir_data: bool,
    /// force also evicts pods that no controller brings back. Default false: such a pod fails the drain before anything is evicted.
    #[serde(default)]
    pub force: bool,
}

/// Labels or annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Marks {
    /// set are values or templates by key; an empty one removes the key.
    #[schemars(schema_with = "schema::text_map", extend("minProperties" = 1))]
    pub set: BTreeMap<String, String>,
}

/// A JSON merge patch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergePatch {
    /// merge is a piece of the object, of up to 16 KiB; null removes a field. Texts in it may be templates.
    #[schemars(schema_with = "schema::object")]
    pub merge: serde_json::Map<String, Value>,
}

/// A systemd unit and the state that it is brought to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceState {
    /// unit of systemd. May be a template.
    #[schemars(length(min = 1, max = 256))]
    pub unit: String,
    /// state to bring it to: Started, Stopped, Restarted or Reloaded.
    pub state: UnitState,
}

/// What becomes of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnitState {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

/// Packages that keep their version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct PackageHold {
    /// packages by name. May be templates.
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub packages: Vec<String>,
    /// held is whether they are held or let go. Default true.
    #[serde(default = "yes")]
    pub held: bool,
}

fn yes() -> bool {
    true
}
