//! What the operator and the toolkit on a host say to each other: one JSON request line on standard input, JSON lines on standard output. Version 1.
//!
//! A request may hold secrets (`env`, `mask`), so it travels on standard input only and has no `Debug`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::key::EffectKey;

/// Version of the protocol and of the journal on disk; a toolkit refuses any other by name.
pub const VERSION: u32 = 1;

/// Where a host keeps its journal unless told otherwise.
pub const ROOT: &str = "/var/lib/pilothouse";

/// Output kept of a run by default, in bytes.
pub const KEEP_BYTES: u64 = 1 << 20;

/// Time between TERM and KILL by default, in seconds.
pub const GRACE_SECONDS: u32 = 5;

/// Largest request line a toolkit reads, in bytes.
pub const REQUEST_BYTES: usize = 4 << 20;

/// Shortest secret that can be masked in all its encodings, in bytes; a shorter one is refused, an empty one ignored.
pub const SECRET_BYTES_MIN: usize = 4;

/// Most bytes of secrets one request may ask to mask.
pub const SECRET_BYTES_TOTAL: usize = 64 << 10;

/// Variable that every process of a run carries: the digest of its key. A request can not set it.
pub const EFFECT_VARIABLE: &str = "PILOTHOUSE_EFFECT";

/// `toolkit exec`: start this effect, or attach to it where it was started before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Version of the protocol, see `VERSION`.
    pub version: u32,
    /// Identity of the effect.
    pub key: EffectKey,
    /// Epoch of the asking leader; one lower than the host has seen from the same cluster is refused.
    pub epoch: i64,
    /// What to run.
    pub program: Program,
    /// Environment on top of PATH, HOME, USER, LOGNAME, SHELL and LANG; the place for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Secrets to mask in the output, each in all its encodings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
    /// Local user to run as; the toolkit's own user when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    /// Absolute folder to run in; the user's home when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Execution timeout; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Time between TERM and KILL when it is timed out or cancelled.
    #[serde(default = "grace_seconds")]
    pub grace_seconds: u32,
    /// Most bytes of output to keep; the first half and the last half of it.
    #[serde(default = "keep_bytes")]
    pub keep_bytes: u64,
    /// Send output again from this offset on.
    #[serde(default)]
    pub resume_from: u64,
}

const fn grace_seconds() -> u32 {
    GRACE_SECONDS
}

const fn keep_bytes() -> u64 {
    KEEP_BYTES
}

/// What to run: a script by its interpreter, or a program with its arguments.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Program {
    /// A script; its text reaches the interpreter in memory and never touches the disk.
    Script {
        /// Who reads it.
        interpreter: Interpreter,
        /// Its text. Secrets belong into `env`.
        content: String,
    },
    /// A program, looked up in PATH unless absolute, and its arguments. One that holds a secret of `mask` is refused: arguments are visible to every user of the host.
    Argv(Vec<String>),
}

/// Who reads a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Interpreter {
    /// `/bin/sh`.
    Shell,
    /// `bash`.
    Bash,
    /// `python3`.
    Python,
}

/// `toolkit cancel` and `toolkit forget`: about an effect that was, or was not, started before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRequest {
    /// Version of the protocol, see `VERSION`.
    pub version: u32,
    /// Identity of the effect.
    pub key: EffectKey,
    /// Epoch of the asking leader, as in `Request`.
    pub epoch: i64,
}

/// One line of answer. `exec` sends `Started`, any number of `Output`, and `End`; or `Refused` alone. `cancel` sends `End` or `Refused`; `forget` sends `Forgotten` or `Refused`.
/// Lines that just stop mean that the connection broke: ask again with the same key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    Started(Started),
    Output(Output),
    End(End),
    Refused(Refused),
    Forgotten(Forgotten),
}

/// The effect has begun, and that is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// When, by the host's clock.
    pub at: Timestamp,
    /// True when an earlier request started it.
    pub attached: bool,
}

/// A piece of masked output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Position of the first byte in the whole masked output; a gap is output that was dropped.
    pub offset: u64,
    /// Where the bytes were written to.
    pub stream: Stream,
    /// The bytes, base64 in JSON.
    #[serde(with = "crate::bytes")]
    pub data: Vec<u8>,
}

/// Where a program wrote its output to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The effect is over, and that is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// How it ended.
    pub reason: EndReason,
    /// Exit code, where the program ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Number of the signal that ended it, else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// A sentence for people where the reason alone does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it began; absent when it was cancelled before it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was over, or found to be.
    pub finished_at: Timestamp,
    /// Bytes of masked output, kept and dropped together.
    pub output_bytes: u64,
    /// Bytes of it that were not kept.
    pub dropped_bytes: u64,
}

/// How an effect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EndReason {
    /// By itself, with an exit code.
    Exited,
    /// By a signal that the toolkit did not send.
    Signaled,
    /// It ran longer than `timeout_seconds` and was ended.
    TimedOut,
    /// It was cancelled: ended, or kept from beginning.
    Cancelled,
    /// Its supervisor died (killed, or the host rebooted): it began, and nobody can say how far it got. It is never run again under its key.
    Lost,
    /// The host could not execute the program after all; nothing of it ran.
    SpawnFailed,
}

/// Nothing was started by this request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Which rule.
    pub reason: RefusedReason,
    /// The rule, the thing and the way out, for people; without secrets.
    pub message: String,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusedReason {
    /// The version is not one that this toolkit speaks.
    UnknownVersion,
    /// It is not a request: malformed, over a bound, a bad variable name, ...
    BadRequest,
    /// A newer leader of the same cluster has been here.
    StaleLeader,
    /// The key was cancelled before it began.
    Cancelled,
    /// The host has no such user, or the toolkit may not become it.
    UnknownUser,
    /// The host lacks the interpreter, the program or the folder to run in.
    ProgramMissing,
    /// A secret is too short to be masked in all its encodings.
    SecretTooShort,
    /// An argument holds a secret.
    SecretInArguments,
    /// The journal's folder is not safe: wrong owner, writable by others, or reached through a link.
    UnsafeRoot,
    /// The journal can not be written: disk full, read-only, quota.
    JournalWriteFailed,
    /// The journal can not be read, or holds what this toolkit never wrote.
    JournalReadFailed,
}

/// The journal of the key may be swept; its result is safe elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forgotten {
    /// False when the host knows nothing of the key (swept before, or never seen).
    pub known: bool,
}

/// `toolkit version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolkitVersion {
    /// Version of the toolkit.
    pub version: String,
    /// The version of protocol and journal that it speaks.
    pub journal: u32,
}

/// `toolkit sweep`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// Journals removed.
    pub removed: u32,
    /// Journals left.
    pub kept: u32,
}

/// `toolkit facts`: what a host is. A fact that can not be read is empty, or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// Host name.
    pub hostname: String,
    /// `ID` of os-release, such as `debian`.
    pub os: String,
    /// `VERSION_ID` of os-release, such as `13`.
    pub os_version: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Machine type as `uname -m` says it, such as `x86_64`.
    pub arch: String,
    /// Changes at every boot.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// Stays for the life of the installation.
    #[serde(rename = "machineID")]
    pub machine_id: String,
    /// Online processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Seconds since boot.
    pub uptime_seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::{End, EndReason, KEEP_BYTES, Line, Output, Request, Started, Stream};

    const KEY: &str = r#"{"attempt":1,"cluster":"c","plan":"p","run":"r","step":"s","target":"t"}"#;

    #[test]
    fn a_request_has_defaults() {
        let json = format!(
            r#"{{"version":1,"key":{KEY},"epoch":3,"program":{{"script":{{"interpreter":"Bash","content":"true"}}}}}}"#
        );
        let request: Request = serde_json::from_str(&json).expect("request");
        assert_eq!(
            (
                request.keep_bytes,
                request.grace_seconds,
                request.resume_from
            ),
            (KEEP_BYTES, 5, 0)
        );
        let json = format!(
            r#"{{"version":1,"key":{KEY},"epoch":3,"program":{{"argv":["true"]}},"typo":1}}"#
        );
        assert!(
            serde_json::from_str::<Request>(&json).is_err(),
            "an unknown field is refused"
        );
    }

    #[test]
    fn lines_look_as_documented() {
        let at = "2026-01-02T03:04:05Z".parse().expect("time");
        let started = Line::Started(Started {
            at,
            attached: false,
        });
        assert_eq!(
            serde_json::to_string(&started).expect("json"),
            r#"{"started":{"at":"2026-01-02T03:04:05Z","attached":false}}"#
        );
        let output = Line::Output(Output {
            offset: 3,
            stream: Stream::Stderr,
            data: b"hi\n".to_vec(),
        });
        assert_eq!(
            serde_json::to_string(&output).expect("json"),
            r#"{"output":{"offset":3,"stream":"stderr","data":"aGkK"}}"#
        );
        let end = End {
            reason: EndReason::Exited,
            exit_code: Some(0),
            signal: None,
            message: String::new(),
            started_at: Some(at),
            finished_at: at,
            output_bytes: 3,
            dropped_bytes: 0,
        };
        let json = r#"{"end":{"reason":"Exited","exitCode":0,"startedAt":"2026-01-02T03:04:05Z","finishedAt":"2026-01-02T03:04:05Z","outputBytes":3,"droppedBytes":0}}"#;
        assert_eq!(serde_json::to_string(&Line::End(end)).expect("json"), json);
    }
}
