//! Parameter: a value that many Jobs read, kept in one place. Every change of it is a new version, and what reads it is known.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Requester, SecretKeyRef};

/// A plain value, or the place of a secret one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "Parameter",
    plural = "parameters",
    namespaced,
    status = "ParameterStatus",
    shortname = "par",
    category = "pilothouse",
    doc = "Parameter is a value that Jobs, ScheduledTasks and JobRuns of its namespace read by name. Every change of it is a new version; a run keeps the value that it was planned with.",
    printcolumn(name = "Value", type_ = "string", json_path = ".spec.value"),
    printcolumn(name = "Version", type_ = "integer", json_path = ".status.version"),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.users"),
    printcolumn(
        name = "Consistent",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Consistent')].status"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Secret",
        type_ = "string",
        json_path = ".spec.secretRef.name",
        priority = 1
    ),
    printcolumn(
        name = "Type",
        type_ = "string",
        json_path = ".spec.type",
        priority = 1
    )
)]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.secretRef)").message("give either value or secretRef"),
    validation = Rule::new("!has(self.secretRef) || (self.type == 'String' && !has(self.pattern) && size(self.allowed) == 0)").message("type, pattern and allowed are of a plain value; what a Secret holds is read by runs alone"),
    validation = Rule::new("!has(self.value) || self.type != 'Integer' || self.value.matches('^-?[0-9]{1,15}$')").message("value is no whole number of at most 15 digits, which type Integer asks for"),
    validation = Rule::new("!has(self.value) || self.type != 'Number' || self.value.matches('^-?[0-9]{1,15}([.][0-9]{1,15})?$')").message("value is no decimal number, such as -1.5, which type Number asks for"),
    validation = Rule::new("!has(self.value) || self.type != 'Boolean' || self.value in ['true', 'false']").message("value is neither true nor false, which type Boolean asks for"),
    validation = Rule::new("!(has(self.minimum) || has(self.maximum)) || self.type in ['Integer', 'Number']").message("minimum and maximum are of type Integer or Number"),
    validation = Rule::new("!has(self.minimum) || !self.value.matches('^-?[0-9]{1,15}([.][0-9]{1,15})?$') || double(self.value) >= double(self.minimum)").message("value is below minimum"),
    validation = Rule::new("!has(self.maximum) || !self.value.matches('^-?[0-9]{1,15}([.][0-9]{1,15})?$') || double(self.value) <= double(self.maximum)").message("value is above maximum"),
    validation = Rule::new("!has(self.value) || size(self.allowed) == 0 || self.value in self.allowed").message("value is not one of allowed"),
    validation = Rule::new("!has(self.value) || !has(self.pattern) || self.value.matches('^(?:' + self.pattern + ')$')").message("value does not match pattern"),
)]
pub struct ParameterSpec {
    /// description for people who look for a parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// value in plain. Everybody who may read the object sees it, and every version of it; passwords belong into a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// secretRef is where a secret value is kept. Runs read it with the rights of their account; a version is of the reference, and a Secret that changes while a run goes on fails what is left of it as ParameterChanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// type of a plain value: String (default), Integer, Number or Boolean. It reaches steps as text.
    #[serde(default, rename = "type")]
    pub type_: ParameterType,
    /// pattern is a regular expression (RE2) that the whole value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub pattern: Option<String>,
    /// allowed lists the only values accepted. Empty accepts every value.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed: Vec<String>,
    /// minimum of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -999_999_999_999_999_i64, max = 999_999_999_999_999_i64))]
    pub minimum: Option<i64>,
    /// maximum of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -999_999_999_999_999_i64, max = 999_999_999_999_999_i64))]
    pub maximum: Option<i64>,
    /// versionsKept is how many versions are kept; those that a Job or a ScheduledTask names stay beyond it. Default 20.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 100))]
    pub versions_kept: i32,
    /// consistentWith are Parameters of other namespaces that hold the same value; one that differs is named in the condition Consistent. Whoever writes this needs the right to get them.
    #[serde(default)]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub consistent_with: Vec<Twin>,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

fn twenty() -> i32 {
    20
}

/// What a plain value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ParameterType {
    #[default]
    String,
    Integer,
    Number,
    Boolean,
}

/// A Parameter of another namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Twin {
    /// namespace of the other Parameter.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// name of the other Parameter. Default: the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
}

/// A Parameter by its name, and which version of it.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterRef {
    /// name of the Parameter, in the namespace of the object that refers to it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// version that is read, whatever came after it. Default: the latest when a run is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub version: Option<i64>,
}

/// Observed state of a Parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterStatus {
    /// conditions: Ready is True when the current value is stored as a version; Consistent says whether consistentWith holds.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// version counts the changes of value and secretRef, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// versions are the latest ten that are kept, the newest first.
    #[serde(default)]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub versions: Vec<ParameterVersion>,
    /// users is how many Jobs and ScheduledTasks name the Parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<i32>,
    /// usedBy names the first fifty of them.
    #[serde(default)]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub used_by: Vec<ParameterUser>,
}

/// A version that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterVersion {
    /// version counts from 1.
    pub version: i64,
    /// revisionName is the ControllerRevision that holds it.
    #[schemars(length(max = 253))]
    pub revision_name: String,
    /// changedBy is who wrote it.
    #[schemars(length(max = 512))]
    pub changed_by: String,
    /// changedAt is when it was stored.
    pub changed_at: Time,
}

/// An object that names a Parameter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterUser {
    /// kind of the object: Job or ScheduledTask.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// name of the object.
    #[schemars(length(max = 253))]
    pub name: String,
    /// version that it names; without it it reads the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}
