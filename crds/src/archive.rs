//! What records keep of an object that has finished, so that it is found after the cluster has let it go.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An object as it was when it had finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Archived {
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object.
    pub namespace: String,
    /// UID of that namespace; what is archived of one that was made anew is another's.
    #[serde(rename = "namespaceUID")]
    pub namespace_uid: String,
    /// UID of the object.
    pub uid: String,
    /// One word about how it ended.
    pub outcome: String,
    /// When it ended.
    pub finished_at: Timestamp,
    /// All of it.
    pub object: Value,
}

/// Digits of the UID that tell objects of one name apart.
const DIGITS: usize = 8;

impl Archived {
    /// The name under which it is kept: kind and name, and what tells it from another object that had them.
    pub fn row_name(&self) -> String {
        let digits = self.uid.get(..DIGITS).unwrap_or(&self.uid);
        format!("{}{digits}", Self::row_prefix(&self.kind, &self.name))
    }

    /// How the names of all objects begin that had this kind and name.
    pub fn row_prefix(kind: &str, name: &str) -> String {
        format!("{}.{name}.", kind.to_ascii_lowercase())
    }
}
