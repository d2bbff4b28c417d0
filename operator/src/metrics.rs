//! Figures of the operator. Labels are kinds, outcomes and categories, never names of targets.

use std::sync::Arc;

use decide::command::Finding;
use kube::Resource;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
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

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RunEnded {
    pub outcome: &'static str,
}

/// What a CommandPolicy said of a command of a run that began.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CommandFound {
    /// What its rule asks for, and what was done in the mode of the policy.
    action: String,
    effect: String,
}

impl CommandFound {
    pub fn of(finding: &Finding) -> Self {
        Self {
            action: format!("{:?}", finding.action),
            effect: format!("{:?}", finding.effect),
        }
    }
}

/// Everything that is counted.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    turns: Family<Turn, Counter>,
    pub executions: Family<Ended, Counter>,
    pub in_flight: Gauge,
    /// What a namespace may have in hand.
    pub may_hold: Gauge,
    pub runs: Family<RunEnded, Counter>,
    pub commands: Family<CommandFound, Counter>,
    /// From the time of a firing until its run is there, in seconds.
    pub lateness: Histogram,
}

impl Metrics {
    pub fn new() -> Self {
        let (turns, executions, in_flight) =
            (Family::default(), Family::default(), Gauge::default());
        let (runs, commands, may_hold) = (Family::default(), Family::default(), Gauge::default());
        let lateness = Histogram::new(exponential_buckets(0.001, 2.0, 18));
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
        registry.register(
            "namespace_in_flight_limit",
            "Executions that one namespace may have in hand now; fewer while the processors do not keep up",
            may_hold.clone(),
        );
        registry.register("runs_ended", "Runs that ended, by outcome", runs.clone());
        registry.register(
            "commands_found",
            "Commands of runs that began of which a CommandPolicy spoke, by the action of its rule and what was done",
            commands.clone(),
        );
        registry.register(
            "firing_lateness_seconds",
            "Time from a firing of a ScheduledTask until its run is there",
            lateness.clone(),
        );
        Self {
            registry: Arc::new(registry),
            turns,
            executions,
            in_flight,
            may_hold,
            runs,
            commands,
            lateness,
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
        "scheduledtasks" => "ScheduledTask",
        "parameters" => "Parameter",
        "changecalendars" => "ChangeCalendar",
        "changetickets" => "ChangeTicket",
        "changeactions" => "ChangeAction",
        "changesolutions" => "ChangeSolution",
        "breakglasses" => "BreakGlass",
        "approvals" => "Approval",
        "commandpolicies" => "CommandPolicy",
        "protectionpolicies" => "ProtectionPolicy",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use crds::v1alpha1::Host;
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn the_dashboard_shows_what_is_counted() {
        let metrics = Metrics::new();
        metrics.turn::<Host>("Done");
        let (via, state, outcome) = ("Journal", "Succeeded", "Complete");
        metrics
            .executions
            .get_or_create(&Ended { via, state })
            .inc();
        metrics.runs.get_or_create(&RunEnded { outcome }).inc();
        let mut told = String::new();
        encode(&mut told, &metrics.registry).expect("text");
        let dashboard = include_str!("../../charts/pilothouse/files/grafana/pilothouse.json");
        let shown: Vec<_> = dashboard
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("pilothouse_operator_"))
            .collect();
        assert!(shown.len() > 4, "{shown:?}");
        for name in shown {
            assert!(
                told.contains(&format!("\n{name}")),
                "{name} is not among {told}"
            );
        }
    }
}
