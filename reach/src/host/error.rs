//! Why work on a host did not begin: one variant a step.

use crds::journal::Refused;

use crate::ssh;

/// The effect was not started by this call.
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
            Self::Refused { refused, .. } => format!("{:?}", refused.reason),
            Self::NotUnderstood { .. } => "NotUnderstood".to_owned(),
        }
    }
}
