//! What the webhook counts about itself.

use std::time::{Duration, Instant};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use crate::review::Answered;

/// What became of a request at which door.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    door: &'static str,
    decision: &'static str,
}

#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    seconds: Histogram,
    unwritten: Counter,
}

impl Metrics {
    /// Makes them and names them to the registry.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Histogram::new([0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1.0]),
            unwritten: Counter::default(),
        };
        let webhook = registry.sub_registry_with_prefix("pilothouse_webhook");
        webhook.register(
            "requests",
            "Requests by what became of them",
            metrics.requests.clone(),
        );
        webhook.register("seconds", "Time for an answer", metrics.seconds.clone());
        webhook.register(
            "unwritten",
            "Decisions that are in no entry of the audit, because records were away for long or one user was refused too often",
            metrics.unwritten.clone(),
        );
        metrics
    }

    pub fn unwritten(&self) {
        self.unwritten.inc();
    }

    /// What warns and refuses nothing.
    pub fn warned<E>(&self, door: &'static str, answered: &Result<Answered, E>, began: Instant) {
        let decision = match answered {
            Err(_) => "Failed",
            Ok(answered) if answered.response.warnings.is_empty() => "Allowed",
            Ok(_) => "Warned",
        };
        self.answered(door, decision, began.elapsed());
    }

    pub fn answered(&self, door: &'static str, decision: &'static str, time: Duration) {
        let labels = Labels { door, decision };
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe(time.as_secs_f64());
    }
}
