//! Approval: one person's decision on what another wrote. Created once, never edited, its author stamped.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Requester, whole};

/// A decision on one content of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "Approval",
    plural = "approvals",
    namespaced,
    status = "ApprovalStatus",
    shortname = "apr",
    category = "pilothouse",
    doc = "Approval is one person's decision on a Script, a Job or a JobRun that a CommandPolicy holds, on a step of a JobRun that waits for it, on a ChangeTicket, on a ChangeSolution, or on a BreakGlass that has ended. It is about one content and falls with every change of it. It is created once and never edited; its author is stamped by the API server, must hold the verb approve on the object, and may not have written any of it.",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.subject.kind"),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.subject.name"),
    printcolumn(
        name = "Step",
        type_ = "string",
        json_path = ".spec.subject.step",
        priority = 1
    ),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy.user"),
    printcolumn(
        name = "Counts",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Counts')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("an Approval is immutable; create another one"),
    validation = Rule::new("self.decision == 'Approve' || has(self.reason)").message("whoever rejects says why; give reason"),
)]
pub struct ApprovalSpec {
    /// subject is the object that is decided on.
    pub subject: Subject,
    /// digest of what is decided on: status.digest of a Script, status.revision of a Job, status.planHash of a JobRun, status.digest of a ChangeTicket, a ChangeSolution or a BreakGlass. The decision counts for that content alone.
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
    /// decision is Approve or Reject. One Reject outweighs every Approve of the same content; on a step it fails the step, and a BreakGlass it ends.
    pub decision: Decision,
    /// reason for those who read it later; needed to reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub reason: Option<String>,
    /// expires is the time from which an Approve counts no more for runs that have not begun, or for a step that still waits. Fractions of a second do not count. Default: never.
    #[serde(
        default,
        deserialize_with = "whole::read_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires: Option<Time>,
    /// requestedBy is who decided. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// An object that can be decided on, or a step of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.step) || self.kind == 'JobRun'").message("step is of a JobRun"))]
pub struct Subject {
    /// kind of the object: Script, Job, JobRun, ChangeTicket, ChangeSolution or BreakGlass, in the namespace of the Approval.
    pub kind: SubjectKind,
    /// name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// step of the JobRun that waits for an approval. Without it the decision is about what a CommandPolicy holds, and about no step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub step: Option<String>,
}

/// Kinds that can be decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    Script,
    Job,
    JobRun,
    ChangeTicket,
    ChangeSolution,
    BreakGlass,
}

/// What somebody decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decision {
    Approve,
    Reject,
}

/// Observed state of an Approval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// conditions: Counts is True while the decision is about what the object says now, and False with the reason why it is not: Changed, OwnWork, WritersUnknown, Expired, NotFound, and of a step NotEntitled, TooEarly, TooLate, of a ChangeTicket NotReviewer and Implementer, of a ChangeSolution NotReviewer, and of a BreakGlass TooEarly.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
