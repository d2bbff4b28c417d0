//! Regions of a change: each is made in a window of its own, by a ChangeTicket that is a part of the whole.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ChangeResult, ChangeWindow, Implementers, schema};

/// A part of a change, with what differs there from the ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRegion {
    /// name of the region, such as eu-west. The ChangeTicket that is created for it has it in its name.
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// window is when the change may be carried out in this region, within the window of the ticket.
    pub window: ChangeWindow,
    /// implementers are those who carry it out in this region. Default: those of the ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub implementers: Option<Implementers>,
    /// coordinators are whom to talk to about this region. It gives them no right and no duty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinators: Option<Coordinators>,
    /// hosts are those of scope.hosts that the change touches in this region. Default: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hosts: Vec<String>,
    /// parameters are plain values by parameter name that the Job is given in this region, in place of those of plan.job by the same names. Others are as plan.job has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::text_map")]
    pub parameters: BTreeMap<String, String>,
}

/// Whom to talk to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coordinators {
    /// users by the names that the API server authenticates.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub users: Vec<String>,
    /// groups of such users.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
}

/// The ticket that another one is a part of, and what that said by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangePartOf {
    /// name of the ChangeTicket, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// uid of that ticket; one that was created anew under its name is another.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// digest of what that ticket says, as its status.digest has it. The part is approved while that is.
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
    /// region of that ticket that this is the part of.
    #[schemars(length(min = 1, max = 32))]
    pub region: String,
}

/// How far a change is in a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// name of the region.
    #[schemars(length(max = 32))]
    pub name: String,
    /// ticket is the name of the ChangeTicket that is the part of this region.
    #[schemars(length(max = 253))]
    pub ticket: String,
    /// uid of that ticket, once it is there. One that is deleted after that is not created again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// summary of that ticket in one word, as its own status says it, or Deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub summary: Option<String>,
    /// startedAt is when it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// finishedAt is when it ended, or was found to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// result is how the change went in this region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ChangeResult>,
}
