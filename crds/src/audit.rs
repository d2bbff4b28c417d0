//! The audit: what an entry says, how entries hang together, and what a checkpoint vouches for. Whoever writes and whoever verifies counts the same bytes: the canonical JSON of this
//! module, with fields in the order of their names and no white space, which `jq -cS` writes as well.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::v1alpha1::{Requester, clip};

/// Version of the entries below, carried in each of them.
pub const VERSION: u32 = 1;
/// Longest name, user or digest, in bytes.
pub const TEXT_BYTES: usize = 512;
/// Longest reason, in bytes.
pub const REASON_BYTES: usize = 1024;
/// Groups of an actor at most.
pub const GROUPS: usize = 32;

/// A decision as its source tells of it: what was decided, and its place among all that this source has told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Version of this entry, see `VERSION`.
    pub version: u32,
    /// Who tells.
    pub source: Source,
    /// Counts what the source tells, from 1 and without a gap: what was lost on the way is missing by its number.
    pub number: i64,
    #[serde(flatten)]
    pub statement: Statement,
}

impl AuditEntry {
    /// By which people name it; no two have the same, since starts are chosen at random.
    pub fn id(&self) -> String {
        format!("{}-{}", self.source.start, self.number)
    }
}

/// One start of one replica; another start counts anew under another name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Name of the pod.
    pub replica: String,
    /// Chosen at random when it started.
    pub start: String,
}

/// What was decided. It holds no value of a parameter and no command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// When, by the clock of the source.
    pub at: Timestamp,
    pub decision: AuditDecision,
    /// Who asked, or decided.
    pub actor: Requester,
    /// What they wanted to do: run, approve, reject or break-glass.
    pub verb: String,
    /// What it is about.
    pub subject: AuditSubject,
    /// Policy that decided; absent where none did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Rule of that policy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Digest of the content that was decided on: of a plan, a Job or a Script.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

/// An object that was decided on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditSubject {
    pub group: String,
    pub kind: String,
    /// Absent for one of the whole cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// UID of that namespace; entries of one that was made anew are another's.
    #[serde(
        rename = "namespaceUID",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub namespace_uid: String,
    pub name: String,
    /// Absent where the object is known by its name alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuditDecision {
    /// It began; what a rule held was approved before.
    Allowed,
    /// It began, with a warning.
    Warned,
    /// It began, since the policy of the rule holds nothing in its mode.
    WouldHold,
    /// It began, since the policy of the rule denies nothing in its mode.
    WouldDeny,
    /// It waits for somebody's decision.
    Held,
    /// It never begins.
    Denied,
    /// It passed although a rule refuses it, since who asked may break the glass.
    BrokeGlass,
    /// Somebody let it begin.
    Approved,
    /// Somebody had it not begin.
    Rejected,
    /// Somebody's decision does not count, or their BreakGlass lets nothing pass.
    Refused,
    /// A BreakGlass lets its author pass.
    Opened,
    /// It does no more.
    Ended,
}

impl AuditDecision {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed",
            Self::Warned => "Warned",
            Self::WouldHold => "WouldHold",
            Self::WouldDeny => "WouldDeny",
            Self::Held => "Held",
            Self::Denied => "Denied",
            Self::BrokeGlass => "BrokeGlass",
            Self::Approved => "Approved",
            Self::Rejected => "Rejected",
            Self::Refused => "Refused",
            Self::Opened => "Opened",
            Self::Ended => "Ended",
        }
    }
}

impl Statement {
    /// The same, cut to what is kept and in one line, so that no text of anybody has it refused.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let actor = &mut self.actor;
        actor.groups.truncate(GROUPS);
        let subject = &mut self.subject;
        let names = [
            &mut actor.user,
            &mut self.verb,
            &mut subject.group,
            &mut subject.kind,
            &mut subject.namespace,
            &mut subject.namespace_uid,
            &mut subject.name,
            &mut subject.uid,
            &mut self.policy,
            &mut self.rule,
            &mut self.digest,
        ];
        for text in names.into_iter().chain(&mut actor.groups) {
            *text = line(text, TEXT_BYTES);
        }
        self.reason = line(&self.reason, REASON_BYTES);
        self
    }

    /// Every text of it by its name, with how long it may be.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str, usize)> {
        let (actor, subject) = (&self.actor, &self.subject);
        let names = [
            ("actor.user", &actor.user),
            ("verb", &self.verb),
            ("subject.group", &subject.group),
            ("subject.kind", &subject.kind),
            ("subject.namespace", &subject.namespace),
            ("subject.namespaceUID", &subject.namespace_uid),
            ("subject.name", &subject.name),
            ("subject.uid", &subject.uid),
            ("policy", &self.policy),
            ("rule", &self.rule),
            ("digest", &self.digest),
        ];
        let groups = actor.groups.iter().map(|group| ("actor.groups", group));
        let names = names.into_iter().chain(groups);
        names
            .map(|(name, text)| (name, text.as_str(), TEXT_BYTES))
            .chain([("reason", self.reason.as_str(), REASON_BYTES)])
    }
}

fn line(text: &str, bytes: usize) -> String {
    let flat: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clip(&flat, bytes)
}

/// Where a chain ends: the sequence number of its last entry, and that entry's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub sequence: i64,
    pub hash: String,
}

/// The beginning of every chain.
impl Default for Head {
    fn default() -> Self {
        Self {
            sequence: 0,
            hash: "0".repeat(64),
        }
    }
}

/// An entry in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub sequence: i64,
    /// Hash of the one before.
    pub previous: String,
    /// SHA-256 of the bytes of the hash before and of the canonical JSON of `entry`, in lower-case hex.
    pub hash: String,
    /// The entry with `sequence`, and with `follows`: the number that its source had come to before, as the store knew it.
    pub entry: Value,
}

impl Link {
    /// The next of a chain.
    pub fn after(head: &Head, follows: i64, entry: &AuditEntry) -> Self {
        let sequence = head.sequence + 1;
        let mut entry = serde_json::to_value(entry).expect("an entry is strings and numbers");
        entry["sequence"] = json!(sequence);
        entry["follows"] = json!(follows);
        let hash = hash(&head.hash, &canonical(&entry));
        Self {
            sequence,
            previous: head.hash.clone(),
            hash: hash.expect("the hash of a head is one"),
            entry,
        }
    }

    /// The hash that it should have by what it says; nothing where what stands for the one before is none.
    pub fn computed(&self) -> Option<String> {
        hash(&self.previous, &canonical(&self.entry))
    }

    pub fn head(&self) -> Head {
        Head {
            sequence: self.sequence,
            hash: self.hash.clone(),
        }
    }
}

fn hash(previous: &str, canonical: &str) -> Option<String> {
    let previous = hex::decode(previous)
        .ok()
        .filter(|bytes| bytes.len() == 32)?;
    let hash = Sha256::new()
        .chain_update(previous)
        .chain_update(canonical)
        .finalize();
    Some(hex::encode(hash))
}

/// What the store vouches for with its key: that its chain had this hash at this entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    pub sequence: i64,
    pub hash: String,
    /// When it was signed, in whole milliseconds.
    pub at: Timestamp,
    /// Ed25519 over `signed`, in lower-case hex.
    pub signature: String,
}

impl Checkpoint {
    /// What is signed.
    pub fn signed(head: &Head, at: Timestamp) -> String {
        let Head { sequence, hash } = head;
        canonical(&json!({"kind": "AuditCheckpoint", "sequence": sequence, "hash": hash, "at": at}))
    }

    pub fn head(&self) -> Head {
        Head {
            sequence: self.sequence,
            hash: self.hash.clone(),
        }
    }
}

/// JSON with fields in the order of their names and no white space.
pub fn canonical(value: &Value) -> String {
    let text = |text: &str| Value::from(text).to_string();
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let field =
                |(name, value): (&String, _)| format!("{}:{}", text(name), canonical(value));
            format!(
                "{{{}}}",
                fields.into_iter().map(field).collect::<Vec<_>>().join(",")
            )
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            version: VERSION,
            source: Source {
                replica: "operator-0".into(),
                start: "a1".into(),
            },
            number: 7,
            statement: Statement {
                at: Timestamp::UNIX_EPOCH,
                decision: AuditDecision::Held,
                actor: Requester {
                    user: "ann".into(),
                    groups: vec!["devs".into()],
                },
                verb: "run".into(),
                subject: AuditSubject {
                    group: "pilothouse.dev".into(),
                    kind: "JobRun".into(),
                    namespace: "shop".into(),
                    namespace_uid: "shop-uid".into(),
                    name: "r".into(),
                    uid: "r-uid".into(),
                },
                policy: "house".into(),
                rule: "no-beep".into(),
                reason: "it wakes \"everybody\"".into(),
                digest: String::new(),
            },
        }
    }

    #[test]
    fn the_hash_never_changes_between_versions() {
        let link = Link::after(&Head::default(), 6, &entry());
        let told = r#"{"actor":{"groups":["devs"],"user":"ann"},"at":"1970-01-01T00:00:00Z","decision":"Held","follows":6,"number":7,"policy":"house","reason":"it wakes \"everybody\"","rule":"no-beep","sequence":1,"source":{"replica":"operator-0","start":"a1"},"subject":{"group":"pilothouse.dev","kind":"JobRun","name":"r","namespace":"shop","namespaceUID":"shop-uid","uid":"r-uid"},"verb":"run","version":1}"#;
        assert_eq!(canonical(&link.entry), told);
        let mut bytes = vec![0; 32];
        bytes.extend(told.bytes());
        assert_eq!(link.hash, hex::encode(Sha256::digest(bytes)));
        assert_eq!(link.computed(), Some(link.hash.clone()));
        let next = Link::after(&link.head(), 7, &entry());
        assert_eq!((next.sequence, &next.previous), (2, &link.hash));
    }

    #[test]
    fn a_change_of_anything_in_an_entry_changes_its_hash() {
        let link = Link::after(&Head::default(), 6, &entry());
        for (path, value) in [
            ("/actor/user", json!("bob")),
            ("/follows", json!(5)),
            ("/subject/namespaceUID", json!("")),
            ("/decision", json!("Allowed")),
        ] {
            let mut forged = link.clone();
            *forged.entry.pointer_mut(path).expect("it has that") = value;
            assert_ne!(forged.computed(), Some(link.hash.clone()), "{path}");
        }
        let mut more = link.clone();
        more.entry["note"] = json!("x");
        assert_ne!(more.computed(), Some(link.hash));
    }

    #[test]
    fn what_is_told_comes_back_and_any_text_of_anybody_is_kept_in_bounds() {
        let told = serde_json::to_value(entry()).expect("json");
        assert_eq!(
            serde_json::from_value::<AuditEntry>(told).expect("an entry"),
            entry()
        );
        assert_eq!(entry().id(), "a1-7");
        let mut long = entry().statement;
        long.actor.groups = vec!["g\n".repeat(TEXT_BYTES); 3 * GROUPS];
        long.reason = "é\0".repeat(REASON_BYTES);
        let bounded = long.bounded();
        assert_eq!(bounded.actor.groups.len(), GROUPS);
        for (name, text, bytes) in bounded.texts() {
            assert!(text.len() <= bytes, "{name}");
            assert!(!text.chars().any(char::is_control), "{name}");
        }
    }

    #[test]
    fn decisions_are_written_as_they_are_chosen_by() {
        for decision in [AuditDecision::Held, AuditDecision::WouldDeny] {
            assert_eq!(
                serde_json::to_value(decision).expect("json"),
                decision.as_str()
            );
        }
    }
}
