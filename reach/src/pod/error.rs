//! What the API can refuse or leave unanswered around a step pod: one variant a step. Nothing here says that work ended; asking again is always safe.

use super::reason;

/// A step with a step pod that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the pod {name} can not be created")]
    Create { name: String, source: Refusal },
    #[error("the pod {name} can not be read")]
    Read { name: String, source: Refusal },
    #[error("the pod {name} can not be watched")]
    Watch { name: String, source: Refusal },
    #[error("the pod {name} can not be deleted")]
    Delete { name: String, source: Refusal },
    #[error("the finalizer of the pod {name} can not be removed")]
    Release { name: String, source: Refusal },
    #[error("the pod {name} vanished while it was looked at; ask again")]
    Vanished { name: String },
    #[error("the name {name} is taken by a pod of {holder}; delete that pod")]
    NameTaken { name: String, holder: String },
}

impl Error {
    /// Category of the error, spelled as in Events and conditions.
    pub fn reason(&self) -> &'static str {
        match (self, self.refusal()) {
            (_, Some(refusal)) => refusal.category(),
            (Self::NameTaken { .. }, _) => "NameTaken",
            _ => reason::POD_GONE,
        }
    }

    /// Whether the same call may succeed later with nothing changed in its arguments.
    pub fn is_passing(&self) -> bool {
        match (self, self.refusal()) {
            (_, Some(refusal)) => refusal.is_passing(),
            (vanished, _) => matches!(vanished, Self::Vanished { .. }),
        }
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Create { source, .. }
            | Self::Read { source, .. }
            | Self::Watch { source, .. }
            | Self::Delete { source, .. }
            | Self::Release { source, .. } => Some(source),
            Self::Vanished { .. } | Self::NameTaken { .. } => None,
        }
    }
}

/// A request that the API refused, or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.said())]
pub struct Refusal(pub(super) kube::Error);

impl Refusal {
    /// Category of what the API answered, or did not.
    pub(super) fn category(&self) -> &'static str {
        match &self.0 {
            kube::Error::Api(status) => match status.code {
                403 if is_quota(&status.message) => "QuotaExceeded",
                401 | 403 => reason::FORBIDDEN,
                404 => "NotFound",
                400 | 422 => "Invalid",
                429 | 502..=504 => reason::API_UNREACHABLE,
                _ => reason::REFUSED,
            },
            _ => reason::API_UNREACHABLE,
        }
    }

    fn is_passing(&self) -> bool {
        match &self.0 {
            kube::Error::Api(status) => {
                matches!(status.code, 409 | 429 | 500..) || is_quota(&status.message)
            }
            _ => true,
        }
    }

    /// The HTTP status that the API answered with.
    pub(super) fn code(&self) -> Option<u16> {
        match &self.0 {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }

    /// What the API answered, without the shape of the answer.
    pub(super) fn said(&self) -> String {
        match &self.0 {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        }
    }
}

fn is_quota(message: &str) -> bool {
    message.contains("exceeded quota")
}

#[cfg(test)]
mod tests {
    use super::{Error, Refusal};
    use kube::core::Status;

    fn refused(code: u16, message: &str) -> Error {
        let source = kube::Error::Api(Status::failure(message, "").with_code(code).boxed());
        Error::Create {
            name: "p".into(),
            source: Refusal(source),
        }
    }

    #[test]
    fn an_error_names_its_category_and_whether_waiting_helps() {
        for (code, message, reason, passing) in [
            (403, "pods is forbidden", "Forbidden", false),
            (403, "exceeded quota: q", "QuotaExceeded", true),
            (404, "namespaces \"n\" not found", "NotFound", false),
            (422, "spec.image: required", "Invalid", false),
            (429, "slow down", "APIUnreachable", true),
            (500, "no", "Refused", true),
            (503, "later", "APIUnreachable", true),
        ] {
            let error = refused(code, message);
            assert_eq!(
                (error.reason(), error.is_passing()),
                (reason, passing),
                "{code}"
            );
        }
        let taken = Error::NameTaken {
            name: "p".into(),
            holder: "x".into(),
        };
        assert_eq!((taken.reason(), taken.is_passing()), ("NameTaken", false));
    }

    #[test]
    fn its_text_says_what_the_api_said() {
        let error = refused(403, "no right");
        assert_eq!(error.to_string(), "the pod p can not be created");
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("no right"));
    }
}
