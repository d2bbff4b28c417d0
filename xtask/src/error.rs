//! What can go wrong, one variant a kind of step; each says where to look.

use std::{io, path::PathBuf};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("step '{step}' failed; the logs of all steps are in {}", logs.display())]
    Step {
        step: String,
        logs: PathBuf,
        #[source]
        cause: Box<Error>,
    },
    #[error("{first}; and not only that")]
    Both {
        first: Box<Error>,
        #[source]
        other: Box<Error>,
    },
    #[error("cannot start `{line}`")]
    Start {
        line: String,
        #[source]
        source: io::Error,
    },
    #[error("`{line}` ended with {status}; the end of {}:\n{tail}", log.display())]
    Ended {
        line: String,
        status: String,
        log: PathBuf,
        tail: String,
    },
    #[error("`{line}` ended with {status}")]
    Failed { line: String, status: String },
    #[error("cannot {deed} {}", path.display())]
    File {
        deed: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("waited {seconds} s in vain for {what}")]
    Waited { what: String, seconds: u64 },
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("what {what} says is not the JSON expected")]
    Json {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{0}")]
    Refused(String),
}

/// Says which file an I/O error is about.
pub trait About<T> {
    fn about(self, deed: &'static str, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T> About<T> for io::Result<T> {
    fn about(self, deed: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|source| Error::File {
            deed,
            path: path.into(),
            source,
        })
    }
}
