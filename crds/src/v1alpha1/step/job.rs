//! The body `job`: another Job, as a run of its own.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::super::schema;

/// A run of another Job, with the account of this one. It touches the machines of this run as if it were a part of it; suspending, resuming and cancelling this run
/// do the same to it. What the Job says is fixed when this run is planned: one that was changed since then is not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStep {
    /// name of the Job. A Job that runs itself, however far, is refused, and so is one that goes more than five Jobs deep.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// parameters are values or templates such as `{{ params.unit }}`. A sensitive parameter is passed on whole: its template names it and nothing else.
    #[serde(default)]
    #[schemars(schema_with = "schema::text_map")]
    pub parameters: BTreeMap<String, String>,
}
