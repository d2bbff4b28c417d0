//! ScheduledTask: when a Job runs by itself, and what came of each firing.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Duration, LocalRef, ParameterRef, Requester, SecretKeyRef, job_run::default_runner, schema,
    whole,
};

/// A Job and the times at which it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "ScheduledTask",
    plural = "scheduledtasks",
    namespaced,
    status = "ScheduledTaskStatus",
    shortname = "stk",
    category = "pilothouse",
    doc = "ScheduledTask creates a JobRun of a Job at each firing of its schedule. Its last writer, and those of the Job and its Scripts, are asked for their rights at each firing anew.",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".status.schedule"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextFirings[0]"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastFired"),
    printcolumn(
        name = "Not Fired",
        type_ = "string",
        json_path = ".status.lastSuppressed"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Job",
        type_ = "string",
        json_path = ".spec.jobRef.name",
        priority = 1
    ),
    printcolumn(
        name = "Last Run",
        type_ = "string",
        json_path = ".status.lastRun",
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
    validation = Rule::new("!has(self.calendars) || has(self.schedule.timeZone)").message("calendars are dates of a zone; give schedule.timeZone"),
    validation = Rule::new("!self.parameters.exists(k, k in self.secretParameters) && !self.parameterRefs.exists(k, k in self.parameters || k in self.secretParameters)").message("a parameter is given in one of parameters, secretParameters and parameterRefs"),
)]
pub struct ScheduledTaskSpec {
    /// description for people who look for a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// schedule says when the Job runs.
    pub schedule: Schedule,
    /// calendars are dates on which nothing fires, or the only ones on which something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendars: Option<Calendars>,
    /// calendarRefs are ChangeCalendars of the namespace. Nothing fires while one of them is closed, is not there or cannot be read.
    #[serde(default)]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub calendar_refs: Vec<LocalRef>,
    /// dst says what becomes of local times that summer time takes away or repeats. RunOnce (default): one that does not exist fires at the moment of the change, one that exists twice fires the first time. Skip: one that does not exist does not fire. RunBoth: one that exists twice fires both times.
    #[serde(default)]
    pub dst: Dst,
    /// misfire says what becomes of firings that were missed while no operator was at work.
    #[serde(default)]
    pub misfire: Misfire,
    /// concurrency says what happens when an earlier run of this task has not ended: Forbid (default; the firing is suppressed), Allow, or Replace (the earlier run is cancelled).
    #[serde(default)]
    pub concurrency: Concurrency,
    /// maxRuns is how many runs are started at most; then the task is finished. Without it there is no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_runs: Option<i32>,
    /// expires is the time after which nothing fires. Fractions of a second do not count.
    #[serde(
        default,
        deserialize_with = "whole::read_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires: Option<Time>,
    /// jitter delays each start by a time below it, other for each task and firing, and always the same for one firing. Default 0s.
    #[serde(default = "nothing")]
    pub jitter: Duration,
    /// suspend keeps everything and fires nothing. What would have fired meanwhile is not made up for. Default false.
    #[serde(default)]
    pub suspend: bool,
    /// jobRef is the Job to run.
    pub job_ref: LocalRef,
    /// serviceAccountName is the account whose rights every run has. Whoever writes the task must be allowed to impersonate it. Default pilothouse-runner.
    #[serde(default = "default_runner")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: String,
    /// parameters are plain values by parameter name, the same for each run.
    #[serde(default)]
    #[schemars(schema_with = "schema::text_map")]
    pub parameters: BTreeMap<String, String>,
    /// secretParameters are values kept in Secrets, by parameter name.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 30))]
    pub secret_parameters: BTreeMap<String, SecretKeyRef>,
    /// parameterRefs are values kept in Parameters, by parameter name.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 30))]
    pub parameter_refs: BTreeMap<String, ParameterRef>,
    /// history is how many ended runs of this task are kept, and a few more until they are looked through; their records stay longer.
    #[serde(default)]
    pub history: History,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

fn nothing() -> Duration {
    Duration::from_secs(0)
}

/// When something fires: exactly one of at, cron and every.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.at), has(self.cron), has(self.every)].filter(x, x).size() == 1").message("a schedule has exactly one of at, cron and every"),
    validation = Rule::new("!has(self.cron) || has(self.timeZone)").message("cron needs timeZone, such as Asia/Shanghai or UTC"),
    validation = Rule::new("!has(self.from) || has(self.every)").message("from is for every"),
    validation = Rule::new("!has(self.every) || duration(self.every) >= duration('1s')").message("every is at least 1s"),
)]
pub struct Schedule {
    /// at fires once. Fractions of a second do not count.
    #[serde(
        default,
        deserialize_with = "whole::read_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub at: Option<Time>,
    /// cron has six fields as in Quartz: second, minute, hour, day of month, month, day of week (1 is Sunday; names are better). `L`, `W` and `#` are understood; one of the two days is `?`. Where hour is `*` or `*/n` the task follows elapsed time through changes of summer time, otherwise `dst` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 11, max = 128))]
    pub cron: Option<String>,
    /// every fires again and again, counted from `from`. Fractions of a second do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// from is the first firing of every. Fractions of a second do not count. Default: one interval after the creation of the task.
    #[serde(
        default,
        deserialize_with = "whole::read_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub from: Option<Time>,
    /// timeZone is the IANA name of the zone in which cron and calendars are read, such as Europe/Berlin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// Dates by local time of the schedule's zone. A date that is excluded never fires, also where it is included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Calendars {
    /// exclude are the dates on which nothing fires, such as holidays.
    #[serde(default)]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub exclude: Vec<Dates>,
    /// include are the only dates on which something fires. Empty includes every date.
    #[serde(default)]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub include: Vec<Dates>,
}

/// A date, or a range of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.to) || self.to >= self.from").message("to is before from"))]
pub struct Dates {
    /// from is the first date, as in 2026-10-01.
    #[schemars(schema_with = "schema::date")]
    pub from: String,
    /// to is the last date, itself within the range. Default: from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date")]
    pub to: Option<String>,
    /// name for those who ask why nothing fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub name: Option<String>,
}

/// What becomes of local times that a change of summer time takes away or repeats. RunOnce and RunBoth fire what does not exist at the moment of the change, Skip does not; RunBoth alone fires
/// twice what exists twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dst {
    #[default]
    RunOnce,
    Skip,
    RunBoth,
}

/// What becomes of firings that are found late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.deadline) <= duration('24h')").message("deadline is at most 24h"))]
pub struct Misfire {
    /// policy is RunOnce (default: of all that were missed the latest runs), Skip, or RunAll (up to 100 of them).
    #[serde(default)]
    pub policy: MisfirePolicy,
    /// deadline is how late a firing may start; later ones are suppressed; at most 24h. A firing that is less than a minute late was not missed. Default 10m.
    #[serde(default = "ten_minutes")]
    pub deadline: Duration,
}

impl Default for Misfire {
    fn default() -> Self {
        Self {
            policy: MisfirePolicy::RunOnce,
            deadline: ten_minutes(),
        }
    }
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

/// Which of the firings that were missed run after all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MisfirePolicy {
    #[default]
    RunOnce,
    Skip,
    RunAll,
}

/// What happens when an earlier run of the task has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Concurrency {
    #[default]
    Forbid,
    Allow,
    Replace,
}

/// How many ended runs are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// succeeded is how many runs that ended well are kept. Default 3.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 100))]
    pub succeeded: i32,
    /// failed is how many other runs that ended are kept. Default 3.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 100))]
    pub failed: i32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            succeeded: three(),
            failed: three(),
        }
    }
}

fn three() -> i32 {
    3
}

/// Observed state of a ScheduledTask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledTaskStatus {
    /// conditions: Ready is True while the task can fire, is suspended or is finished; Stalled is True while something has to be corrected first.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// schedule in a line, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub schedule: Option<String>,
    /// nextFirings are the next five firings, without jitter.
    #[serde(default)]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub next_firings: Vec<Time>,
    /// nextSuppressed are firings up to the last of nextFirings that will not happen, and why.
    #[serde(default)]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub next_suppressed: Vec<Suppressed>,
    /// suppressed are the last ten firings that did not happen, and why; the latest first.
    #[serde(default)]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub suppressed: Vec<Suppressed>,
    /// lastSuppressed is the first of suppressed in a line, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_suppressed: Option<String>,
    /// lastFired is the firing of the latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fired: Option<Time>,
    /// lastRun is the name of the latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub last_run: Option<String>,
    /// settledUntil is the time up to which every firing was started or suppressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_until: Option<Time>,
    /// runs is how many runs were started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<i32>,
    /// scheduleDigest tells whether the times of the schedule were changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub schedule_digest: Option<String>,
}

/// A firing that did not happen, or will not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suppressed {
    /// at is when it would have fired; the first one where several in a row have the same cause.
    pub at: Time,
    /// reason in one CamelCase word: ExcludedDate, NotIncludedDate, DstGap, Misfire, Suspended, PreviousRunActive, Superseded, or why the run would have been refused.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// message for people.
    #[schemars(length(max = 512))]
    pub message: String,
}
