//! The plan of a run: everything that was looked up, frozen before the first effect. Later turns read only this.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    execution::TargetKind,
    v1alpha1::{
        ActionStep, ApprovalStep, DeclaredParameter, Duration, ExecStep, FileStep, HttpStep,
        Interpreter, Output, ParameterRef, PauseStep, PodStep, RunOn, Sharing, Strategy, WaitStep,
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::template;

/// Version of this form, kept in the data; a newer operator reads the older ones.
pub const VERSION: i32 = 1;

/// A frozen run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub version: i32,
    /// UID of the cluster, part of every key: what is known as the cluster's may change while a run is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Name of the Job; empty for a job written in the run.
    pub job: String,
    /// Revision of that Job.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Users who wrote what the run carries out, and who asked for it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub writers: BTreeSet<String>,
    pub account: String,
    pub frozen_at: Timestamp,
    pub sharing: Sharing,
    pub strategy: Strategy,
    pub lanes: Vec<Lane>,
    pub steps: Vec<PlannedStep>,
    /// Plain parameter values.
    pub params: BTreeMap<String, String>,
    /// Where the values of secret parameters are, and which version of them was there.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Parameters that values came from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub read: BTreeMap<String, ParameterRef>,
}

/// Targets that one or more steps share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    pub kind: TargetKind,
    /// The label selector that found all of them, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    pub targets: Vec<PlannedTarget>,
}

/// One target as it was when the run was planned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTarget {
    pub name: String,
    pub uid: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Identity of the machine underneath, which two Host objects may share.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// Name of the node that the machine is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The target takes no toolkit, so its promise is weaker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain: bool,
}

/// A Secret's key as it was when the run was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretSource {
    pub name: String,
    pub key: String,
    pub uid: String,
    pub resource_version: String,
}

/// The object that holds a file, as it was when the run was planned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    pub uid: String,
    pub resource_version: String,
}

/// A step with its content in place of references.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    pub name: String,
    pub lane: usize,
    pub stage: usize,
    /// Positions of the steps that come before.
    pub needs: Vec<usize>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub run_on: RunOn,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The value of forEach that it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub item: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub continue_on_failure: bool,
    /// It is taken only after the run has failed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: bool,
    pub body: Body,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    pub timeout: Duration,
    pub delivery_timeout: Duration,
    pub retries: i32,
    pub backoff: Duration,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Body {
    Script(ScriptBody),
    Exec(ExecStep),
    Pod {
        step: PodStep,
        env: BTreeMap<String, Value>,
    },
    Http {
        step: HttpStep,
        headers: BTreeMap<String, Value>,
    },
    Wait(WaitStep),
    Pause(PauseStep),
    /// People decide; nobody works on it.
    Approval(ApprovalStep),
    /// Put on hosts by a script; the content is where it was found.
    File {
        step: Box<FileStep>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<FileSource>,
    },
    /// Another Job in a run of its own.
    Job {
        name: String,
        /// What it has to be still.
        revision: String,
        parameters: BTreeMap<String, Value>,
    },
    /// On objects of the cluster; those on hosts are scripts.
    Action(Box<ActionStep>),
}

/// A script's content and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScriptBody {
    pub interpreter: Interpreter,
    pub content: String,
    pub env: BTreeMap<String, Value>,
    /// Name of the Script, empty for an inline script.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub script: String,
    /// Its revision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Written here for an action, which people declare in other words.
    #[serde(default, skip_serializing_if = "is_default")]
    pub of_action: bool,
    /// What the values must be that depend on outputs, and so can be judged only on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<DeclaredParameter>,
    /// It ends with the machine, and has succeeded when that is back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reboots: bool,
}

/// A value of the environment: a template, or a secret parameter or a sensitive output by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Value {
    Text(String),
    Secret(String),
    Output(String),
}

/// Position of a piece of work in a plan: a step and a target of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    pub step: usize,
    pub target: usize,
}

impl Plan {
    /// The plan as it is stored, and its hash: `sha256:` and 64 hexadecimal digits.
    pub fn seal(&self) -> (serde_json::Value, String) {
        let value = serde_json::to_value(self).expect("a plan is plain data");
        let hash = hash(&value);
        (value, hash)
    }

    pub fn lane(&self, step: usize) -> &Lane {
        &self.lanes[self.steps[step].lane]
    }

    pub fn target(&self, task: Task) -> &PlannedTarget {
        &self.lane(task.step).targets[task.target]
    }

    /// Targets of all lanes.
    pub fn total(&self) -> usize {
        self.lanes.iter().map(|l| l.targets.len()).sum()
    }

    /// Identities of what the run touches: hosts by machine and by address, since a machine may be known by either; nodes by machine too; pods and workloads by their UIDs.
    pub fn machines(&self) -> BTreeSet<String> {
        let touched = self
            .lanes
            .iter()
            .filter(|l| l.kind != TargetKind::None)
            .flat_map(|l| &l.targets);
        let names = touched.flat_map(|t| {
            if t.address.is_empty() {
                [&t.machine, &t.uid]
            } else {
                [&t.machine, &t.address]
            }
        });
        names.filter(|name| !name.is_empty()).cloned().collect()
    }

    /// What the templates of a task can name.
    pub fn scope<'a>(
        &'a self,
        run: template::Run<'a>,
        task: Task,
        outputs: &'a BTreeMap<String, String>,
    ) -> template::Scope<'a> {
        let target = self.target(task);
        template::Scope {
            params: &self.params,
            target: template::Target {
                name: &target.name,
                address: &target.address,
            },
            run,
            item: &self.steps[task.step].item,
            outputs,
        }
    }

    /// What people are asked by a step, where it waits for them.
    pub fn asks(&self, step: usize) -> Option<&ApprovalStep> {
        match &self.steps[step].body {
            Body::Approval(asked) => Some(asked),
            _ => None,
        }
    }

    /// Steps that have to come before this one, however far.
    pub fn before(&self, step: usize) -> BTreeSet<usize> {
        let (mut left, mut seen) = (vec![step], BTreeSet::new());
        while let Some(step) = left.pop() {
            let needs = self.steps[step].needs.iter().copied();
            left.extend(needs.filter(|&need| seen.insert(need)));
        }
        seen
    }

    /// Stage and lane of every step, once more, so that a plan read back can be trusted to hang together.
    pub fn is_coherent(&self) -> bool {
        self.version == VERSION
            && self.steps.iter().enumerate().all(|(i, s)| {
                s.lane < self.lanes.len() && s.needs.iter().all(|&n| n < self.steps.len() && n != i)
            })
            && topological(&self.steps).is_some()
    }
}

/// Hash of a stored plan.
pub fn hash(stored: &serde_json::Value) -> String {
    let bytes = serde_json::to_vec(stored).expect("a JSON value serializes");
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Positions of steps in an order that respects their needs.
pub fn topological(steps: &[PlannedStep]) -> Option<Vec<usize>> {
    let (mut done, mut out) = (vec![false; steps.len()], Vec::new());
    while out.len() < steps.len() {
        let next =
            (0..steps.len()).find(|&i| !done[i] && steps[i].needs.iter().all(|&n| done[n]))?;
        done[next] = true;
        out.push(next);
    }
    Some(out)
}

/// How many targets each batch of a lane takes; the last size repeats until all are taken.
pub fn batches(strategy: &Strategy, targets: usize) -> Vec<usize> {
    let mut left = targets;
    let mut sizes = strategy
        .batches
        .iter()
        .map(|share| share.of(targets).max(1));
    let mut last = targets.max(1);
    let mut out = Vec::new();
    while left > 0 {
        last = sizes.next().unwrap_or(last).min(left);
        out.push(last);
        left -= last;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::v1alpha1::Share;

    #[test]
    fn batches_cover_every_target_once() {
        let sizes = |batches: &[Share], n| batches_of(batches, n);
        assert_eq!(sizes(&[], 7), [7]);
        assert_eq!(
            sizes(
                &[Share::Count(1), Share::Percent(10), Share::Percent(100)],
                20
            ),
            [1, 2, 17]
        );
        assert_eq!(sizes(&[Share::Count(1)], 3), [1, 1, 1]);
        assert_eq!(sizes(&[Share::Percent(0), Share::Count(2)], 5), [1, 2, 2]);
        assert!(sizes(&[], 0).is_empty());
    }

    fn batches_of(shares: &[Share], targets: usize) -> Vec<usize> {
        batches(
            &Strategy {
                batches: shares.to_vec(),
                ..Strategy::default()
            },
            targets,
        )
    }
}
