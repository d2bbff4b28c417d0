//! What a change gets in the way of, or what gets in its way, in the reasons that change managers know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of ChangeTickets that conflict with others, or with a calendar.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ConflictMode {
    #[default]
    Warn,
    Block,
}

/// Whether tickets with conflicts are handed in, and whether they start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnConflict {
    /// submit is Warn (default; the conflict stands in the ticket's status) or Block: a ticket is not handed to its reviewers while it has a conflict of severity High that the other side was first with.
    #[serde(default)]
    pub submit: ConflictMode,
    /// start is Warn (default) or Block: a ticket that was approved is not started while it has such a conflict. What was started goes on.
    #[serde(default)]
    pub start: ConflictMode,
}

/// An object of the namespace that a change touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScopedObject {
    /// group of the API, such as apps; default is that of pods and Services.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = "^[a-z0-9.-]*$"))]
    pub group: String,
    /// resource by its plural name, such as deployments.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z][a-z0-9-]*$"))]
    pub resource: String,
    /// name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9.:-]+$"))]
    pub name: String,
}

/// Why two plans do not go together.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ConflictReason {
    ItemBooked,
    InsideFreeze,
    OutsideWindow,
    RelatedBooked,
    RelatedInsideFreeze,
    RelatedOutsideWindow,
    ImplementerBooked,
}

impl ConflictReason {
    pub const fn name(self) -> &'static str {
        match self {
            Self::ItemBooked => "ItemBooked",
            Self::InsideFreeze => "InsideFreeze",
            Self::OutsideWindow => "OutsideWindow",
            Self::RelatedBooked => "RelatedBooked",
            Self::RelatedInsideFreeze => "RelatedInsideFreeze",
            Self::RelatedOutsideWindow => "RelatedOutsideWindow",
            Self::ImplementerBooked => "ImplementerBooked",
        }
    }

    /// High where the change itself is hit; what is beside it, people have to judge.
    pub const fn severity(self) -> ConflictSeverity {
        match self {
            Self::ItemBooked | Self::InsideFreeze | Self::OutsideWindow => ConflictSeverity::High,
            _ => ConflictSeverity::Low,
        }
    }
}

/// How bad a conflict is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ConflictSeverity {
    High,
    Low,
}

/// The other side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConflictWith {
    /// kind is ChangeTicket or ChangeCalendar.
    #[schemars(length(max = 32))]
    pub kind: String,
    /// namespace of it.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// name of it.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// One reason not to make a change when it is planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeConflict {
    /// reason is ItemBooked (another ticket changes the same object), InsideFreeze, OutsideWindow (a calendar is closed by default), RelatedBooked, RelatedInsideFreeze, RelatedOutsideWindow (the same of what stands on the object, or what it stands on) or ImplementerBooked (somebody carries out both).
    pub reason: ConflictReason,
    /// severity is High where the change itself is hit, which is what onConflict of a ProtectionPolicy blocks; Low of the Related reasons and ImplementerBooked.
    pub severity: ConflictSeverity,
    /// with is the other side.
    pub with: ConflictWith,
    /// item that both are about, such as hosts/db-7, or the user who carries out both; nothing where a calendar is one of the whole ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub item: Option<String>,
    /// from is when they begin to overlap.
    pub from: Time,
    /// until is when they no longer do.
    pub until: Time,
    /// message says it for people, with what to do.
    #[schemars(length(max = 512))]
    pub message: String,
}
