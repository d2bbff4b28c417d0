//! The body `approval`: the run waits until people have decided.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Duration;

/// Waits for Approvals whose subject is the run and this step. They count from the moment at which the step begins to wait; nobody decides who wrote part of the run or asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("size(self.groups) > 0 || size(self.users) == 0 || size(self.users) >= self.approvals").message("users names fewer people than approvals asks for"))]
pub struct ApprovalStep {
    /// approvals is how many people have to approve; each counts once. One Reject of somebody who may decide fails the step. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub approvals: i32,
    /// groups are those whose members may decide; with users, either will do. Default: where neither is given, everybody who has the verb approve on the run, which the others need too.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
    /// users are people who may decide, by the names that the API server knows them by.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub users: Vec<String>,
    /// message is what those who decide are asked. It is not a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub message: Option<String>,
    /// expiresAfter is how long the step waits for them, from its start; the step's timeout does not bound it. Default 24h.
    #[serde(default = "a_day")]
    pub expires_after: Duration,
    /// onExpiry says what becomes of the step when that time is over and too few have approved: Fail (default), or Continue, as if they had.
    #[serde(default)]
    pub on_expiry: OnExpiry,
}

fn one() -> i32 {
    1
}

fn a_day() -> Duration {
    Duration::from_secs(24 * 60 * 60)
}

/// What becomes of a step on which too few people have decided in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnExpiry {
    #[default]
    Fail,
    Continue,
}
