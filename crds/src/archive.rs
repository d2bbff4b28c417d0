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

/// Kinds of which something is archived, and their resources: whoever may read these reads what is kept of them.
pub const KINDS: [(&str, &str); 5] = [
    ("JobRun", "jobruns"),
    ("RunAction", "runactions"),
    ("ChangeTicket", "changetickets"),
    ("ChangeAction", "changeactions"),
    ("Approval", "approvals"),
];

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

    /// The kind and the resource of what is kept under a name, and the name that it had itself.
    pub fn read_row_name(name: &str) -> Option<(&'static str, &'static str, &str)> {
        let (prefix, rest) = name.split_once('.')?;
        let (object, _) = rest.rsplit_once('.')?;
        let mut kinds = KINDS.into_iter();
        let (kind, resource) = kinds.find(|(kind, _)| kind.to_ascii_lowercase() == prefix)?;
        Some((kind, resource, object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_row_says_of_what_it_is() {
        for (name, expected) in [
            (
                "changeticket.move.to.db-8.3f2504e0",
                Some(("ChangeTicket", "changetickets", "move.to.db-8")),
            ),
            (
                "jobrun.nightly.1111",
                Some(("JobRun", "jobruns", "nightly")),
            ),
            ("secret.key.1111", None),
            ("jobrun.nightly", None),
            ("", None),
        ] {
            assert_eq!(Archived::read_row_name(name), expected, "{name}");
        }
        let kept = Archived {
            kind: "ChangeAction".to_owned(),
            name: "a.b".to_owned(),
            namespace: String::new(),
            namespace_uid: String::new(),
            uid: "3f2504e0-4f89".to_owned(),
            outcome: String::new(),
            finished_at: Timestamp::UNIX_EPOCH,
            object: Value::Null,
        };
        let expected = Some(("ChangeAction", "changeactions", "a.b"));
        assert_eq!(Archived::read_row_name(&kept.row_name()), expected);
    }
}
