//! How an attempt ended, whatever carried it.

use std::{collections::BTreeMap, time::Duration};

use crds::{
    execution::{Execution, MESSAGE_BYTES, State},
    mask::Unmaskable,
    v1alpha1::clip,
};
use jiff::Timestamp;

use crate::resolve::Gap;

/// Reason of a look-up that the API server did not answer; it may the next time.
pub const LOOK_UP_FAILED: &str = "LookUpFailed";
pub const FORBIDDEN: &str = "Forbidden";
/// An API server that has just started knows no roles for a moment, and forbids what it will allow.
const SETTLING: Duration = Duration::from_secs(10);

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub state: State,
    pub reason: String,
    pub message: String,
    pub exit_code: Option<i32>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub output_bytes: u64,
    pub dropped_bytes: u64,
    /// What the step hands on.
    pub outputs: BTreeMap<String, String>,
    /// The Secret that holds what nobody is to see of it.
    pub secret_uid: Option<String>,
}

impl Outcome {
    pub fn new(state: State, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            state,
            reason: reason.into(),
            message: message.into(),
            exit_code: None,
            started_at: None,
            finished_at: None,
            output_bytes: 0,
            dropped_bytes: 0,
            outputs: BTreeMap::new(),
            secret_uid: None,
        }
    }

    pub fn undeliverable(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(State::Undeliverable, reason, message)
    }

    pub fn never_started() -> Self {
        let message = "cancelled before it was started";
        Self::new(State::Cancelled, "Cancelled", message)
    }

    /// The operator that did this is gone, and nobody can say how far it got.
    pub fn cut_off() -> Self {
        Self::new(
            State::Unknown,
            "CutOff",
            "the operator ended in the middle; it may or may not have taken effect and is not repeated",
        )
    }

    /// Whether trying again may help before anything was done, once it was tried for so long.
    pub fn is_passing(&self, tried: Duration) -> bool {
        match self.reason.as_str() {
            LOOK_UP_FAILED | super::target::NOT_PINNED => true,
            FORBIDDEN => tried < SETTLING,
            _ => false,
        }
    }

    /// The same of an attempt that an earlier leader may have started: that nothing could be done now does not say that nothing was.
    pub fn of_joined(self) -> Self {
        match self.state {
            State::Undeliverable | State::DeliveryTimedOut => Self {
                state: State::Unknown,
                message: format!(
                    "it was started before and could not be found again: {}",
                    self.message
                ),
                ..self
            },
            _ => self,
        }
    }

    /// An exit code, with success for zero.
    pub fn exited(code: i32) -> Self {
        let (state, message) = if code == 0 {
            (State::Succeeded, String::new())
        } else {
            (State::Failed, format!("exit code {code}"))
        };
        let reason = if code == 0 { "" } else { "ExitCode" };
        Self {
            exit_code: Some(code),
            ..Self::new(state, reason, message)
        }
    }

    pub fn into_row(self, row: Execution, now: Timestamp) -> Execution {
        Execution {
            state: self.state,
            reason: Some(self.reason).filter(|r| !r.is_empty()),
            message: Some(clip(&self.message, MESSAGE_BYTES)).filter(|m| !m.is_empty()),
            exit_code: self.exit_code,
            started_at: self.started_at.or(row.started_at),
            finished_at: Some(self.finished_at.unwrap_or(now)),
            output_bytes: self.output_bytes,
            dropped_bytes: self.dropped_bytes,
            outputs: self.outputs,
            secret_uid: self.secret_uid,
            ..row
        }
    }
}

impl From<Gap> for Outcome {
    fn from(gap: Gap) -> Self {
        match gap {
            Gap::Refused(refusal) => Self::undeliverable(refusal.reason, refusal.message),
            Gap::Forbidden(message) => Self::undeliverable(FORBIDDEN, message),
            Gap::Unseen(..) | Gap::Failed { .. } => {
                Self::undeliverable(LOOK_UP_FAILED, crate::error::chain(&gap))
            }
        }
    }
}

impl From<Unmaskable> for Outcome {
    fn from(unmaskable: Unmaskable) -> Self {
        let reason = format!("{:?}", unmaskable.reason());
        Self::undeliverable(reason, unmaskable.to_string())
    }
}

impl From<crate::error::Error> for Outcome {
    fn from(error: crate::error::Error) -> Self {
        Self::undeliverable(error.category(), crate::error::chain(&error))
    }
}

impl From<decide::Refusal> for Outcome {
    fn from(refusal: decide::Refusal) -> Self {
        Self::undeliverable(refusal.reason, refusal.message)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FORBIDDEN, LOOK_UP_FAILED, Outcome};

    #[test]
    fn what_is_forbidden_is_asked_again_for_a_moment_only() {
        let after = |reason: &str, seconds| {
            Outcome::undeliverable(reason, "").is_passing(Duration::from_secs(seconds))
        };
        assert!(after(FORBIDDEN, 0) && !after(FORBIDDEN, 11));
        assert!(after(LOOK_UP_FAILED, 11) && !after("HostChanged", 0));
    }
}
