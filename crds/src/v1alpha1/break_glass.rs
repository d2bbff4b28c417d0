//! BreakGlass: somebody gets past guards of a namespace in an emergency, says why, and somebody else looks at it afterwards.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Duration, Requester};

/// One emergency of one person in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "BreakGlass",
    plural = "breakglasses",
    namespaced,
    status = "BreakGlassStatus",
    shortname = "glass",
    category = "pilothouse",
    doc = "BreakGlass lets the person who creates it past the ProtectionPolicies and CommandPolicies whose breakGlass names a group of theirs and says record: Required, in its namespace and for a while. Its author is stamped by the API server and is a person. It ends by itself, when its author closes it, or when somebody rejects it; then it waits until somebody else has looked at it, by an Approval. Until then it cannot be deleted.",
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy.user"),
    printcolumn(name = "Incident", type_ = "string", json_path = ".spec.incident"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(
        name = "Review",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Reviewed')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Reviewer",
        type_ = "string",
        json_path = ".status.reviewedBy",
        priority = 1
    )
)]
#[x_kube(
    validation = Rule::new("duration(self.expiresAfter) >= duration('1s') && duration(self.expiresAfter) <= duration('4h')").message("expiresAfter is from 1s to 4h"),
    validation = Rule::new("self == oldSelf || (self.closed && !oldSelf.closed && self.reason == oldSelf.reason && self.incident == oldSelf.incident && self.expiresAfter == oldSelf.expiresAfter && self.policies == oldSelf.policies && has(self.requestedBy) && has(oldSelf.requestedBy) && self.requestedBy.user == oldSelf.requestedBy.user)").message("a BreakGlass does not change, but for closed, which becomes true by whoever has created it; create another one, or end it by an Approval that rejects it"),
)]
pub struct BreakGlassSpec {
    /// reason is why nobody can wait, for those who read it later.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// incident is what it is for: a number or an address of an incident, a ticket or a page.
    #[schemars(length(min = 1, max = 256))]
    pub incident: String,
    /// expiresAfter is how long it lets pass, from its creation: from 1s to 4h. Fractions of a second do not count. Default 1h.
    #[serde(default = "an_hour")]
    pub expires_after: Duration,
    /// policies that it lets pass, ProtectionPolicies and CommandPolicies by their names, 16 at most. Default: all whose breakGlass names a group of its author's.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub policies: Vec<String>,
    /// closed ends it before its time; whoever has created it sets it, once. Default false.
    #[serde(default)]
    pub closed: bool,
    /// requestedBy is who breaks the glass. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

/// Observed state of a BreakGlass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakGlassStatus {
    /// conditions: Live is True while it lets pass, and False with the reason why it does not: NotStamped, TooLate, Unreviewed, Expired, Closed, Rejected. Reviewed is True once somebody else has approved or rejected it after its end (or where it never let pass), and False until then. Audited says what the audit has on disk of it: Opened, Ended or Refused. Ready is Unknown until it is reviewed.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// digest of what it says, which an Approval of it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// openedAt is when it began to let pass; nothing where it never has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Time>,
    /// expiresAt is when it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// endedAt is when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// reviewedBy is who has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub reviewed_by: Option<String>,
}
