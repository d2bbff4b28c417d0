//! What can go wrong, and what the caller can do about it.

use std::{error::Error as _, fmt::Write as _};

use decide::Refusal;
use kube::config::KubeconfigError;

/// Exit code of a command that could not be carried out.
pub const NOT_DONE: u8 = 4;
/// Exit code of what was refused before anything was done.
pub const REFUSED: u8 = 3;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the kubeconfig")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    #[error("cannot set up a connection to the cluster")]
    Client(#[source] Box<kube::Error>),
    #[error("cannot start")]
    Runtime(#[source] std::io::Error),
    #[error("cannot {doing}")]
    Api {
        doing: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("cannot watch {what}")]
    Watch {
        what: String,
        #[source]
        source: Box<kube::runtime::watcher::Error>,
    },
    #[error("there is no {kind} {name} in namespace {namespace}")]
    NotFound {
        kind: &'static str,
        name: String,
        namespace: String,
    },
    #[error(
        "there is no object {0:?}; write KIND/NAME as in deployment/web, or deployments.apps/web, and give the namespace with -n"
    )]
    NoObject(String),
    #[error("JobRun {0} was deleted")]
    Deleted(String),
    #[error("there are both a Job and a JobRun named {0}; write job/{0} or run/{0}")]
    Ambiguous(String),
    #[error("JobRun {run} has ended ({summary}); it can no longer be {acted}")]
    Ended {
        run: String,
        summary: String,
        acted: &'static str,
    },
    #[error(
        "these runs have not ended in time: {runs}; look at them with explain, wait longer (--timeout), or leave them as they are (--force)"
    )]
    StillGoing { runs: String },
    #[error("{0} pods of the operator have not ended in time")]
    OperatorStays(usize),
    #[error("cannot read {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{kind} {name} has nothing yet that could be decided on: the operator has not looked at what it says now; try again in a moment, or ask doctor"
    )]
    NoDigest { kind: &'static str, name: String },
    #[error("--step is a step of a run; write run/NAME")]
    StepOfNoRun,
    #[error(
        "ChangeTicket {part} is a region of ChangeTicket {whole}, and nobody decides on it alone; type\n  {line}"
    )]
    PartOfTicket {
        part: String,
        whole: String,
        line: String,
    },
    #[error("JobRun {run} waits at steps that are decided on by their names; type{steps}")]
    StepsWait { run: String, steps: String },
    #[error(
        "step {step} of JobRun {run} does not wait for an approval now; those that do:{}",
        if steps.is_empty() { " none" } else { steps.as_str() }
    )]
    StepWaitsNot {
        run: String,
        step: String,
        steps: String,
    },
    #[error("JobRun {run} has no plan: {why}")]
    NotPlanned { run: String, why: String },
    #[error(
        "the plan of JobRun {0} is not the one whose hash stands in its status; somebody changed it, and the operator will not go on with it"
    )]
    PlanChanged(String),
    #[error(
        "what the cluster answered about {what} is not understood; the plugin and the installation may be of different versions"
    )]
    Answer {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "{0:?} is no time; write 2026-12-24T18:00 or 2026-12-24, in the zone of the calendar, or 2026-12-24T10:00:00Z"
    )]
    NotATime(String),
    #[error("{path} holds no checkpoints as kubectl get auditcheckpoints -o json prints them")]
    NoCheckpoints {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot write the result as YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
    #[error("cannot write the result as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the output of {name} broke off")]
    Cut {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write the output")]
    Output(#[source] std::io::Error),
    #[error("refused, {0}")]
    Refused(Refusal),
    #[error("refused, {reason}: {message}")]
    NotTaken { reason: String, message: String },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a request failed at.
pub fn doing(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Api {
        doing: what.into(),
        source: Box::new(source),
    }
}

impl Error {
    pub fn kubeconfig(source: KubeconfigError) -> Self {
        Self::Kubeconfig(Box::new(source))
    }

    /// What the shell is told.
    pub fn code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::NotTaken { .. } => REFUSED,
            // Schema and policies refuse with these two.
            Self::Api { doing, .. }
                if doing.starts_with("create ") && matches!(self.status(), Some(403 | 422)) =>
            {
                REFUSED
            }
            _ => NOT_DONE,
        }
    }

    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// The caller may not do what was asked of the API server.
    pub fn is_forbidden(&self) -> bool {
        self.status() == Some(403)
    }

    fn status(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => status(source),
            _ => None,
        }
    }

    /// What to do next, where the message does not say it already.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Kubeconfig(_) => {
                Some("set KUBECONFIG, or give --kubeconfig FILE or --context NAME")
            }
            Self::NotFound { .. } => Some("correct the name, or give the namespace with -n"),
            Self::Api { doing, .. } => match self.status()? {
                401 => {
                    Some("the cluster does not know you; renew the credentials of your kubeconfig")
                }
                403 if !doing.starts_with("create ") => Some(
                    "`kubectl pilothouse doctor` shows which rights you hold, and what grants them",
                ),
                404 => Some("is Pilothouse installed? `kubectl pilothouse doctor` says"),
                503 => {
                    Some("records do not answer; `kubectl pilothouse doctor` names what is missing")
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// The HTTP status that the API server answered with.
pub fn status(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The whole error for people: what, why, and what to do.
pub fn report(error: &Error) -> String {
    let mut out = format!("error: {error}");
    let mut next = error.source();
    while let Some(cause) = next {
        next = cause.source();
        // A boxed source is an error of its own, the box.
        let boxed = cause
            .downcast_ref::<Box<kube::Error>>()
            .map(|boxed| &**boxed);
        if let Some(kube::Error::Api(status)) = cause.downcast_ref().or(boxed) {
            let _ = write!(out, "\n  {}", status.message);
            break;
        }
        // Some libraries repeat their cause in their own words.
        let text = cause.to_string();
        if next.is_none_or(|deeper| !text.contains(&deeper.to_string())) {
            let _ = write!(out, "\n  {text}");
        }
    }
    if let Some(hint) = error.hint() {
        let _ = write!(out, "\n  {hint}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, doing_: &str) -> Error {
        let status = kube::core::Status {
            code,
            message: "no, because".into(),
            ..kube::core::Status::default()
        };
        doing(doing_)(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_is_refused_is_told_apart_from_what_could_not_be_done() {
        assert_eq!(refused(403, "create the JobRun").code(), REFUSED);
        assert_eq!(refused(422, "create the JobRun").code(), REFUSED);
        assert_eq!(refused(403, "read JobRun a").code(), NOT_DONE);
        assert_eq!(
            Error::Refused(Refusal::new("MissingParameter", "x")).code(),
            REFUSED
        );
    }

    #[test]
    fn a_report_says_what_and_why_and_what_to_do() {
        let text = report(&refused(403, "read JobRun a"));
        assert_eq!(
            text.lines().collect::<Vec<_>>()[..2],
            ["error: cannot read JobRun a", "  no, because"]
        );
        assert!(text.contains("doctor"), "{text}");
    }
}
