//! Why nothing was started: one variant a step, and the reason that each is refused with.

use std::io;

use crds::journal::{Refused, RefusedReason};
use nix::errno::Errno;

/// A step that failed before anything ran.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("can not read the request")]
    ReadRequest(#[source] io::Error),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    UnknownVersion(String),
    #[error(
        "this leader has epoch {asked}, but epoch {seen} of the same cluster has been here; ask as the present leader"
    )]
    StaleLeader { asked: i64, seen: i64 },
    #[error("the key was cancelled before it began; start a new attempt")]
    Cancelled,
    #[error("{0}")]
    UnknownUser(String),
    #[error("{0}")]
    ProgramMissing(String),
    #[error("{0}")]
    SecretTooShort(String),
    #[error(
        "argument {0} holds a secret, and arguments are visible to every user of the host; hand it over in the environment"
    )]
    SecretInArguments(usize),
    #[error("the journal's folder is not safe: {0}")]
    UnsafeRoot(String),
    #[error("the journal can not be written ({what})")]
    Write { what: &'static str, source: Errno },
    #[error("the journal can not be read ({what})")]
    Read { what: &'static str, source: Errno },
    #[error("the journal of this key is damaged: {0}")]
    Damaged(&'static str),
    #[error("nobody listens any more")]
    Tell(#[source] io::Error),
    #[error("can not follow the run any further; ask again with the same key")]
    Cut(#[source] Box<Error>),
    #[error("the supervisor refused")]
    Refused(Refused),
}

/// Names the journal step that failed.
pub trait Step<T> {
    fn writing(self, what: &'static str) -> Result<T, Error>;
    fn reading(self, what: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn writing(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|e| Error::Write {
            what,
            source: errno(&e.into()),
        })
    }

    fn reading(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|e| Error::Read {
            what,
            source: errno(&e.into()),
        })
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

impl Error {
    /// The line that tells the asker.
    pub fn refused(&self) -> Refused {
        if let Self::Refused(refused) = self {
            return refused.clone();
        }
        Refused {
            reason: self.reason(),
            message: self.story(),
        }
    }

    /// The error and its causes in one line.
    pub fn story(&self) -> String {
        let mut message = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        message
    }

    const fn reason(&self) -> RefusedReason {
        match self {
            Self::ReadRequest(_) | Self::BadRequest(_) => RefusedReason::BadRequest,
            Self::UnknownVersion(_) => RefusedReason::UnknownVersion,
            Self::StaleLeader { .. } => RefusedReason::StaleLeader,
            Self::Cancelled => RefusedReason::Cancelled,
            Self::UnknownUser(_) => RefusedReason::UnknownUser,
            Self::ProgramMissing(_) => RefusedReason::ProgramMissing,
            Self::SecretTooShort(_) => RefusedReason::SecretTooShort,
            Self::SecretInArguments(_) => RefusedReason::SecretInArguments,
            Self::UnsafeRoot(_) => RefusedReason::UnsafeRoot,
            Self::Write { .. } => RefusedReason::JournalWriteFailed,
            Self::Read { .. } | Self::Damaged(_) | Self::Tell(_) | Self::Cut(_) => {
                RefusedReason::JournalReadFailed
            }
            Self::Refused(refused) => refused.reason,
        }
    }
}
