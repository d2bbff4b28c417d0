//! Job: what is to be done, where and how carefully. It never runs by itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DeclaredParameter, Duration, Requester, Share, Step, Targets};

/// Steps, their targets and the strategy by which they roll over them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "Job",
    namespaced,
    status = "JobStatus",
    singular = "job",
    plural = "jobs",
    shortname = "oj",
    category = "pilothouse",
    doc = "Job is a definition of work: parameters, steps as a graph, targets and strategy. It never runs by itself; a JobRun runs it.",
    printcolumn(name = "Steps", type_ = "integer", json_path = ".status.steps"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(
    validation = Rule::new("self.steps.all(s, s.needs.all(n, self.steps.exists(t, t.name == n)))").message("needs names a step that this job does not have"),
    validation = Rule::new("has(self.targets) || self.steps.all(s, has(s.pod) || has(s.job) || has(s.http) || has(s.wait) || has(s.pause) || has(s.approval) || has(s.targets))").message("a step with this body needs targets, its own or the job's"),
    validation = Rule::new("!has(self.onFailure) || self.onFailure.all(s, size(s.needs) == 0 && s.runOn == 'Success' && !self.steps.exists(t, t.name == s.name))").message("a step of onFailure has a name of its own and no needs or runOn; they go one after the other"),
)]
pub struct JobSpec {
    /// description for people who look for a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// parameters that a run may or must give. 30 by default; the limit is a setting of the operator, 300 at most.
    #[serde(default)]
    #[schemars(length(max = 300))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parameters: Vec<DeclaredParameter>,
    /// targets of every step that names none of its own. 200 by default; the limit is a setting of the operator, 2000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
    /// strategy says how the work rolls over its targets.
    #[serde(default)]
    pub strategy: Strategy,
    /// sharing says whether runs of this job may be on a machine together with other runs: Exclusive (default) or Shared.
    #[serde(default)]
    pub sharing: Sharing,
    /// steps of the job, a graph by their `needs`.
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub steps: Vec<Step>,
    /// onFailure are steps, one after the other, that a run takes after it has failed, such as a roll-back: each on those of its targets on which the run has begun something. A run that is cancelled does not take them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub on_failure: Vec<Step>,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

impl JobSpec {
    /// Steps, and those of onFailure.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(&self.on_failure)
    }
}

/// How work rolls over its targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Strategy {
    /// batches are sizes that follow each other, counts or percentages of all targets (of 20 targets, `["1", "10%", "100%"]` is 1, then 2, then the rest). The last one repeats until every target is done. Default: one batch of everything.
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub batches: Vec<Share>,
    /// maxParallel is how many executions run at once, over all targets. Default 50.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 2000))]
    pub max_parallel: i32,
    /// pauseBetween is the wait after a batch has ended. Default 0s.
    #[serde(default = "no_pause")]
    pub pause_between: Duration,
    /// maxFailures is how many targets of the whole run may fail, a count or a percentage, before onThreshold applies. Targets in flight finish. Default 0.
    #[serde(default = "no_failure")]
    pub max_failures: Share,
    /// onThreshold is Stop (default): nothing new starts and the run fails; Pause: nothing new starts until a RunAction resumes or cancels it; or Continue: every target is tried all the same, and then the run fails.
    #[serde(default)]
    pub on_threshold: OnThreshold,
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            max_parallel: fifty(),
            pause_between: no_pause(),
            max_failures: no_failure(),
            on_threshold: OnThreshold::Stop,
        }
    }
}

fn fifty() -> i32 {
    50
}

fn no_pause() -> Duration {
    Duration::from_secs(0)
}

fn no_failure() -> Share {
    Share::Count(0)
}

/// What happens when more targets failed than maxFailures allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnThreshold {
    #[default]
    Stop,
    Pause,
    Continue,
}

/// Whether runs of a Job keep machines to themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sharing {
    #[default]
    Exclusive,
    Shared,
}

/// Observed state of a Job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// conditions: Ready is True when a run of this job could be planned, Scripts and templates included; Stalled is True while something in the job has to be corrected first.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// revision is the digest of what a run of it does, its Scripts and the Jobs that it runs included; what a run may ask for in spec.jobRevision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub revision: Option<String>,
    /// steps is how many steps the job has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<i32>,
}
