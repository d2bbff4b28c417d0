//! What is known of a run, as far as its caller may look.

use crds::v1alpha1::JobRunStatus;
use jiff::Timestamp;
use serde::Serialize;

/// Everything that is known of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    pub name: String,
    pub namespace: String,
    pub account: String,
    pub job: Option<String>,
    pub requested_by: Option<String>,
    pub created: Option<Timestamp>,
    pub finished: bool,
    pub status: JobRunStatus,
    /// Executions that did not go well, the latest attempt of each.
    pub failures: Vec<Failure>,
    pub actions: Vec<Acted>,
    /// What could not be looked up, and why.
    pub unknown: Vec<String>,
    /// Commands that help, with what they are for.
    pub next: Vec<String>,
}

/// An execution that did not go well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub step: String,
    pub target: String,
    pub attempt: i32,
    pub state: &'static str,
    pub reason: String,
    pub exit_code: Option<i32>,
    pub message: String,
}

/// What a person did to the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Acted {
    pub action: String,
    pub by: String,
    pub reason: String,
    pub at: Option<Timestamp>,
}
