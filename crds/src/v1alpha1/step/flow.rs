//! How steps depend on what became of others, and what they hand on.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What has to have become of the steps that a step needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunOn {
    /// All of them succeeded on the target.
    #[default]
    Success,
    /// One of them failed there.
    Failure,
    /// All of them have ended.
    Always,
}

/// A value that a step hands on. Unless it is sensitive it stands in records and in plain sight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.sensitive) || !self.sensitive || !has(self.default)").message("a sensitive output has no default"))]
pub struct Output {
    /// name of the value, unique in its Job.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// pattern that the whole value matches; a step whose value does not has failed. Default: up to 1024 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub pattern: Option<String>,
    /// default is the value where the step was left out or gave none. Without it, a step that gives none has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub default: Option<String>,
    /// sensitive values are masked where the step prints them, and kept in a Secret of the run instead of in records; the run's account needs the right to create and get Secrets. They can only be handed on whole, in an env, the parameters of a Script or the sensitive parameters of a Job. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}
