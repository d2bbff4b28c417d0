//! What a Script or a Job asks of those who use it.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::ParameterRef;

/// One declared parameter. A value reaches a script as an environment variable and is never spliced into its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.required) && self.required && has(self.default))").message("a required parameter has no default"),
    validation = Rule::new("!(has(self.sensitive) && self.sensitive && has(self.default))").message("a sensitive parameter has no default; its value comes from a Secret"),
    validation = Rule::new("!has(self.from) || !(has(self.default) || (has(self.required) && self.required))").message("a parameter that comes from a Parameter has no default and is not required"),
    validation = Rule::new("!has(self.default) || size(self.allowed) == 0 || self.default in self.allowed").message("default must be one of allowed"),
)]
pub struct DeclaredParameter {
    /// name by which templates, scripts and runs know the parameter.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// description for people who fill it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// default is used when a run gives no value. Without a default and not required, the value is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub default: Option<String>,
    /// from is a Parameter of the namespace whose value is used when a run gives none. Only Jobs have it; a Script gets its values from its step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ParameterRef>,
    /// required refuses a run that gives no value. Default false.
    #[serde(default)]
    pub required: bool,
    /// pattern is a regular expression (RE2) that the whole value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub pattern: Option<String>,
    /// allowed lists the only values accepted. Empty accepts every value.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed: Vec<String>,
    /// sensitive values come from Secrets only, are masked in output, and appear in no object, log or record. Default false.
    #[serde(default)]
    pub sensitive: bool,
}

impl DeclaredParameter {
    /// Whether somebody has to give a value.
    pub fn is_asked_for(&self) -> bool {
        (self.required || self.sensitive) && self.default.is_none() && self.from.is_none()
    }
}
