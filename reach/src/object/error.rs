//! What can stand in the way of an operation on an object.

/// An operation that was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {verb} {what}")]
    Request {
        verb: &'static str,
        what: String,
        #[source]
        source: kube::Error,
    },
    #[error("{what} is not the one that was planned with; create the run anew")]
    Changed { what: String },
    #[error("the cluster has no kind {kind} in {api_version}")]
    NoKind { api_version: String, kind: String },
    #[error("{pod} has no controller that would bring it back; delete it, or drain with force")]
    Uncontrolled { pod: String },
    #[error("{pod} keeps data in an emptyDir; drain with deleteEmptyDirData to lose it")]
    LocalData { pod: String },
    #[error("{what} has no earlier revision")]
    NoRevision { what: String },
    #[error("{what} does not come about: {message}")]
    Stuck { what: String, message: String },
}

impl Error {
    /// Category of the error, in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Request { source, .. } => match code(source) {
                Some(401 | 403) => "Forbidden",
                Some(404) => "TargetGone",
                Some(400 | 422) => "Invalid",
                Some(_) => "Refused",
                None => "ApiUnreachable",
            },
            Self::Changed { .. } => "TargetChanged",
            Self::NoKind { .. } => "NoSuchKind",
            Self::Uncontrolled { .. } => "UncontrolledPod",
            Self::LocalData { .. } => "LocalData",
            Self::NoRevision { .. } => "NoRevision",
            Self::Stuck { .. } => "Stuck",
        }
    }

    /// The error with what the API server said.
    pub fn said(&self) -> String {
        match self {
            Self::Request {
                source: kube::Error::Api(status),
                ..
            } => format!("{self}: {}", status.message),
            Self::Request { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Request { source, .. } => {
                code(source).is_none_or(|code| matches!(code, 409 | 429 | 500..))
            }
            _ => false,
        }
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
