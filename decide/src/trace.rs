//! A run as a trace: run, batches, targets and executions as spans. Their ids come from what they are, so that every leader tells the same ones, and a script may name
//! its own before anything was told.

use std::{collections::BTreeMap, ops::Range};

use crds::execution::{Execution, State, TargetKind};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::plan::{Plan, batches};

/// Ids of a trace and of a span.
pub type TraceId = [u8; 16];
pub type SpanId = [u8; 8];

/// Which trace a run belongs to, and under which span of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub trace: TraceId,
    /// The execution of another run that this one is.
    pub parent: Option<SpanId>,
    /// Whether the trace is told at all.
    pub sampled: bool,
}

impl Place {
    /// Of a run; `outermost` is the run that it is a part of in the end, which may be itself, and `effect` the digest of the execution that it is.
    pub fn of(outermost: &str, effect: Option<&str>, ratio: f64) -> Self {
        let trace: TraceId = named("trace", &[outermost]);
        let share = u64::from_be_bytes(named("sample", &[outermost]));
        Self {
            trace,
            parent: effect.map(execution),
            sampled: is_within(share, ratio),
        }
    }

    /// What a script hands on as `TRACEPARENT`, in the form of W3C Trace Context.
    pub fn traceparent(&self, digest: &str) -> String {
        let (trace, span) = (hex::encode(self.trace), hex::encode(execution(digest)));
        format!("00-{trace}-{span}-{:02x}", u8::from(self.sampled))
    }
}

/// One span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub name: String,
    pub start: Timestamp,
    pub end: Timestamp,
    pub attributes: Vec<(&'static str, String)>,
    /// Why it counts as an error.
    pub failed: Option<String>,
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Ended<'a> {
    pub uid: &'a str,
    pub name: &'a str,
    pub namespace: &'a str,
    pub parent: Option<SpanId>,
    pub start: Timestamp,
    pub end: Timestamp,
    pub failed: Option<String>,
}

/// All spans of a run, its own first.
pub fn spans(run: &Ended<'_>, plan: &Plan, rows: &[Execution]) -> Vec<Span> {
    let own = named("run", &[run.uid]);
    let mut all = vec![Span {
        id: own,
        parent: run.parent,
        name: format!("run {}", run.name),
        start: run.start,
        end: run.end,
        attributes: vec![
            ("k8s.namespace.name", run.namespace.to_owned()),
            ("pilothouse.run", run.name.to_owned()),
            ("pilothouse.run.uid", run.uid.to_owned()),
            ("pilothouse.job", plan.job.clone()),
        ],
        failed: run.failed.clone(),
    }];
    let mut of_lane: BTreeMap<usize, Vec<&Execution>> = BTreeMap::new();
    for row in rows {
        if let Some(step) = plan.steps.iter().find(|step| step.name == row.key.step) {
            of_lane.entry(step.lane).or_default().push(row);
        }
    }
    for (lane, rows) in of_lane {
        if plan.lanes[lane].kind == TargetKind::None {
            all.extend(rows.into_iter().map(|row| attempt(row, own)));
        } else {
            all.extend(of_targets(run.uid, plan, lane, own, &rows));
        }
    }
    all
}

fn of_targets(uid: &str, plan: &Plan, lane: usize, own: SpanId, rows: &[&Execution]) -> Vec<Span> {
    let targets = &plan.lanes[lane].targets;
    let mut all = Vec::new();
    for (n, range) in ranges(&batches(&plan.strategy, targets.len())).enumerate() {
        let batch = named("batch", &[uid, &lane.to_string(), &n.to_string()]);
        let mut within = Vec::new();
        for target in &targets[range] {
            let id = named("target", &[uid, &lane.to_string(), &target.uid]);
            let own = rows.iter().filter(|row| row.key.target == target.uid);
            let attempts: Vec<_> = own.map(|row| attempt(row, id)).collect();
            within.extend(around(
                id,
                batch,
                &format!("target {}", target.name),
                &attempts,
            ));
            within.extend(attempts);
        }
        all.extend(around(batch, own, &format!("batch {}", n + 1), &within));
        all.extend(within);
    }
    all
}

fn ranges(sizes: &[usize]) -> impl Iterator<Item = Range<usize>> {
    sizes.iter().scan(0, |at, size| {
        *at += size;
        Some(*at - size..*at)
    })
}

/// The span that lasts as long as those in it; none where there are none.
fn around(id: SpanId, parent: SpanId, name: &str, within: &[Span]) -> Option<Span> {
    Some(Span {
        id,
        parent: Some(parent),
        name: name.to_owned(),
        start: within.iter().map(|span| span.start).min()?,
        end: within.iter().map(|span| span.end).max()?,
        attributes: Vec::new(),
        failed: None,
    })
}

fn attempt(row: &Execution, parent: SpanId) -> Span {
    let start = row.started_at.or(row.finished_at).unwrap_or_default();
    let failed = !matches!(
        row.state,
        State::Succeeded | State::Skipped | State::Started
    );
    let why = || {
        let said = row.message.as_deref().or(row.reason.as_deref());
        said.unwrap_or(row.state.as_str()).to_owned()
    };
    Span {
        id: execution(&row.key.digest()),
        parent: Some(parent),
        name: format!("step {}", row.step),
        start,
        end: row.finished_at.unwrap_or(start).max(start),
        attributes: vec![
            ("pilothouse.step", row.step.clone()),
            ("pilothouse.target", row.target.clone()),
            ("pilothouse.attempt", row.attempt.to_string()),
            ("pilothouse.state", row.state.as_str().to_owned()),
            ("pilothouse.via", row.via.as_str().to_owned()),
        ],
        failed: failed.then(why),
    }
}

/// The id of an execution, by the digest of its key.
fn execution(digest: &str) -> SpanId {
    named("execution", &[digest])
}

/// The beginning of a digest; never zero, which the field does not allow.
fn named<const N: usize>(kind: &str, parts: &[&str]) -> [u8; N] {
    let mut digest = Sha256::new_with_prefix(kind);
    for part in parts {
        digest.update([0]);
        digest.update(part);
    }
    let digest = digest.finalize();
    let mut id = [0; N];
    id.copy_from_slice(&digest[..N]);
    id[N - 1] |= u8::from(id.iter().all(|byte| *byte == 0));
    id
}

/// Whether a number that may be any is among the share of all numbers.
#[allow(clippy::cast_precision_loss)] // What is lost is far less than a share is meant to a digit of.
fn is_within(number: u64, ratio: f64) -> bool {
    (number as f64) < ratio * u64::MAX as f64 || ratio >= 1.0
}

#[cfg(test)]
mod tests {
    use crds::{
        execution::{VERSION, Via},
        key::EffectKey,
    };
    use serde_json::json;

    use super::*;

    fn plan() -> Plan {
        let target = |name: &str| json!({"name": name, "uid": format!("{name}-uid")});
        let step = |name: &str, lane: usize| {
            json!({"name": name, "lane": lane, "stage": lane, "needs": [], "body": {"pause": {"duration": "1s"}},
                "timeout": "1m", "deliveryTimeout": "1m", "retries": 0, "backoff": "1s"})
        };
        let plan = json!({"version": 1, "job": "upgrade", "account": "a", "frozenAt": "2026-01-01T00:00:00Z", "sharing": "Exclusive",
            "strategy": {"batches": [1, "100%"]},
            "lanes": [{"kind": "Host", "targets": [target("a"), target("b"), target("c")]}, {"kind": "None", "targets": [{"name": "", "uid": "run-uid"}]}],
            "steps": [step("one", 0), step("two", 0), step("tell", 1)], "params": {}, "secrets": {}});
        serde_json::from_value(plan).expect("a plan")
    }

    fn row(step: &str, target: &str, from: i64, to: i64, state: State) -> Execution {
        let at = |second| Some(Timestamp::from_second(second).expect("a time"));
        Execution {
            version: VERSION,
            key: EffectKey {
                attempt: 1,
                cluster: "c".into(),
                plan: "p".into(),
                run: "run-uid".into(),
                step: step.into(),
                target: format!("{target}-uid"),
            },
            namespace: "n".into(),
            namespace_uid: "n-uid".into(),
            run: "r".into(),
            job: None,
            step: step.into(),
            target_kind: TargetKind::Host,
            target: target.into(),
            attempt: 1,
            state,
            reason: None,
            message: None,
            exit_code: None,
            started_at: at(from),
            finished_at: at(to),
            output_bytes: 0,
            dropped_bytes: 0,
            outputs: BTreeMap::new(),
            secret_uid: None,
            via: Via::Journal,
        }
    }

    fn told(rows: &[Execution]) -> Vec<Span> {
        let run = Ended {
            uid: "run-uid",
            name: "r",
            namespace: "n",
            parent: None,
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::from_second(99).expect("a time"),
            failed: None,
        };
        spans(&run, &plan(), rows)
    }

    #[test]
    fn a_run_has_batches_which_have_targets_which_have_executions() {
        let all = told(&[
            row("one", "a", 1, 2, State::Succeeded),
            row("two", "a", 2, 5, State::Succeeded),
            row("one", "b", 6, 7, State::Failed),
            row("one", "c", 6, 9, State::Succeeded),
            row("tell", "run", 9, 10, State::Succeeded),
        ]);
        let way = |span: &Span| {
            let above = |span: &Span| all.iter().find(|s| Some(s.id) == span.parent).cloned();
            let mut names = vec![span.name.clone()];
            let mut at = above(span);
            while let Some(span) = at {
                names.push(span.name.clone());
                at = above(&span);
            }
            names.join(" < ")
        };
        let ways: Vec<_> = all.iter().map(way).collect();
        assert_eq!(
            ways,
            [
                "run r",
                "batch 1 < run r",
                "target a < batch 1 < run r",
                "step one < target a < batch 1 < run r",
                "step two < target a < batch 1 < run r",
                "batch 2 < run r",
                "target b < batch 2 < run r",
                "step one < target b < batch 2 < run r",
                "target c < batch 2 < run r",
                "step one < target c < batch 2 < run r",
                "step tell < run r",
            ]
        );
        let second = &all[5];
        assert_eq!((second.start.as_second(), second.end.as_second()), (6, 9));
        assert_eq!(all[7].failed.as_deref(), Some("Failed"));
        assert!(all.iter().filter(|span| span.failed.is_some()).count() == 1);
    }

    #[test]
    fn a_script_names_the_span_that_its_execution_becomes() {
        let row = row("one", "a", 1, 2, State::Succeeded);
        let place = Place::of("run-uid", None, 1.0);
        let named = place.traceparent(&row.key.digest());
        let span = told(&[row])[3].clone();
        let (trace, id) = (hex::encode(place.trace), hex::encode(span.id));
        assert_eq!(named, format!("00-{trace}-{id}-01"));
    }

    #[test]
    fn a_part_belongs_to_the_trace_of_its_whole_under_the_execution_that_it_is() {
        let row = row("one", "a", 1, 2, State::Succeeded);
        let part = Place::of("run-uid", Some(&row.key.digest()), 1.0);
        assert_eq!(part.trace, Place::of("run-uid", None, 1.0).trace);
        assert_eq!(part.parent, Some(told(&[row])[3].id));
    }

    #[test]
    fn so_many_traces_are_told_as_are_asked_for() {
        let sampled = |ratio| {
            (0..1_000)
                .filter(|n| Place::of(&n.to_string(), None, ratio).sampled)
                .count()
        };
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 1_000));
        assert!((150..350).contains(&sampled(0.25)));
    }
}
