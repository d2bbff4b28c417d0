//! ProtectionPolicy: what nobody changes while it is closed. The API server itself refuses, by the spec and by the state that the operator writes beside it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Allowed, CalendarState, Glass, OnConflict, PolicyMode, Requester, RiskScale, Selector,
};

/// Objects and operations that are frozen at times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "ProtectionPolicy",
    plural = "protectionpolicies",
    status = "ProtectionPolicyStatus",
    shortname = "prot",
    category = "pilothouse",
    doc = "ProtectionPolicy says which objects nobody changes, deletes, scales, evicts or enters while it is closed. The API server refuses by itself, whoever asks and by whatever means; controllers of Kubernetes go on with their work. It is open while all of its calendars are, and closed until the operator has looked at it.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Next Flip", type_ = "string", json_path = ".status.nextFlip"),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.reason"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
pub struct ProtectionPolicySpec {
    /// mode is what happens to a protected operation while the policy is closed: Disabled lets it pass, Audit notes it in the API server's audit log, Warn also warns whoever asks, Enforce (default) refuses it.
    #[serde(default)]
    pub mode: PolicyMode,
    /// namespaces by their names, 64 at most. Where neither namespaces nor namespaceSelector is given, every namespace is meant, and so are objects that are in none. kube-system, kube-public, kube-node-lease and the namespace of Pilothouse are never meant.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// namespaceSelector chooses more namespaces, by their labels. A Namespace is not changed so that it is no longer chosen, and one that is named or chosen is not deleted, if any rule has Delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// rules say what is protected there, 20 at most. One that matches is enough.
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<ProtectionRule>,
    /// require is what makes the policy open.
    pub require: ProtectionRequire,
    /// breakGlass is who passes while it is closed. The API server's audit log then says so, as pilothouse-protection/break-glass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<Glass>,
    /// reason is what people are told, such as why nobody changes this and whom to ask.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// Objects, and what is not done to them. Everything given must hold; of a list, one entry is enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.selector) || !self.operations.exists(o, o in ['Scale', 'Evict', 'Exec', 'Attach', 'PortForward'])").message("what is scaled, evicted or entered shows no labels here: list operations without Scale, Evict, Exec, Attach and PortForward, and protect against these by names or namespaces"),
)]
pub struct ProtectionRule {
    /// groups are API groups, such as apps; "" is that of pods and Services, * is any (default).
    #[serde(default = "any_group")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
    /// resources by their plural names, such as deployments; * is any. Subresources are not named: operations are what is done to them.
    #[schemars(
        length(min = 1, max = 32),
        inner(
            length(min = 1, max = 253),
            regex(pattern = "^(\\*|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub resources: Vec<String>,
    /// names of the objects; with * at the end, how they begin. Default: any.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253), regex(pattern = "^[^*\\s]*\\*?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,
    /// selector chooses objects by their labels as they were and as they would be, so nobody frees an object by taking a label off. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// operations that are not done. Scale is also an Update of spec.replicas. Default: all of them; a rule with a selector lists those it is for.
    #[serde(default = "every_operation")]
    #[schemars(length(min = 1, max = 9))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub operations: Vec<ProtectedOperation>,
}

fn any_group() -> Vec<String> {
    vec!["*".to_owned()]
}

fn every_operation() -> Vec<ProtectedOperation> {
    ProtectedOperation::ALL.to_vec()
}

/// What somebody does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProtectedOperation {
    Create,
    Update,
    Delete,
    Scale,
    Evict,
    Exec,
    Attach,
    PortForward,
    EphemeralContainers,
}

impl ProtectedOperation {
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Scale,
        Self::Evict,
        Self::Exec,
        Self::Attach,
        Self::PortForward,
        Self::EphemeralContainers,
    ];
}

/// What makes a policy open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.openCalendars), has(self.nobody), has(self.ticket)].filter(x, x).size() == 1").message("require is exactly one of openCalendars, nobody and ticket"))]
pub struct ProtectionRequire {
    /// openCalendars are ChangeCalendars that all have to be open, 8 at most. One that is not there or cannot be read is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "name".into()]))]
    pub open_calendars: Option<Vec<CalendarRef>>,
    /// nobody: the policy is never open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nobody: Option<Nobody>,
    /// ticket: the policy is closed, and implementers of a live ChangeTicket of the namespace, who neither wrote it nor have agreed to it, pass with what its allow lists. Who may approve tickets there thereby says what is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticketed>,
}

/// A ChangeCalendar of any namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CalendarRef {
    /// namespace of the calendar; whoever may write it there opens and closes the policy.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// name of the calendar.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A live ChangeTicket lets its implementers pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ticketed {
    /// onConflict is what becomes of tickets of these namespaces that conflict with others or with a calendar. It blocks only while mode is Enforce; of several policies the strictest holds.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// risk is how risky tickets of these namespaces are, and what that asks of them. It is told in every mode but Disabled, and keeps tickets back only while mode is Enforce. Of several policies each weighs and asks for itself, and a ticket has the highest of their scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskScale>,
}

/// Nothing opens the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nobody {}

/// Observed state of a ProtectionPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProtectionPolicyStatus {
    /// conditions: Ready is True while every calendar is there and can be read; while it is False the policy is closed.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it. A policy that is newer than its status is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// state is Open or Closed, now. The API server reads it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CalendarState>,
    /// reason is which calendar closes it, and why; nothing while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub reason: Option<String>,
    /// nextFlip is when state changes next; nothing where no change is foreseen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_flip: Option<Time>,
    /// passes are what live ChangeTickets let pass, 64 at most; the API server reads them here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub passes: Vec<Pass>,
    /// broken are the BreakGlasses that let their authors pass, 64 at most; the API server reads them here. Only where breakGlass.record is Required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub broken: Vec<Broken>,
}

/// A live BreakGlass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Broken {
    /// namespace of the BreakGlass, and of what passes.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// breakGlass by its name.
    #[schemars(length(max = 253))]
    pub break_glass: String,
    /// user who passes, as a member of a group of spec.breakGlass.
    #[schemars(length(max = 512))]
    pub user: String,
    /// until when.
    pub until: Time,
}

/// What a live ChangeTicket lets pass, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pass {
    /// namespace of the ticket, and of what passes.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// ticket by its name.
    #[schemars(length(max = 253))]
    pub ticket: String,
    /// users who implement it.
    #[schemars(length(max = 50), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub users: Vec<String>,
    /// groups of people who implement it.
    #[schemars(length(max = 20), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub groups: Vec<String>,
    /// except are users who wrote the ticket or have agreed to it: they do not pass, whatever groups they are in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub except: Vec<String>,
    /// allow is what they do by hand.
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow: Vec<Allowed>,
}
