//! Health and metrics on a plain listener: `/healthz` says that the process runs, `/readyz` names the gates that are still closed, `/metrics` is
//! OpenMetrics text.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What has to be so before traffic may come.
#[derive(Clone, Debug, Default)]
pub struct Health {
    gates: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

/// One condition of readiness, closed at first.
#[derive(Clone, Debug)]
pub struct Gate {
    name: &'static str,
    health: Health,
}

impl Health {
    /// A gate that keeps the process from being ready until it is opened.
    pub fn gate(&self, name: &'static str) -> Gate {
        let gate = Gate {
            name,
            health: self.clone(),
        };
        gate.set(false);
        gate
    }

    /// Names of the gates that are closed.
    pub fn closed(&self) -> Vec<&'static str> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates
            .iter()
            .filter(|(_, open)| !**open)
            .map(|(name, _)| *name)
            .collect()
    }
}

impl Gate {
    pub fn set(&self, open: bool) {
        let mut gates = self
            .health
            .gates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        gates.insert(self.name, open);
    }
}

/// Serves until the token is cancelled.
pub async fn serve_health(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Registry>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, router(health, metrics))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

fn router(health: Health, metrics: Arc<Registry>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(exposition).with_state(metrics))
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    let closed = health.closed();
    if closed.is_empty() {
        (StatusCode::OK, "ok".into())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for {}", closed.join(", ")),
        )
    }
}

async fn exposition(State(metrics): State<Arc<Registry>>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &metrics) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::Health;

    #[test]
    fn readiness_names_what_it_waits_for() {
        let health = Health::default();
        let (a, b) = (health.gate("a"), health.gate("b"));
        assert_eq!(health.closed(), ["a", "b"]);
        a.set(true);
        assert_eq!(health.closed(), ["b"]);
        b.set(true);
        assert!(health.closed().is_empty());
        a.set(false);
        assert_eq!(health.closed(), ["a"]);
    }
}
