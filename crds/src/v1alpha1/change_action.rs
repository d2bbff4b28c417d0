//! ChangeAction: what a person does to a ChangeTicket. Created once, never edited, its author stamped.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LocalRef, Requester};

/// One action on one ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "ChangeAction",
    plural = "changeactions",
    namespaced,
    status = "ChangeActionStatus",
    shortname = "cact",
    category = "pilothouse",
    doc = "ChangeAction is what a person does to a ChangeTicket: Start, Cancel or Complete. It is created once and never edited; its author is stamped by the API server and must hold the verb of the same name on the ticket. Start and Complete are for its implementers.",
    printcolumn(name = "Ticket", type_ = "string", json_path = ".spec.ticketRef.name"),
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
    validation = Rule::new("self == oldSelf").message("a ChangeAction is immutable; create another one"),
    validation = Rule::new("has(self.result) == (self.action == 'Complete')").message("result is for Complete, which needs it"),
)]
pub struct ChangeActionSpec {
    /// ticketRef is the ChangeTicket acted on.
    pub ticket_ref: LocalRef,
    /// action is Start (of a guide, or of a Job whose ticket says Manual, within the window), Cancel (a run that goes on is cancelled; final) or Complete (with a result, once there is nothing left to do; final).
    pub action: ChangeVerb,
    /// reason for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub reason: Option<String>,
    /// result of the change, for Complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ChangeResult>,
    /// requestedBy is who acted. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// What can be done to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChangeVerb {
    Start,
    Cancel,
    Complete,
}

/// How a change went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.outcome == 'Success' ? has(self.verified) : has(self.note)").message("a Success says how it was verified, and a Failed what went wrong in its note"))]
pub struct ChangeResult {
    /// outcome is Success or Failed. Failed is also a change that was taken back, or that has caused an interruption or an incident.
    pub outcome: ChangeOutcome,
    /// verified is InWindow (somebody has seen within the window that it works), ByRun (its run has ended well), or NotVerifiable (that shows only later).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// note for those who read it later: what was seen, or what went wrong and how it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub note: Option<String>,
}

/// Whether a change went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChangeOutcome {
    Success,
    Failed,
}

/// How it is known that a change works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verified {
    InWindow,
    ByRun,
    NotVerifiable,
}

/// Observed state of a ChangeAction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeActionStatus {
    /// conditions: Applied is True when the ticket has taken the action in, False with the reason why it has not; Stalled is True in the latter case.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
