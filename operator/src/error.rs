//! What can go wrong in a turn, one variant a step. The variant's name is the category of events and metrics.

use std::sync::Arc;

use kube::runtime::controller::Action;
pub use serving::telemetry::chain;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot reach the cluster")]
    Connect(#[source] Box<kube::Error>),
    #[error("cannot read the toolkit {path}")]
    Toolkit {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot listen on {addr}")]
    Listen {
        addr: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot tell traces")]
    Traces(#[source] reqwest::Error),
    #[error("cannot read {what}")]
    Observe {
        what: String,
        #[source]
        source: Arc<kube::Error>,
    },
    #[error(
        "nothing is known yet of objects of the kind {what}; the operator has to be able to list and watch them"
    )]
    Unheard { what: String },
    #[error(
        "the webhook has published no certificate yet, in ConfigMap {config_map}; see kubectl get pods -l app.kubernetes.io/component=webhook"
    )]
    NoWebhook { config_map: &'static str },
    #[error("cannot write {what}")]
    Act {
        what: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("cannot write the status")]
    Report(#[source] Box<kube::Error>),
    #[error("the stored object is not readable: {0}")]
    Invalid(String),
    #[error(
        "the frozen plan {name} is not the one whose hash stands in status; cancel the run and create it anew"
    )]
    PlanChanged { name: String },
    #[error(
        "the name {name} is taken by a JobRun that does not come from this object; delete that run"
    )]
    NameTaken { name: String },
    #[error("cannot read the run's records")]
    Records(#[source] Box<records::client::Error>),
    #[error("cannot let go of the run's pods")]
    LetGo(#[source] Box<reach::pod::Error>),
    #[error("the lease was lost")]
    LeaseLost,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Name of the variant, as events and metrics use it.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Connect(_) => "Connect",
            Self::Toolkit { .. } => "Toolkit",
            Self::Listen { .. } => "Listen",
            Self::Traces(_) => "Traces",
            Self::Observe { .. } => "Observe",
            Self::Unheard { .. } => "Unheard",
            Self::NoWebhook { .. } => "NoWebhook",
            Self::Act { .. } => "Act",
            Self::Report(_) => "Report",
            Self::Invalid(_) => "Invalid",
            Self::PlanChanged { .. } => "PlanChanged",
            Self::NameTaken { .. } => "NameTaken",
            Self::Records(_) => "Records",
            Self::LetGo(_) => "LetGo",
            Self::LeaseLost => "LeaseLost",
        }
    }

    /// Whether the API server, asked once more, may answer: it was overloaded, starting, or not there.
    pub fn is_passing(&self) -> bool {
        let Self::Observe { source, .. } = self else {
            return false;
        };
        match &**source {
            kube::Error::Api(status) => status.code == 429 || status.code >= 500,
            kube::Error::Service(_) | kube::Error::HyperError(_) => true,
            _ => false,
        }
    }

    /// A write met a newer version of its object: look again, at once and without noise.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Report(source) | Self::Act { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 409))
    }
}

/// What reading failed at.
pub fn observing(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Observe {
        what: what.into(),
        source: Arc::new(source),
    }
}

/// What writing failed at.
pub fn acting(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Act {
        what: what.into(),
        source: Box::new(source),
    }
}

/// How soon a failed turn is tried again, by how often it failed in a row.
pub fn retry(error: &Error, failures: u32) -> Action {
    if error.is_conflict() {
        return Action::requeue(std::time::Duration::from_millis(50));
    }
    let wait = std::time::Duration::from_millis(500).saturating_mul(1 << failures.min(8));
    Action::requeue(wait.min(std::time::Duration::from_mins(1)))
}
