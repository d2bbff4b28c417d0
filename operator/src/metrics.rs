//! Figures of the operator. Labels are kinds, outcomes and categories, never names of targets.

use std::sync::Arc;

use kube::Resource;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Turn {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Ended {
    pub via: &'static str,
    pub state: &'static str,
}

/// Everything that is counted.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    turns: Family<Turn, Counter>,
    pub executions: Family<Ended, Counter>,
    pub in_flight: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let (turns, executions, in_flight) =
            (Family::default(), Family::default(), Gauge::default());
        let mut registry = Registry::with_prefix("pilothouse_operator");
        registry.register(
            "reconcile_turns",
            "Turns of controllers by kind and outcome",
            turns.clone(),
        );
        registry.register(
            "executions_ended",
            "Executions that ended, by transport and state",
            executions.clone(),
        );
        registry.register(
            "executions_in_flight",
            "Executions being worked on",
            in_flight.clone(),
        );
        Self {
            registry: Arc::new(registry),
            turns,
            executions,
            in_flight,
        }
    }

    /// Counts a turn of a controller.
    pub fn turn<K: Resource<DynamicType = ()>>(&self, outcome: &'static str) {
        let kind = kind::<K>();
        self.turns.get_or_create(&Turn { kind, outcome }).inc();
    }

    pub fn registry(&self) -> Arc<Registry> {
        self.registry.clone()
    }
}

fn kind<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::plural(&()).as_ref() {
        "jobruns" => "JobRun",
        "runactions" => "RunAction",
        "jobs" => "Job",
        "scripts" => "Script",
        "hosts" => "Host",
        _ => "Other",
    }
}
