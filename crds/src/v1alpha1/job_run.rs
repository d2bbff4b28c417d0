//! JobRun: one execution of a Job. Immutable; what is done to it while it runs is a RunAction.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Action, Decision, Duration, JobSpec, LocalRef, ParameterRef, Requester, SecretKeyRef, schema,
    schema::UNSEEN, whole,
};
use crate::names::DEFAULT_RUNNER;

/// Default of `startDeadline`.
pub const START_DEADLINE: Duration = Duration::from_secs(600);

/// One execution: a Job, parameter values and the account whose rights it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "JobRun",
    plural = "jobruns",
    namespaced,
    status = "JobRunStatus",
    shortname = "jr",
    category = "pilothouse",
    doc = "JobRun is one execution of a Job. Its targets, scripts and parameters are frozen before the first effect; it is immutable, and a RunAction controls it.",
    printcolumn(name = "Job", type_ = "string", json_path = ".spec.jobRef.name"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(
        name = "Failed",
        type_ = "integer",
        json_path = ".status.targets.failed"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Requester",
        type_ = "string",
        json_path = ".spec.requestedBy.user",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    )
)]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("a JobRun is immutable; create another one, or control it with a RunAction"),
    validation = Rule::new("has(self.jobRef) != has(self.job)").message("give either jobRef or job"),
    validation = Rule::new("!has(self.jobRevision) || has(self.jobRef)").message("jobRevision is of the Job in jobRef"),
    validation = Rule::new("!has(self.job) || !has(self.job.requestedBy)").message("a job written in a run has no requestedBy of its own"),
    validation = Rule::new("!self.parameters.exists(k, k in self.secretParameters) && !self.parameterRefs.exists(k, k in self.parameters || k in self.secretParameters)").message("a parameter is given in one of parameters, secretParameters and parameterRefs"),
)]
pub struct JobRunSpec {
    /// jobRef is the Job to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_ref: Option<LocalRef>,
    /// jobRevision is the status.revision that the Job has to have; where it was changed meanwhile, it or what it names, the run is refused. Default: whatever the Job says when the run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub job_revision: Option<String>,
    /// job is a Job written in place, as ad-hoc commands use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<JobSpec>>,
    /// serviceAccountName is the account whose rights every read and effect of this run has. Whoever creates the run must be allowed to impersonate it. Default pilothouse-runner.
    #[serde(default = "default_runner")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: String,
    /// parameters are plain values by parameter name.
    #[serde(default)]
    #[schemars(schema_with = "schema::text_map")]
    pub parameters: BTreeMap<String, String>,
    /// secretParameters are values kept in Secrets, by parameter name. Sensitive parameters can only be given here.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 30))]
    pub secret_parameters: BTreeMap<String, SecretKeyRef>,
    /// parameterRefs are values kept in Parameters, by parameter name.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 30))]
    pub parameter_refs: BTreeMap<String, ParameterRef>,
    /// startDeadline is how long after its creation the run may wait for the operator's first look at it; one that is found later is refused, since a backup or an old etcd may have brought it back. Default 10m.
    #[serde(default = "start_deadline")]
    pub start_deadline: Duration,
    /// ttlAfterFinished is how long after its end the run is deleted; its records and the archive stay longer, and its name never begins again. One that Git has brought back, and that was refused as AlreadyBegun, stays and is Ready. Default: operator.archiveAfter of the installation, or it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<Duration>,
    /// onlyFailedOf is a JobRun of the same Job that has ended. This one works on those of its targets alone on which not every step has come to a good end, if they are still targets, and takes all steps there; what is done once is done again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_failed_of: Option<LocalRef>,
    /// ticket is the ChangeTicket of the namespace under which the run was asked for. What a CommandPolicy answers with RequireTicket begins while that ticket is live, lists the Job in allow, is about its hosts, and has whoever created the run among its implementers; it changes nothing else. Default: any ticket of the namespace that does, or the one that has started the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ticket: Option<String>,
    /// onBehalfOf is the chain of objects that this run comes from, the nearest first. Only the operator may give it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub on_behalf_of: Vec<Origin>,
    /// requestedBy is who created this run. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

impl JobRunSpec {
    /// A run as an account that names no job yet, with every default.
    pub fn new(service_account_name: &str) -> Self {
        Self {
            job_ref: None,
            job_revision: None,
            job: None,
            service_account_name: service_account_name.to_owned(),
            parameters: BTreeMap::new(),
            secret_parameters: BTreeMap::new(),
            parameter_refs: BTreeMap::new(),
            start_deadline: START_DEADLINE,
            ttl_after_finished: None,
            only_failed_of: None,
            ticket: None,
            on_behalf_of: Vec::new(),
            requested_by: None,
        }
    }
}

fn start_deadline() -> Duration {
    START_DEADLINE
}

/// An object that a run comes from, and who had written it last by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// kind of the object, such as ScheduledTask.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// uid of the object, since one of the same name may be another tomorrow.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// at is the firing that the run is for. Fractions of a second do not count.
    #[serde(
        default,
        deserialize_with = "whole::read_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub at: Option<Time>,
    /// requestedBy is who wrote the object last before the run was created.
    pub requested_by: Requester,
}

/// The account of runs and Hosts that name none.
pub(super) fn default_runner() -> String {
    DEFAULT_RUNNER.to_owned()
}

/// Observed state of a JobRun.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRunStatus {
    /// conditions: Planned, Running, Suspended, Complete, Failed; and Reconciling, Stalled, Ready for kstatus.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// summary is one word for people: Waiting, Running, RollingBack, Suspended, Cancelling, Succeeded, Skipped, Failed, Cancelled or Refused. Programs read conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub summary: Option<String>,
    /// message says what the run waits for or why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// progress is how many targets have ended of how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub progress: Option<String>,
    /// planName is the ControllerRevision that holds the frozen plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub plan_name: Option<String>,
    /// planHash is the digest of the frozen plan, `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub plan_hash: Option<String>,
    /// targets counts the run's targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetCounts>,
    /// steps counts what became of each step; those of forEach each by itself, as `step.0`.
    #[serde(default)]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub steps: Vec<StepStatus>,
    /// notes name promises that are weaker than usual, such as hosts on which nothing may be copied.
    #[serde(default)]
    #[schemars(length(max = 10), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub notes: Vec<String>,
    /// asked is what people have asked for and the run has taken in: Suspend or Cancel. It outlives the RunAction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// forgivenFailures is how many failed targets stood when the run was last resumed; the failure threshold counts from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2000))]
    pub forgiven_failures: Option<i32>,
    /// skippedSteps are the steps that somebody had count as done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 66)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub skipped_steps: Vec<String>,
    /// retried are failures that somebody granted another attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub retried: Vec<Retried>,
    /// maxParallel is how many executions run at once, where somebody has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2000))]
    pub max_parallel: Option<i32>,
    /// actions are the last twenty things that people did to the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub actions: Vec<ActionTaken>,
    /// parameters are the Parameters that the run was planned with, in which version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 300))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parameters: Vec<ParameterRead>,
    /// startedAt is when the run got its machines; nothing has an effect before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// releasedAt is when the run let go of its machines, because it does nothing until people decide; absent while it has them. It waits for them again before it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Time>,
    /// finishedAt is when the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// What stands between a run and its next effect by somebody's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Asked {
    Suspend,
    Cancel,
}

/// Failures of a step that are tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retried {
    /// step that failed.
    #[schemars(length(max = 66))]
    pub step: String,
    /// attempt that failed; the next one is granted.
    pub attempt: i32,
    /// targets are positions in the plan, as `0-3,7`.
    #[schemars(length(max = 16384))]
    pub targets: String,
}

/// A value that came from a Parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterRead {
    /// name by which the Job knows the value.
    #[schemars(length(max = 64))]
    pub name: String,
    /// parameter is the Parameter that it came from.
    #[schemars(length(max = 253))]
    pub parameter: String,
    /// version of it.
    pub version: i64,
}

/// A RunAction that the run has taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionTaken {
    /// uid of the RunAction, which may be gone.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// action that was taken in.
    pub action: Action,
    /// step that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 66))]
    pub step: Option<String>,
    /// maxParallel that it set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<i32>,
    /// by is the user who acted.
    #[schemars(length(max = 512))]
    pub by: String,
    /// at is when the RunAction was created.
    pub at: Time,
    /// reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// Counts of targets over all steps; a target has failed when one of its steps has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCounts {
    /// total number of targets.
    pub total: i32,
    /// succeeded is how many have ended with every step succeeded.
    pub succeeded: i32,
    /// failed is how many have a step that failed, timed out, could not be delivered or is unknown.
    pub failed: i32,
}

/// What became of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// name of the step.
    #[schemars(length(min = 1, max = 66))]
    pub name: String,
    /// pending is how many targets have not started.
    pub pending: i32,
    /// running is how many targets are being worked on.
    pub running: i32,
    /// succeeded is how many targets ended well.
    pub succeeded: i32,
    /// failed is how many targets failed, timed out, could not be delivered or are unknown.
    pub failed: i32,
    /// skipped is how many targets were left out, because a needed step did not succeed there, the run stopped or was cancelled.
    pub skipped: i32,
    /// failedTargets names the first ten failed targets.
    #[serde(default)]
    #[schemars(length(max = 10), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub failed_targets: Vec<String>,
    /// approval is what people have decided on a step that waits for them, from when it begins to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<StepApproval>,
}

/// What people have decided on an attempt at a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepApproval {
    /// attempt at the step that this is about; a step that is tried again is decided on anew.
    pub attempt: i32,
    /// needed is how many people have to approve.
    pub needed: i32,
    /// since is when the step began to wait.
    pub since: Time,
    /// until is when there is no time left to decide.
    pub until: Time,
    /// outcome is Approved, Rejected, Expired or Withdrawn (nobody has to decide any more: the run ends, or somebody had the step count as done); absent while the step waits. What stands here is carried out, whatever becomes of the Approvals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ApprovalOutcome>,
    /// decisions are those that count: until there is an outcome the Approvals that are there, and then those that it came from.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub decisions: Vec<DecisionTaken>,
    /// message says whom the step waits for, or how it was decided.
    #[schemars(length(max = 512))]
    pub message: String,
}

/// What became of an approval step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalOutcome {
    Approved,
    Rejected,
    Expired,
    Withdrawn,
}

/// A decision that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionTaken {
    /// approval is the name of the Approval, which may be gone.
    #[schemars(length(max = 253))]
    pub approval: String,
    /// uid of it.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// decision that it is.
    pub decision: Decision,
    /// by is the user who decided.
    #[schemars(length(max = 512))]
    pub by: String,
    /// at is when the Approval was created.
    pub at: Time,
}

impl JobRun {
    /// Whether an operator has ever looked at it.
    pub fn was_seen(&self) -> bool {
        let observed = self.status.as_ref().and_then(|s| s.observed_generation);
        observed.is_some_and(|generation| generation != UNSEEN)
    }

    /// Whether the run has ended, well or not.
    pub fn is_finished(&self) -> bool {
        self.status.as_ref().is_some_and(|status| {
            ["Complete", "Failed"]
                .iter()
                .any(|end| super::condition_is_true(&status.conditions, end))
        })
    }
}
