//! Script: a piece of work with declared parameters; every change is a new immutable revision.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CommandAction, CommandSeverity, DeclaredParameter, Requester};

/// A script that Jobs run on hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "Script",
    namespaced,
    status = "ScriptStatus",
    shortname = "scr",
    category = "pilothouse",
    doc = "Script is a piece of work with declared parameters. Every change of it is a new immutable revision; a run keeps the revision it was planned with.",
    printcolumn(name = "Revision", type_ = "integer", json_path = ".status.revision"),
    printcolumn(
        name = "Interpreter",
        type_ = "string",
        json_path = ".spec.interpreter"
    ),
    printcolumn(name = "Risk", type_ = "string", json_path = ".spec.riskLevel"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Allowed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Allowed')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = Rule::new("self.parameters.all(p, !has(p.from))").message("a Script's parameter has no from; its step gives the value, as a parameter of the Job may that comes from a Parameter"))]
pub struct ScriptSpec {
    /// interpreter of the content: Shell (sh), Bash or Python (python3), as found on the host. Default Shell.
    #[serde(default)]
    pub interpreter: Interpreter,
    /// content of the script, at most 40960 characters. It is not a template: parameters reach it as environment variables.
    #[schemars(length(min = 1, max = 40960))]
    pub content: String,
    /// description for people who look for a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// parameters that the script reads from its environment, 20 at most.
    #[serde(default)]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parameters: Vec<DeclaredParameter>,
    /// riskLevel is the author's own judgement: Low, Medium or High. Default Low.
    #[serde(default)]
    pub risk_level: RiskLevel,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// What runs a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Interpreter {
    #[default]
    Shell,
    Bash,
    Python,
}

/// How much a script can break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RiskLevel {
    #[default]
    Low,
    Medium,
    High,
}

/// Observed state of a Script.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptStatus {
    /// conditions: Ready is True when the current content is stored as a revision; Allowed is True when no CommandPolicy keeps it from being run, or somebody has approved it.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// revision counts the changes of interpreter, content and parameters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// revisionName is the ControllerRevision that holds the current content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision_name: Option<String>,
    /// digest of interpreter, content and parameters, `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// findings are what CommandPolicies say of its commands, the first twenty in the order of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub findings: Vec<CommandFinding>,
}

/// What a rule says of one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandFinding {
    /// policy is the CommandPolicy that says it.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// rule of the policy, or `unknown` for what cannot be known before it runs.
    #[schemars(length(max = 63))]
    pub rule: String,
    /// action that the rule asks for.
    pub action: CommandAction,
    /// effect is what is done in the mode of the policy.
    pub effect: CommandAction,
    /// severity is how much harm it can do.
    pub severity: CommandSeverity,
    /// line of the content, from 1.
    pub line: i32,
    /// column of the line in characters, from 1.
    pub column: i32,
    /// command as it would be run, and how it is reached.
    #[schemars(length(max = 512))]
    pub command: String,
    /// reason in words.
    #[schemars(length(max = 512))]
    pub reason: String,
    /// safer is what to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub safer: Option<String>,
}
