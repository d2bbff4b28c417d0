//! How work in a pod ended, in the words of the records.

use std::borrow::Cow;

use crds::execution::{MESSAGE_BYTES, State};
use jiff::Timestamp;

use super::{Recorder, Volume};

/// The end of a command or a step pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended; never `Started` and never `Skipped`.
    pub state: State,
    /// Category, CamelCase: one of `reason`, or the cluster's own word (`ImagePullBackOff`, `Evicted`, ...).
    pub reason: Cow<'static, str>,
    /// A sentence for people, at most `MESSAGE_BYTES`; masked by whoever did the work.
    pub message: String,
    /// Exit code, where the program ended by itself.
    pub exit_code: Option<i32>,
    /// When it began; absent when it did not.
    pub started_at: Option<Timestamp>,
    /// When it was over, or given up.
    pub finished_at: Timestamp,
    /// How much it wrote.
    pub volume: Volume,
}

/// The categories that this room chooses itself.
pub mod reason {
    /// It ended by itself; `exit_code` tells how.
    pub const EXITED: &str = "Exited";
    /// A signal ended it.
    pub const SIGNALED: &str = "Signaled";
    /// It used more memory than its limit.
    pub const OUT_OF_MEMORY: &str = "OOMKilled";
    /// It ran longer than its execution timeout.
    pub const TIMED_OUT: &str = "TimedOut";
    /// Someone asked for its end.
    pub const CANCELLED: &str = "Cancelled";
    /// The container has no such program.
    pub const COMMAND_NOT_FOUND: &str = "CommandNotFound";
    /// The container's runtime could not start the program.
    pub const START_FAILED: &str = "StartFailed";
    /// The pod has no container of that name.
    pub const CONTAINER_UNKNOWN: &str = "ContainerUnknown";
    /// The container does not run, and will not.
    pub const CONTAINER_NOT_RUNNING: &str = "ContainerNotRunning";
    /// The pod is gone.
    pub const POD_GONE: &str = "PodGone";
    /// Another pod has the name now.
    pub const POD_REPLACED: &str = "PodReplaced";
    /// Someone deleted the pod.
    pub const POD_DELETED: &str = "PodDeleted";
    /// The account lacks a right.
    pub const FORBIDDEN: &str = "Forbidden";
    /// The API server refused the request otherwise.
    pub const REFUSED: &str = "Refused";
    /// The cluster's API did not answer.
    pub const API_UNREACHABLE: &str = "APIUnreachable";
    /// It was asked for, and no answer says whether it began.
    pub const UPGRADE_UNANSWERED: &str = "UpgradeUnanswered";
    /// The stream broke before the end was seen.
    pub const STREAM_CUT: &str = "StreamCut";
    /// The node says nothing any more.
    pub const NODE_SILENT: &str = "NodeSilent";
    /// The container vanished without an exit code.
    pub const CONTAINER_LOST: &str = "ContainerLost";
}

impl Outcome {
    pub(super) fn new(
        state: State,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            state,
            reason: reason.into(),
            message: shortened(message.into()),
            exit_code: None,
            started_at: None,
            finished_at: Timestamp::now(),
            volume: Volume::default(),
        }
    }

    /// The program ended by itself with this code.
    pub(super) fn exited(code: i32) -> Self {
        let (state, message) = match code {
            0 => (State::Succeeded, String::new()),
            code => (State::Failed, format!("exit code {code}")),
        };
        Self {
            exit_code: Some(code),
            ..Self::new(state, reason::EXITED, message)
        }
    }

    /// Completes it with what was written, and hides in its message what the output hides.
    pub(super) async fn with(mut self, recorder: Recorder) -> Self {
        self.message = shortened(recorder.masked(&self.message));
        self.volume = recorder.finish().await;
        self
    }

    pub(super) fn with_note(mut self, note: &str) -> Self {
        let between = if self.message.is_empty() { "" } else { "; " };
        self.message = shortened(format!("{}{between}{note}", self.message));
        self
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES - "…".len()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{MESSAGE_BYTES, Outcome, State, reason};

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let outcome = Outcome::new(State::Failed, reason::REFUSED, "ä".repeat(MESSAGE_BYTES));
        assert!(outcome.message.len() <= MESSAGE_BYTES && outcome.message.ends_with("ä…"));
    }

    #[test]
    fn only_code_0_is_success() {
        assert_eq!(Outcome::exited(0).state, State::Succeeded);
        let failed = Outcome::exited(3);
        assert_eq!((failed.state, failed.exit_code), (State::Failed, Some(3)));
        assert_eq!(
            failed.with_note("and more").message,
            "exit code 3; and more"
        );
    }
}
