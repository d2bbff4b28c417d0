//! ChangeSolution: a way to make a change that was reviewed once, is used by many ChangeTickets, and keeps what became of them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ChangeJob, LevelStatus, Requester, ReviewLevel, schema};

/// How a change is made whenever it has to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "ChangeSolution",
    plural = "changesolutions",
    namespaced,
    status = "ChangeSolutionStatus",
    shortname = "csol",
    category = "pilothouse",
    doc = "ChangeSolution is a standard way to make a change: a Job or a guide, to which others have agreed. ChangeTickets of its namespace use it by spec.plan.solution. Approvals are of everything that it says, its Job and Scripts included, and fall with every change; tickets that use it then wait. It does nothing by itself, and keeps what became of the tickets that it was used by.",
    printcolumn(name = "Status", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Succeeded", type_ = "integer", json_path = ".status.succeeded"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed"),
    printcolumn(name = "Used", type_ = "date", json_path = ".status.lastUsed"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Title",
        type_ = "string",
        json_path = ".spec.title",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[x_kube(
    validation = Rule::new("self.openParameters.size() == 0 || has(self.plan.job)").message("openParameters are of a Job; a guide has none"),
    validation = Rule::new("!has(self.plan.job) || !self.openParameters.exists(p, p in self.plan.job.secretParameters)").message("a parameter whose value is kept in a Secret is not open; take it out of openParameters or of plan.job.secretParameters"),
)]
pub struct ChangeSolutionSpec {
    /// title in a line, for lists.
    #[schemars(length(min = 1, max = 128))]
    pub title: String,
    /// description says what the solution is for and when not to use it, for those who review it and those who look for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// plan is what is done.
    pub plan: SolutionPlan,
    /// openParameters are parameters of the Job whose values a ticket may give itself; one that it does not give has the value of plan.job.parameters, or the Job's own. All others are as the solution has them. The Job's own patterns bound what is given. Default: none.
    #[serde(default)]
    #[schemars(
        length(max = 30),
        inner(length(min = 1, max = 64), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub open_parameters: Vec<String>,
    /// review are the levels of people who all have to agree, in any order. They agree to the solution; the tickets that use it are reviewed as well.
    #[schemars(length(min = 1, max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub review: Vec<ReviewLevel>,
    /// submit hands the solution to its reviewers; false is a draft, which no ticket can use. It is no part of what is approved. Default false.
    #[serde(default)]
    pub submit: bool,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// What is done: exactly one of job and guide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.job) != has(self.guide)").message("the plan of a solution is exactly one of job and guide"))]
pub struct SolutionPlan {
    /// job is run once by each ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<ChangeJob>,
    /// guide is a text that the implementers of a ticket follow by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub guide: Option<String>,
}

/// A ChangeSolution that a ticket uses, and the values that it gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedSolution {
    /// name of the ChangeSolution, in the namespace of the ticket. Whoever writes the ticket must be allowed to impersonate the account of its Job.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// parameters are plain values by parameter name, of those alone that the solution names in openParameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::text_map")]
    pub parameters: BTreeMap<String, String>,
}

/// A ChangeSolution as a ticket has used it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SolutionUsed {
    /// name of the ChangeSolution.
    #[schemars(length(max = 253))]
    pub name: String,
    /// uid of the ChangeSolution; one that was created anew under its name is another.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// digest of what it said, as its status.digest.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// told is true once the solution has the end of the ticket among its results, or is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

/// Observed state of a ChangeSolution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeSolutionStatus {
    /// conditions: Submitted, Approved (True while tickets can use it, and False or Unknown with the reason why they cannot); and Reconciling, Stalled, Ready for kstatus.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// summary is one word for people: Draft, InReview, Rejected, Blocked or Approved. Programs read conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub summary: Option<String>,
    /// digest of everything that is decided on: the solution, its spec but for submit, and what its Job is with all that it names. An Approval names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// writers are those who were seen to have written what the solution says now, and whoever wrote it while it was a draft; none of them agrees to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub writers: Vec<String>,
    /// levels say of each level of review how far it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub levels: Vec<LevelStatus>,
    /// succeeded is how many tickets that were started with it ended well, each counted once.
    #[serde(default)]
    pub succeeded: i64,
    /// failed is how many tickets that were started with it did not end well: Failed, Cancelled or Expired.
    #[serde(default)]
    pub failed: i64,
    /// lastUsed is when the last of them was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Time>,
    /// results are what became of the last ten of them, the latest first. They stay when the ticket is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["uid".into()]))]
    pub results: Vec<SolutionResult>,
}

/// What became of a ticket that was started with a solution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SolutionResult {
    /// ticket is the name of the ChangeTicket, which may be gone.
    #[schemars(length(max = 253))]
    pub ticket: String,
    /// uid of the ChangeTicket.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// result is how it ended: Succeeded, Failed, Cancelled or Expired.
    #[schemars(length(max = 32))]
    pub result: String,
    /// reason of that end, as the ticket's Complete or Failed has it.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// digest of what the solution said then.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// finishedAt is when the ticket ended.
    pub finished_at: Time,
}
