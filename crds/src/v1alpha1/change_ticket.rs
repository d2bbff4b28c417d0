//! ChangeTicket: a change that is planned, reviewed by others, carried out within its window, and closed with a result.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ChangeConflict, ChangePartOf, ChangeRegion, ChangeResult, ChangeRisk, Duration, LocalRef,
    PlannedSolution, ProtectedOperation, RegionStatus, Requester, ScopedObject, SecretKeyRef,
    SolutionUsed, condition_is_true, job_run::default_runner, schema, whole,
};

/// A change, who has to agree to it, and when it may be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "ChangeTicket",
    plural = "changetickets",
    namespaced,
    status = "ChangeTicketStatus",
    shortname = "chg",
    category = "pilothouse",
    doc = "ChangeTicket is a change: what is done, who has to agree, and in which window. Approvals are of everything that it says, its Job and Scripts included, and fall with every change. Inside the window it creates one JobRun of its Job, or its implementers follow its guide. What people do to it is a ChangeAction.",
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.level"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Live", type_ = "boolean", json_path = ".status.live"),
    printcolumn(name = "Start", type_ = "string", json_path = ".spec.window.start"),
    printcolumn(name = "End", type_ = "string", json_path = ".spec.window.end"),
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
        name = "Conflict",
        type_ = "string",
        json_path = ".status.conflicts[0].reason",
        priority = 1
    ),
    printcolumn(
        name = "Risk",
        type_ = "integer",
        json_path = ".status.risk.score",
        priority = 1
    ),
    printcolumn(
        name = "Run",
        type_ = "string",
        json_path = ".status.run",
        priority = 1
    ),
    printcolumn(
        name = "PartOf",
        type_ = "string",
        json_path = ".spec.partOf.name",
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
    validation = Rule::new("!has(self.regions) || self.regions.all(r, r.window.start >= self.window.start && r.window.end <= self.window.end)").message("the window of a region is not within window"),
    validation = Rule::new("!has(self.regions) || has(self.plan.job) || !self.regions.exists(r, has(r.parameters))").message("parameters of a region are for a plan with a job"),
    validation = Rule::new("!has(self.regions) || !has(self.partOf)").message("a part of a change has no regions of its own"),
    validation = Rule::new("has(self.ttlAfterFinished) == has(oldSelf.ttlAfterFinished) && (!has(self.ttlAfterFinished) || self.ttlAfterFinished == oldSelf.ttlAfterFinished)").message("ttlAfterFinished is given when the ticket is created, and stays as it is"),
)]
pub struct ChangeTicketSpec {
    /// title in a line, for lists.
    #[schemars(length(min = 1, max = 128))]
    pub title: String,
    /// description says why the change is needed and what it may break, for those who review it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// type is Regular or Urgent. It tells people how much time there is, and changes nothing of the review.
    #[serde(rename = "type")]
    pub type_: ChangeType,
    /// level is A, B, C or D, from the greatest risk to the least. Of a ticket with a Job, A and B end only when somebody reports a result; C and D end as their run does.
    pub level: ChangeLevel,
    /// scope is what the change is about; the namespace of the ticket always is.
    #[serde(default)]
    pub scope: ChangeScope,
    /// window is when the change may be carried out.
    pub window: ChangeWindow,
    /// start says who starts a Job: AtWindow (default), the ticket by itself as soon as the window and its calendars are open; or Manual, an implementer by a ChangeAction. A guide is always started by an implementer.
    #[serde(default)]
    pub start: ChangeStart,
    /// plan is what is done.
    pub plan: ChangePlan,
    /// implementers are those who start the change, work by hand within allow, and report its result. Who wrote the ticket or has agreed to it does none of that, and what one of them says in review does not count.
    pub implementers: Implementers,
    /// allow is what implementers may do by hand in the namespace while status.live is true, to objects that a ProtectionPolicy protects by require.ticket, and where a CommandPolicy answers with RequireTicket. There Exec and Attach on pods are what is started in them, Create and Update what the containers of workloads start, and Create on jobruns of group pilothouse.dev are runs, with names of Jobs. Empty is nothing.
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow: Vec<Allowed>,
    /// review are the levels of people who all have to agree, in any order.
    #[schemars(length(min = 1, max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub review: Vec<ReviewLevel>,
    /// calendarRefs are ChangeCalendars of the namespace. Nothing is started while one of them is closed, is not there or cannot be read; what was started goes on.
    #[serde(default)]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub calendar_refs: Vec<LocalRef>,
    /// regions are parts of the change that are made each in a window of its own. The ticket is reviewed once, with all of them; then one ChangeTicket is created for each, which is approved with this one and is started, carried out and closed by itself. This one is never live, and ends when they all have. Default: the change is made as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub regions: Vec<ChangeRegion>,
    /// partOf is the ticket that this is a part of, and of which region. Written by the operator. A part is approved exactly while it says what that ticket makes of the region, and that ticket is approved; nobody decides on the part itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<ChangePartOf>,
    /// submit hands the ticket to its reviewers; false is a draft, which does nothing. It is no part of what is approved. Taken back before the start it makes the ticket a draft again; later it has no effect. Default false.
    #[serde(default)]
    pub submit: bool,
    /// ttlAfterFinished is how long after its end the ticket is deleted, and no sooner than its window is over; the archive keeps it longer. It is given when the ticket is created, and never changed. One that Git has brought back by then does nothing, stays, and is Ready (AlreadyOver). Default: operator.archiveAfter of the installation, or it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<Duration>,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// How much time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChangeType {
    Regular,
    Urgent,
}

/// How much is at risk, A the most.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ChangeLevel {
    A,
    B,
    C,
    D,
}

/// What a change is about, besides its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeScope {
    /// hosts are names of Hosts of the namespace that the change touches, for those who review it and look for conflicts. It bounds no Job of the plan, whose own targets are approved with it. Where any are named, runs that allow lets implementers create have no others.
    #[serde(default)]
    #[schemars(length(max = 200), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hosts: Vec<String>,
    /// objects of the namespace that the change touches, for the same people and for conflicts with other tickets, as those that allow names are. They bound nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub objects: Vec<ScopedObject>,
}

/// When a change may be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.start < self.end").message("window.end is not after window.start"),
    validation = Rule::new("self.end - self.start > duration(self.reserve)").message("window.reserve leaves no time of the window"),
)]
pub struct ChangeWindow {
    /// start is the first moment at which anything may be done. Fractions of a second do not count.
    #[serde(deserialize_with = "whole::read")]
    pub start: Time,
    /// end is the moment from which nothing may be done any more. Fractions of a second do not count.
    #[serde(deserialize_with = "whole::read")]
    pub end: Time,
    /// onClose says what becomes of a run that goes on when the window closes, at end less reserve: Finish (default; it goes on to its end), Pause (it is suspended once, and whoever may resumes or cancels it) or Abort (it is cancelled).
    #[serde(default)]
    pub on_close: OnClose,
    /// reserve is time at the end of the window that is kept for taking the change back: nothing is started in it, and onClose acts when it begins. Fractions of a second do not count. Default 0s.
    #[serde(default = "no_reserve")]
    pub reserve: Duration,
}

fn no_reserve() -> Duration {
    Duration::from_secs(0)
}

/// What becomes of a run that goes on when the window closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnClose {
    #[default]
    Finish,
    Pause,
    Abort,
}

/// Who starts a Job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChangeStart {
    #[default]
    AtWindow,
    Manual,
}

/// What is done: exactly one of job, guide and solution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.job), has(self.guide), has(self.solution)].filter(x, x).size() == 1").message("a plan is exactly one of job, guide and solution"))]
pub struct ChangePlan {
    /// job is run once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<ChangeJob>,
    /// guide is a text that implementers follow by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub guide: Option<String>,
    /// solution is a ChangeSolution of the namespace, whose Job is run or whose guide is followed. The ticket is reviewed and started only while others have agreed to the solution, and what is approved is the solution as it is then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<PlannedSolution>,
}

/// A Job, its values and the account that it runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.parameters.exists(k, k in self.secretParameters)").message("a parameter is given in one of parameters and secretParameters"))]
pub struct ChangeJob {
    /// jobRef is the Job to run. What is approved is what it says with all that it names; it is run as that or not at all.
    pub job_ref: LocalRef,
    /// serviceAccountName is the account whose rights the run has. Whoever writes the ticket, and the ChangeSolution where it has one, must be allowed to impersonate it. Default pilothouse-runner.
    #[serde(default = "default_runner")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: String,
    /// parameters are plain values by parameter name. A value that is kept in a Parameter is named by the Job, so that it is approved with it.
    #[serde(default)]
    #[schemars(schema_with = "schema::text_map")]
    pub parameters: BTreeMap<String, String>,
    /// secretParameters are values kept in Secrets, by parameter name. What is approved is which Secret is read, not its value.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 30))]
    pub secret_parameters: BTreeMap<String, SecretKeyRef>,
}

/// Who carries a change out: at least one user or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.users.size() + self.groups.size() > 0").message("somebody has to carry the change out; name users or groups in implementers"))]
pub struct Implementers {
    /// users by the names that the API server authenticates.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub users: Vec<String>,
    /// groups, each member of which is an implementer.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
}

/// People of whom one, or all, have to agree: at least one user or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.users.size() + self.groups.size() > 0").message("a level without people agrees to nothing; name users or groups in review"))]
pub struct ReviewLevel {
    /// name of the level, such as leads.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// users by the names that the API server authenticates.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub users: Vec<String>,
    /// groups, each member of which is of the level.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
    /// rule is Any (default; one of them) or All (each of users, and one member of groups where there are any). Whoever is of two levels agrees for both.
    #[serde(default)]
    pub rule: ReviewRule,
}

/// How many people of a level have to agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReviewRule {
    #[default]
    Any,
    All,
}

/// What may be done by hand to which objects of the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allowed {
    /// groups of the API, such as apps; an empty text is that of pods and Services.
    #[schemars(
        length(min = 1, max = 10),
        inner(length(max = 253), regex(pattern = "^[a-z0-9.-]*$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
    /// resources by their plural names, such as deployments.
    #[schemars(
        length(min = 1, max = 20),
        inner(length(max = 63), regex(pattern = "^[a-z][a-z0-9-]*$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub resources: Vec<String>,
    /// names of objects; `*` at the end stands for any rest, and alone for every name.
    #[schemars(
        length(min = 1, max = 50),
        inner(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9.:-]*[*]?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,
    /// operations are Create, Update (also patches), Delete, Scale, Evict, Exec, Attach, PortForward and EphemeralContainers.
    #[schemars(length(min = 1, max = 9))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub operations: Vec<ProtectedOperation>,
}

/// Observed state of a ChangeTicket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeTicketStatus {
    /// conditions: Submitted, ConflictFree, Approved, Executing, Complete, Failed; and Reconciling, Stalled, Ready for kstatus.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// summary is one word for people: Draft, InReview, Rejected, Blocked, Scheduled, Startable, Executing, Cancelling, Verifying, Succeeded, Failed, Cancelled or Expired. Programs read conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub summary: Option<String>,
    /// digest of everything that is decided on: the ticket, its spec but for submit, what its Job was with all that it names, and what its ChangeSolution was. An Approval names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// jobRevision is what the Job was, as its status.revision says it; that of the start where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub job_revision: Option<String>,
    /// solution is what the ChangeSolution was that the ticket uses; that of the start where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<SolutionUsed>,
    /// writers are those who were seen to have written what the ticket says now, and whoever wrote it while it was a draft; none of them agrees to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub writers: Vec<String>,
    /// levels say of each level of review how far it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub levels: Vec<LevelStatus>,
    /// conflicts are reasons not to make the change within its window, the worst first and 20 at most; from the start on as they were then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub conflicts: Vec<ChangeConflict>,
    /// risk is how risky the change is, where a ProtectionPolicy weighs that; from the start on as it was then, or when the ticket was changed last. It is no part of what is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<ChangeRisk>,
    /// live is true while the change may be carried out: it is approved, within its window, not closed with a result, and started or free to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// nextFlip is when live changes next, as far as that is foreseen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_flip: Option<Time>,
    /// started says when and by whom the change was started, and what holds since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<ChangeStarted>,
    /// run is the name of the JobRun, once it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub run: Option<String>,
    /// closedAt is when onClose has paused or aborted the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
    /// actions are the ChangeActions that the ticket has taken in: at most one of each sort.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub actions: Vec<ChangeActionTaken>,
    /// regions say how far the change is in each region: in those of the spec, and in others that were started before they were taken out of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub regions: Vec<RegionStatus>,
    /// result is how the change went: what an implementer has reported, or what became of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ChangeResult>,
    /// finishedAt is when the ticket ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// archivedAt is when records had taken in the ticket as it ended, with its ChangeActions and Approvals; the cluster may let it go from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<Time>,
}

/// How far a level of review is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LevelStatus {
    /// name of the level.
    #[schemars(length(max = 63))]
    pub name: String,
    /// approved is how many of those whom it takes have agreed.
    pub approved: i32,
    /// needed is how many it takes.
    pub needed: i32,
    /// by are the users who have agreed, the first twenty.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub by: Vec<String>,
}

/// How a change was started, and what was approved by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeStarted {
    /// at is when.
    pub at: Time,
    /// by is the user who started it; empty where the window did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub by: String,
    /// digest of what was approved.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// closes is when onClose acts, as it was approved last.
    pub closes: Time,
    /// onClose as it was approved last.
    pub on_close: OnClose,
    /// level as it was approved last.
    pub level: ChangeLevel,
    /// run is the name of the JobRun that the change has; none is that of a guide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub run: Option<String>,
}

/// A ChangeAction that the ticket has taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeActionTaken {
    /// uid of the ChangeAction, which may be gone.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// action that was taken in.
    pub action: super::ChangeVerb,
    /// by is the user who acted.
    #[schemars(length(max = 512))]
    pub by: String,
    /// at is when the ChangeAction was created.
    pub at: Time,
    /// reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

impl ChangeTicket {
    /// Whether the ticket has ended, well or not.
    pub fn is_finished(&self) -> bool {
        self.status.as_ref().is_some_and(|status| {
            ["Complete", "Failed"]
                .iter()
                .any(|end| condition_is_true(&status.conditions, end))
        })
    }
}
