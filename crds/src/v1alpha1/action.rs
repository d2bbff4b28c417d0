//! RunAction: what a person does to a JobRun. Created once, never edited, its author stamped.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LocalRef, Requester};

/// One action on one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "RunAction",
    plural = "runactions",
    namespaced,
    status = "RunActionStatus",
    shortname = "ra",
    category = "pilothouse",
    doc = "RunAction is what a person does to a JobRun: Cancel, Suspend, Resume, RetryFailed, Skip, ResumeFrom or SetMaxParallel. It is created once and never edited; its author is stamped by the API server and must hold the verb of the same name on the JobRun.",
    printcolumn(name = "Run", type_ = "string", json_path = ".spec.runRef.name"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy.user"),
    printcolumn(
        name = "Applied",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Applied')].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("a RunAction is immutable; create another one"),
    validation = Rule::new("has(self.step) == (self.action in ['Skip', 'ResumeFrom'])").message("step is for Skip and ResumeFrom, and they need it"),
    validation = Rule::new("has(self.maxParallel) == (self.action == 'SetMaxParallel')").message("maxParallel is for SetMaxParallel, which needs it"),
)]
pub struct RunActionSpec {
    /// runRef is the JobRun acted on.
    pub run_ref: LocalRef,
    /// action is Cancel (end what runs, start nothing more; final), Suspend (start nothing more), Resume, RetryFailed (another attempt wherever one has failed, and nowhere else; what is Unknown is not repeated), Skip (the step counts as done wherever it has not succeeded, and what runs of it goes on), ResumeFrom (all that the step needs counts as done, the step is tried again where it failed, and the run resumes) or SetMaxParallel.
    pub action: Action,
    /// step that Skip and ResumeFrom are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub step: Option<String>,
    /// maxParallel is how many executions run at once from now on, in place of the strategy's. What runs goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2000))]
    pub max_parallel: Option<i32>,
    /// reason for those who read the timeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
    /// requestedBy is who acted. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// What can be done to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    Cancel,
    Suspend,
    Resume,
    RetryFailed,
    Skip,
    ResumeFrom,
    SetMaxParallel,
}

/// Observed state of a RunAction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunActionStatus {
    /// conditions: Applied is True when the run has taken the action in, False when it no longer could; Stalled is True in the latter case.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
