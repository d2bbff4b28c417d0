//! The receipt of a run: records keep for good that a run of this name has begun, so that an object that is restored or applied anew never begins it again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a run claims before its first effect; the first claim of a name stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Namespace of the run.
    pub namespace: String,
    /// UID of that namespace; a namespace made anew begins anew.
    #[serde(rename = "namespaceUID")]
    pub namespace_uid: String,
    /// Name of the `JobRun`.
    pub run: String,
    /// UID of the `JobRun`.
    #[serde(rename = "runUID")]
    pub run_uid: String,
    /// SHA-256 of the frozen plan, in lower-case hex.
    pub plan: String,
    /// When it was claimed.
    pub at: Timestamp,
}
