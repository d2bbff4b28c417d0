//! What the API can refuse or leave unanswered around a step pod: one variant a step. Nothing here says that work ended; asking again is always safe.

use super::reason;

/// A step with a step pod that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the pod {name} can not be created: {}", said(source))]
    Create { name: String, source: kube::Error },
    #[error("the pod {name} can not be read: {}", said(source))]
    Read { name: String, source: kube::Error },
    #[error("the pod {name} can not be watched: {}", said(source))]
    Watch { name: String, source: kube::Error },
    #[error("the pod {name} can not be deleted: {}", said(source))]
    Delete { name: String, source: kube::Error },
    #[error("the finalizer of the pod {name} can not be removed: {}", said(source))]
    Release { name: String, source: kube::Error },
    #[error("the pod {name} vanished while it was looked at; ask again")]
    Vanished { name: String },
    #[error("the name {name} is taken by a pod of {holder}; delete that pod")]
    NameTaken { name: String, holder: String },
}

impl Error {
    /// Category of the error, spelled as in Events and conditions.
    pub fn reason(&self) -> &'static str {
        match self.source_error() {
            Some(source) => category(source),
            None if matches!(self, Self::NameTaken { .. }) => "NameTaken",
            None => reason::POD_GONE,
        }
    }

    /// Whether the same call may succeed later with nothing changed in its arguments.
    pub fn is_passing(&self) -> bool {
        self.source_error().map_or(matches!(self, Self::Vanished { .. }), is_passing)
    }

    fn source_error(&self) -> Option<&kube::Error> {
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

/// Category of what the API answered, or did not.
pub(super) fn category(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => match status.code {
            401 | 403 if is_quota(&status.message) => "QuotaExceeded",
            401 | 403 => reason::FORBIDDEN,
            404 => reason::POD_GONE,
            400 | 422 => "Invalid",
            429 | 502..=504 => reason::API_UNREACHABLE,
            _ => reason::REFUSED,
        },
        _ => reason::API_UNREACHABLE,
    }
}

fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            matches!(status.code, 409 | 429 | 500..) || is_quota(&status.message)
        }
        _ => true,
    }
}

fn is_quota(message: &str) -> bool {
    message.contains("exceeded quota")
}

/// What the API answered, without the shape of the answer.
pub(super) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::Error;
    use kube::core::Status;

    fn refused(code: u16, message: &str) -> Error {
        let source = kube::Error::Api(Status::failure(message, "").with_code(code).boxed());
        Error::Create { name: "p".into(), source }
    }

    #[test]
    fn an_error_names_its_category_and_whether_waiting_helps() {
        for (code, message, reason, passing) in [
            (403, "pods is forbidden", "Forbidden", false),
            (403, "exceeded quota: q", "QuotaExceeded", true),
            (404, "namespaces \"n\" not found", "PodGone", false),
            (422, "spec.image: required", "Invalid", false),
            (429, "slow down", "APIUnreachable", true),
            (500, "no", "Refused", true),
            (503, "later", "APIUnreachable", true),
        ] {
            let error = refused(code, message);
            assert_eq!((error.reason(), error.is_passing()), (reason, passing), "{code}");
        }
        let taken = Error::NameTaken { name: "p".into(), holder: "x".into() };
        assert_eq!((taken.reason(), taken.is_passing()), ("NameTaken", false));
    }

    #[test]
    fn its_text_says_what_the_api_said() {
        assert_eq!(refused(403, "no right").to_string(), "the pod p can not be created: no right");
    }
}
