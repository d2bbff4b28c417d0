//! What stands between the caller and work on a host: one variant a step.

use crds::journal::Refused;

use crate::ssh::{self, Target};

/// A step that did not succeed. Returned by `run`, it means that nothing was started; as the cause of an outcome it says nothing of that.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{address} was not reached")]
    Delivery {
        address: String,
        #[source]
        source: ssh::Error,
    },
    #[error("{address} does not let {user} become root without a password: {message}")]
    SudoRefused {
        address: String,
        user: String,
        message: String,
    },
    #[error(
        "cannot write {path} on {address}: {message}; free the disk, log in as root or set `escalation: Sudo`, or set `transport: Plain`"
    )]
    PathNotWritable {
        address: String,
        path: String,
        message: String,
    },
    #[error(
        "{path} on {address} is not safe to run from: {message}; it must be a folder of the user's own with mode 0700"
    )]
    PathNotSafe {
        address: String,
        path: String,
        message: String,
    },
    #[error("{address} cannot run {path}: {message}")]
    ToolkitNotRunnable {
        address: String,
        path: String,
        message: String,
    },
    #[error("the toolkit on {address} died before it answered: {message}")]
    ToolkitDied { address: String, message: String },
    #[error("{address} told no end in all the time that the work may take")]
    Overdue { address: String },
    #[error("{address} refused: {}", refused.message)]
    Refused { address: String, refused: Refused },
    #[error("{address} answered what is no answer: {message}")]
    NotUnderstood { address: String, message: String },
}

impl Error {
    /// Category of the error, spelled as in Events and conditions.
    pub fn reason(&self) -> String {
        match self {
            Self::Delivery { source, .. } => source.reason().to_owned(),
            Self::SudoRefused { .. } => "SudoRefused".to_owned(),
            Self::PathNotWritable { .. } => "PathNotWritable".to_owned(),
            Self::PathNotSafe { .. } => "PathNotSafe".to_owned(),
            Self::ToolkitNotRunnable { .. } => "ToolkitNotRunnable".to_owned(),
            Self::ToolkitDied { .. } => "ToolkitDied".to_owned(),
            Self::Overdue { .. } => "Overdue".to_owned(),
            Self::Refused { refused, .. } => format!("{:?}", refused.reason),
            Self::NotUnderstood { .. } => "NotUnderstood".to_owned(),
        }
    }

    /// Whether the same call may succeed later with nothing changed in its arguments.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Delivery { source, .. } => source.is_passing(),
            Self::ToolkitDied { .. } => true,
            _ => false,
        }
    }

    pub(super) fn delivery(target: &Target, source: ssh::Error) -> Self {
        Self::Delivery {
            address: target.endpoint(),
            source,
        }
    }

    pub(super) fn lost(target: &Target) -> Self {
        let address = target.endpoint();
        Self::delivery(target, ssh::Error::ConnectionLost { address })
    }

    pub(super) fn refused(target: &Target, refused: Refused) -> Self {
        Self::Refused {
            address: target.endpoint(),
            refused,
        }
    }

    pub(super) fn not_understood(target: &Target, message: String) -> Self {
        Self::NotUnderstood {
            address: target.endpoint(),
            message,
        }
    }
}
