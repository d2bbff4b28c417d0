//! A step of a Job: what is done on each target, when, and within which bounds.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Interpreter, Targets, schema};

mod action;
mod approval;
mod file;
mod flow;
mod http;
mod job;
mod wait;

pub use action::*;
pub use approval::*;
pub use file::*;
pub use flow::*;
pub use http::*;
pub use job::*;
pub use wait::*;

/// One step; exactly one of the bodies `script`, `inline`, `file`, `exec`, `pod`, `http`, `wait`, `pause`, `approval`, `action` and `job`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.script), has(self.inline), has(self.file), has(self.exec), has(self.pod), has(self.http), has(self.wait), has(self.pause), has(self.approval), has(self.action), has(self.job)].filter(x, x).size() == 1").message("a step has exactly one body: script, inline, file, exec, pod, http, wait, pause, approval, action or job"),
    validation = Rule::new("!(has(self.pod) || has(self.job) || has(self.approval)) || !has(self.targets)").message("a pod, job or approval step is taken once and takes no targets"),
    validation = Rule::new("!(self.name in self.needs)").message("a step cannot need itself"),
    validation = Rule::new("!has(self.exec) || self.retries == 0").message("exec happens at most once and takes no retries"),
    validation = Rule::new("!has(self.approval) || (self.retries == 0 && !has(self.forEach) && (!has(self.continueOnFailure) || !self.continueOnFailure))").message("an approval is asked for once: it takes no retries and no forEach, and no continueOnFailure, which would leave out what people decide; see onExpiry"),
    validation = Rule::new("!has(self.runAs) || has(self.script) || has(self.inline) || has(self.file)").message("runAs is for script, inline and file"),
    validation = Rule::new("self.runOn == 'Success' || size(self.needs) > 0").message("runOn is about the steps that this one needs; name them"),
    validation = Rule::new("!has(self.outputs) || has(self.script) || has(self.inline) || has(self.pod) || has(self.job)").message("outputs come from script, inline, pod and job"),
    validation = Rule::new("!has(self.outputs) || !has(self.forEach)").message("a step of forEach has no outputs; there would be several of each"),
)]
pub struct Step {
    /// name of the step, unique in its Job.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// needs are the steps that come before this one. On the same targets each target goes on by itself; otherwise this step waits until the needed one has ended everywhere. A target on which a needed step did not succeed is Skipped.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub needs: Vec<String>,
    /// runOn says what has to have become of the steps in `needs` on a target: Success (default), Failure or Always. A step for Failure is left out where nothing failed.
    #[serde(default)]
    pub run_on: RunOn,
    /// when is a CEL expression over params, target, run, item and outputs; where it is false, the step is left out and counts as done. Example: `params.env == 'prod' && outputs.state != 'clean'`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,
    /// forEach repeats the step for each of these values, which templates name as `{{ item }}`. May be templates. They go side by side, and what needs the step waits for all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub for_each: Vec<String>,
    /// outputs are values that the step hands to those that need it, named there as `{{ outputs.NAME }}`. A script or pod prints each on a line of its own: `$PILOTHOUSE_OUTPUT NAME=VALUE`. A job step hands on what steps of the Job that it runs hand on under the same names, the same on all of their targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub outputs: Vec<Output>,
    /// continueOnFailure has the run go on as if the step had succeeded where it has not; it does not count towards maxFailures. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continue_on_failure: bool,
    /// targets of this step in place of the Job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
    /// script runs a Script object on hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptStep>,
    /// inline runs a script written here on hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineStep>,
    /// file puts a file on hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileStep>,
    /// exec runs a command in a container of each target pod, at most once: one that is cut off in the middle becomes Unknown and is not repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecStep>,
    /// pod runs a container of its own, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodStep>,
    /// http sends one request for each target, or one where there are no targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpStep>,
    /// wait waits until an object meets a condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitStep>,
    /// pause does nothing for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseStep>,
    /// approval waits until people have decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalStep>,
    /// action does one operation on each target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionStep>,
    /// job runs another Job of the namespace as a run of its own, and waits for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobStep>,
    /// runAs is the user on the host. Default: the user that the Host logs in as, and root for file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z_][a-z0-9_-]*$"))]
    pub run_as: Option<String>,
    /// timeout bounds the execution on one target, from its start. Afterwards the whole process group is ended. It does not bound pause and approval, which have times of their own. Default 10m.
    #[serde(default = "ten_minutes")]
    pub timeout: Duration,
    /// deliveryTimeout bounds how long a target may take to be reached, pods to start included. Default 2m.
    #[serde(default = "two_minutes")]
    pub delivery_timeout: Duration,
    /// retries is how often a failed attempt on a target is tried again. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub retries: i32,
    /// backoff is the wait before the first retry; it doubles each time, up to 5m. Default 5s.
    #[serde(default = "five_seconds")]
    pub backoff: Duration,
}

impl Step {
    /// A step that has no body yet, with every default.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            needs: Vec::new(),
            run_on: RunOn::default(),
            when: None,
            for_each: Vec::new(),
            outputs: Vec::new(),
            continue_on_failure: false,
            targets: None,
            script: None,
            inline: None,
            file: None,
            exec: None,
            pod: None,
            http: None,
            wait: None,
            pause: None,
            approval: None,
            action: None,
            job: None,
            run_as: None,
            timeout: ten_minutes(),
            delivery_timeout: two_minutes(),
            retries: 0,
            backoff: five_seconds(),
        }
    }
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

fn two_minutes() -> Duration {
    Duration::from_secs(120)
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

/// A Script and the values of its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptStep {
    /// name of the Script.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// parameters are values or templates such as `{{ params.unit }}`. A sensitive parameter is passed on whole: its template names it and nothing else.
    #[serde(default)]
    #[schemars(schema_with = "schema::text_map")]
    pub parameters: BTreeMap<String, String>,
}

/// A script written in the Job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InlineStep {
    /// interpreter of the content: Shell, Bash or Python. Default Shell.
    #[serde(default)]
    pub interpreter: Interpreter,
    /// content of the script. It is not a template; values reach it through env.
    #[schemars(length(min = 1, max = 40960))]
    pub content: String,
    /// env are environment variables, values or templates.
    #[serde(default)]
    #[schemars(schema_with = "schema::text_map")]
    pub env: BTreeMap<String, String>,
}

/// A command in a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecStep {
    /// command is the argument vector; no shell is put in between. Arguments may be templates, without sensitive parameters.
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub command: Vec<String>,
    /// container of the pod. Default: the pod's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub container: Option<String>,
}

/// A container of the step's own. It runs under the restricted Pod Security profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodStep {
    /// image of the container.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// command in place of the image's entrypoint. May be templates.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub command: Vec<String>,
    /// args of the command. May be templates.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub args: Vec<String>,
    /// env are environment variables, values or templates. A sensitive parameter reaches the pod as a reference to its Secret.
    #[serde(default)]
    #[schemars(schema_with = "schema::text_map")]
    pub env: BTreeMap<String, String>,
    /// resources of the container: requests and limits. Default: requests of 10m CPU and 32Mi memory, no limits.
    #[serde(default)]
    pub resources: Resources,
    /// runAsUser is the numeric user of the container; root is refused by the restricted profile. Default 65534.
    #[serde(default = "nobody")]
    #[schemars(range(min = 1, max = 2_147_483_647_i64))]
    pub run_as_user: i64,
}

fn nobody() -> i64 {
    65534
}

/// Requests and limits of a step pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// requests are reserved for the pod.
    #[serde(default = "small")]
    #[schemars(schema_with = "schema::quantity_map")]
    pub requests: BTreeMap<String, String>,
    /// limits are never exceeded.
    #[serde(default)]
    #[schemars(schema_with = "schema::quantity_map")]
    pub limits: BTreeMap<String, String>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            requests: small(),
            limits: BTreeMap::new(),
        }
    }
}

fn small() -> BTreeMap<String, String> {
    [("cpu", "10m"), ("memory", "32Mi")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}
