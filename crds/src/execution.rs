//! What `records` remembers of one effect, and the batches in which the operator hands it over. Plain data; rules about which row wins live in `records`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{archive::Archived, audit::AuditEntry, key::EffectKey};

/// Version of the rows below, carried in each of them.
pub const VERSION: u32 = 1;

/// Longest `Execution::message`, in bytes; the writer shortens, the reader refuses.
pub const MESSAGE_BYTES: usize = 1024;

/// One attempt of one step on one target: a row of `executions`, identified by `key.digest()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// Version of this row, see `VERSION`.
    pub version: u32,
    /// Identity of the effect.
    pub key: EffectKey,
    /// Namespace of the run.
    pub namespace: String,
    /// UID of that namespace, so that rows of a namespace of the same name created later stay apart.
    #[serde(rename = "namespaceUID")]
    pub namespace_uid: String,
    /// Name of the JobRun.
    pub run: String,
    /// Name of the Job; absent for an ad-hoc run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Name of the step.
    pub step: String,
    /// What kind of thing the step touched.
    pub target_kind: TargetKind,
    /// Name of the target; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Attempt, from 1.
    pub attempt: i32,
    /// How far it got.
    pub state: State,
    /// CamelCase reason of the state; absent while there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence for people, at most `MESSAGE_BYTES`, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Exit code, where the program ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When the effect began, by the target's clock where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Bytes of output, kept and dropped together.
    #[serde(default)]
    pub output_bytes: u64,
    /// Bytes of output that were not kept.
    #[serde(default)]
    pub dropped_bytes: u64,
    /// Outputs that the step declares and the target gave.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// UID of the Secret that holds those that are sensitive. Whoever is handed them takes no other of its name.
    #[serde(default, rename = "secretUID", skip_serializing_if = "Option::is_none")]
    pub secret_uid: Option<String>,
    /// By which way the effect was done, which says what its result promises.
    pub via: Via,
}

impl Execution {
    /// `<run>.<step>.<target>.<attempt>`, without the target where there is none: the row's name in the aggregated API.
    pub fn name(&self) -> String {
        let Self {
            run,
            step,
            target,
            attempt,
            ..
        } = self;
        if target.is_empty() {
            format!("{run}.{step}.{attempt}")
        } else {
            format!("{run}.{step}.{target}.{attempt}")
        }
    }
}

/// What kind of thing a step touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TargetKind {
    Host,
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    Node,
    None,
}

/// How far an execution got. Everything but `Started` is terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// It may have begun; nothing is known of its end.
    Started,
    /// It ended by itself with exit code 0.
    Succeeded,
    /// It ended otherwise, or was refused on the target.
    Failed,
    /// It ran longer than its execution timeout and was ended.
    TimedOut,
    /// It could not be delivered within the delivery timeout; nothing ran.
    DeliveryTimedOut,
    /// It can not be delivered (bad host key, rejected credential, ...); nothing ran.
    Undeliverable,
    /// It was cancelled, before or while it ran.
    Cancelled,
    /// It began and nobody can say how it ended; it is never repeated by itself.
    Unknown,
    /// It was left out by decision of the run.
    Skipped,
}

impl State {
    /// Whether the state is final.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Started)
    }

    /// The name as it stands in JSON, columns and selectors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::TimedOut => "TimedOut",
            Self::DeliveryTimedOut => "DeliveryTimedOut",
            Self::Undeliverable => "Undeliverable",
            Self::Cancelled => "Cancelled",
            Self::Unknown => "Unknown",
            Self::Skipped => "Skipped",
        }
    }
}

/// By which way an effect was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Via {
    /// Through the host's run journal: exactly once, attachable.
    Journal,
    /// Through a plain SSH command: at most once, a cut-off is Unknown.
    Plain,
    /// Through pod exec: at most once, a cut-off is Unknown.
    Exec,
    /// As a pod of its own with a deterministic name: exactly once.
    Pod,
    /// As requests to the Kubernetes API that can be made again without doing more: effectively once.
    Api,
    /// As something that has no effect, such as a Get or a wait: as often as it takes.
    Probe,
    /// As an HTTP request that may have an effect: at most once, a cut-off is Unknown.
    Http,
}

impl Via {
    /// The name as it stands in JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "Journal",
            Self::Plain => "Plain",
            Self::Exec => "Exec",
            Self::Pod => "Pod",
            Self::Api => "Api",
            Self::Probe => "Probe",
            Self::Http => "Http",
        }
    }

    /// Whether starting the same key again joins what runs, instead of running it twice.
    pub const fn attaches(self) -> bool {
        matches!(self, Self::Journal | Self::Pod | Self::Api | Self::Probe)
    }
}

/// A piece of an execution's masked output, identified by key and offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogChunk {
    /// Whose output.
    pub key: EffectKey,
    /// Position of the first byte in the whole output; a gap between chunks is output that was dropped.
    pub offset: u64,
    /// The bytes, base64 in JSON.
    #[serde(with = "crate::bytes")]
    pub data: Vec<u8>,
}

/// What the operator posts at once; the acknowledgement `{"acknowledged": id}` covers all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    /// Chosen by the sender and echoed by the acknowledgement.
    pub id: String,
    /// New states of executions.
    #[serde(default)]
    pub rows: Vec<Execution>,
    /// New pieces of output.
    #[serde(default)]
    pub logs: Vec<LogChunk>,
    /// Objects that have finished. An older server, which does not know them, has no path for a batch of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archived: Vec<Archived>,
    /// Decisions, in the order of their numbers. They have a path of their own too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audit: Vec<AuditEntry>,
}

/// Answer to a stored batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// `Batch::id` of what is on disk now.
    pub acknowledged: String,
}

/// Answer to the question which rows of a run are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRows {
    /// The latest state of each key of the run.
    pub rows: Vec<Execution>,
}

#[cfg(test)]
mod tests {
    use super::{LogChunk, State};
    use crate::key::EffectKey;

    #[test]
    fn a_state_is_named_in_json_as_in_columns() {
        let all = [
            State::Started,
            State::Succeeded,
            State::Failed,
            State::TimedOut,
            State::DeliveryTimedOut,
            State::Undeliverable,
            State::Cancelled,
            State::Unknown,
            State::Skipped,
        ];
        for state in all {
            assert_eq!(
                serde_json::to_string(&state).expect("json"),
                format!("\"{}\"", state.as_str())
            );
            assert_eq!(state.is_terminal(), state != State::Started);
        }
    }

    #[test]
    fn a_chunk_carries_any_bytes() {
        let key = EffectKey {
            attempt: 1,
            cluster: "c".into(),
            plan: "p".into(),
            run: "r".into(),
            step: "s".into(),
            target: String::new(),
        };
        let chunk = LogChunk {
            key,
            offset: 7,
            data: vec![0, 255, 10],
        };
        let json = serde_json::to_string(&chunk).expect("json");
        assert!(json.ends_with(r#""offset":7,"data":"AP8K"}"#), "{json}");
        assert_eq!(
            serde_json::from_str::<LogChunk>(&json).expect("chunk"),
            chunk
        );
    }
}
