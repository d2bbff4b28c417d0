//! What went wrong, as clients of Kubernetes expect to hear it: `metav1.Status` with a reason that programs know and a sentence for people.

use axum::{
    Json,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use serde_json::{Value, json};
use serving::{CallerError, ReviewError, telemetry::chain};

/// A refusal or failure.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    BadRequest(String),
    #[error("not authenticated")]
    Unauthorized(#[source] CallerError),
    #[error("User {found:?} may not speak to the store here, only {wanted:?}")]
    Stranger { found: String, wanted: String },
    #[error("the token of {0:?} is bound to no pod, so that nobody knows which replica tells")]
    Unbound(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{what} {name:?} not found")]
    NotFound { what: &'static str, name: String },
    #[error("only get, list and watch are served here")]
    MethodNotAllowed,
    #[error("the position is no longer kept, list again: {0}")]
    Expired(String),
    #[error("access could not be reviewed")]
    Review(#[source] ReviewError),
    #[error("{0} not available yet, try again")]
    Waiting(&'static str),
    #[error("the request took too long, try again")]
    TooSlow,
    #[error("records are not available")]
    Store(#[source] records::Error),
    #[error("records are not available: their store does not answer")]
    Away(#[source] records::client::Error),
    #[error("answer could not be written")]
    Encode(#[source] serde_json::Error),
}

/// Where a path leads nowhere.
pub async fn unknown(uri: Uri) -> Failure {
    let what = "path";
    Failure::NotFound {
        what,
        name: uri.path().to_owned(),
    }
}

/// Every other method of a path.
pub fn only<S: Clone + Send + Sync + 'static>(method: MethodRouter<S>) -> MethodRouter<S> {
    method.fallback(async || Failure::MethodNotAllowed)
}

impl Failure {
    fn code_and_reason(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::Unauthorized(CallerError::Review(_))
            | Self::Review(_)
            | Self::Waiting(_)
            | Self::Store(_)
            | Self::Away(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Self::Unauthorized(_) | Self::Stranger { .. } | Self::Unbound(_) => {
                (StatusCode::UNAUTHORIZED, "Unauthorized")
            }
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotFound { .. } => (StatusCode::NOT_FOUND, "NotFound"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::Expired(_) => (StatusCode::GONE, "Expired"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "Timeout"),
            Self::Encode(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        }
    }

    /// The `metav1.Status` of this failure.
    pub fn status(&self) -> Value {
        let (code, reason) = self.code_and_reason();
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.to_string(),
            "reason": reason,
            "code": code.as_u16(),
        })
    }
}

impl From<records::Error> for Failure {
    fn from(error: records::Error) -> Self {
        match error {
            records::Error::Expired { .. } => Self::Expired(error.to_string()),
            records::Error::Rejected(_) => Self::BadRequest(chain(&error)),
            records::Error::Unavailable { .. } => Self::Store(error),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (code, _) = self.code_and_reason();
        // Causes go to the log; callers may not be the ones to read about disks and addresses.
        if code.is_server_error() {
            tracing::warn!(error = chain(&self), "request failed");
        }
        (code, Json(self.status())).into_response()
    }
}
