//! Takes away what is old or too much, but nothing of a run that is not over: its rows are the operator's ledger of what was done. Without a list of
//! runs nothing is taken, because an error is no evidence of absence.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use records::{Retention, Swept};
use serving::telemetry::chain;
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, slot::Slot};

/// Time between sweeps.
const PERIOD: Duration = Duration::from_mins(5);
/// Time for which watches learn of removals.
const REMOVALS: Duration = Duration::from_hours(1);
/// Runs read at once.
const PORTION: u32 = 500;

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub age: Duration,
    /// Of the audit.
    pub audit: Duration,
    pub size: u64,
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error("runs could not be listed")]
    Runs(#[source] Box<kube::Error>),
    #[error("store could not be swept")]
    Store(#[source] records::Error),
}

/// Sweeps until the token is cancelled.
pub async fn keep(
    runs: Vec<Api<DynamicObject>>,
    slot: Slot,
    limits: Limits,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let sweeping = async {
        let mut turns = time::interval(PERIOD);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            match sweep(&runs, &slot, limits, &metrics, Timestamp::now()).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "retention took rows away"),
                Err(e) => tracing::warn!(error = chain(&e), "retention waits"),
            }
        }
    };
    shutdown.run_until_cancelled(sweeping).await;
}

async fn sweep(
    runs: &[Api<DynamicObject>],
    slot: &Slot,
    limits: Limits,
    metrics: &Metrics,
    now: Timestamp,
) -> Result<u64, SweepError> {
    let Ok(store) = slot.store() else {
        return Ok(0);
    };
    let mut taken = 0;
    loop {
        // Each portion by a list of its own: runs begin while the one before is taken.
        let live = live_runs(runs).await;
        let retention = Retention {
            age: limits.age,
            audit: limits.audit,
            size: limits.size,
            removals: REMOVALS,
            protected_runs: live.map_err(|e| SweepError::Runs(Box::new(e)))?,
        };
        let swept = store.sweep(retention, now).await;
        let Swept { rows, more, size } = swept.map_err(SweepError::Store)?;
        metrics.swept(rows, size);
        taken += rows;
        if more {
            continue;
        }
        if taken == 0 && size > limits.size {
            tracing::warn!(
                size,
                limit = limits.size,
                "records take more than they should, and all of them are young or of runs that are not over"
            );
        }
        return Ok(taken);
    }
}

/// Every run there may be: those of the namespaces that are named, or of all.
pub fn runs(client: &Client, named: &[String]) -> Vec<Api<DynamicObject>> {
    let kind = GroupVersionKind::gvk(crds::names::GROUP, "v1alpha1", "JobRun");
    let kind = ApiResource::from_gvk(&kind);
    if named.is_empty() {
        return vec![Api::all_with(client.clone(), &kind)];
    }
    let within = |namespace: &String| Api::namespaced_with(client.clone(), namespace, &kind);
    named.iter().map(within).collect()
}

/// UIDs of runs that are not over.
async fn live_runs(runs: &[Api<DynamicObject>]) -> Result<HashSet<String>, kube::Error> {
    let mut live = HashSet::new();
    for runs in runs {
        let mut params = ListParams::default().limit(PORTION);
        loop {
            let page = runs.list(&params).await?;
            let going = page.items.iter().filter(|run| !is_over(run));
            live.extend(going.filter_map(ResourceExt::uid));
            match page.metadata.continue_.filter(|c| !c.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => break,
            }
        }
    }
    Ok(live)
}

fn is_over(run: &DynamicObject) -> bool {
    let conditions = run
        .data
        .pointer("/status/conditions")
        .and_then(|c| c.as_array());
    conditions.into_iter().flatten().any(|condition| {
        let kind = condition["type"].as_str().unwrap_or_default();
        matches!(kind, "Complete" | "Failed") && condition["status"] == "True"
    })
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use axum::http::{Request, Response};
    use crds::execution::State;
    use jiff::Timestamp;
    use kube::{Client, api::DynamicObject, client::Body};
    use prometheus_client::registry::Registry;
    use records::{
        Options, SqliteStore, Store as _,
        conformance::{row, rows},
    };
    use serde_json::json;

    use super::{Limits, is_over, runs, sweep};
    use crate::{metrics::Metrics, slot::Slot};

    /// An API server on which a run begins after the first list.
    fn a_run_begins_meanwhile() -> Client {
        let lists = AtomicUsize::new(0);
        let service = tower::service_fn(move |_: Request<Body>| {
            let late = json!({"metadata": {"name": "late", "uid": "late-uid"}});
            let live = if lists.fetch_add(1, Ordering::SeqCst) == 0 {
                vec![]
            } else {
                vec![late]
            };
            let list = json!({"kind": "JobRunList", "apiVersion": "pilothouse.dev/v1alpha1", "metadata": {}, "items": live});
            async move { Ok::<_, Infallible>(Response::new(Body::from(list.to_string().into_bytes()))) }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_run_that_begins_while_portions_are_taken_keeps_its_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default(), Timestamp::now());
        let store = Arc::new(store.expect("a store"));
        for (run, count) in [("over", 2_000), ("late", 3)] {
            let of_run = (0..count).map(|i| row("a", run, &format!("t{i}"), State::Started));
            let stored = store.append(rows(of_run.collect::<Vec<_>>())).await;
            stored.expect("rows are stored");
        }
        let slot = Slot::default();
        slot.fill(store.clone());
        let limits = Limits {
            age: Duration::from_hours(24),
            audit: Duration::from_hours(24),
            size: u64::MAX,
        };
        let metrics = Metrics::new(&mut Registry::default());
        let later = Timestamp::now() + Duration::from_hours(48);
        let runs = runs(&a_run_begins_meanwhile(), &[]);
        let taken = sweep(&runs, &slot, limits, &metrics, later).await;
        assert_eq!(taken.expect("swept"), 2_000);
        let kept = store.run("late-uid".into()).await;
        assert_eq!(kept.expect("a ledger").len(), 3);
    }

    #[test]
    fn a_run_is_over_when_a_final_condition_says_so() {
        let run = |conditions: serde_json::Value| -> DynamicObject {
            serde_json::from_value(
                json!({"metadata": {"name": "r"}, "status": {"conditions": conditions}}),
            )
            .expect("a run")
        };
        assert!(is_over(&run(
            json!([{"type": "Complete", "status": "True"}])
        )));
        assert!(is_over(&run(
            json!([{"type": "Reconciling", "status": "False"}, {"type": "Failed", "status": "True"}])
        )));
        assert!(!is_over(&run(
            json!([{"type": "Failed", "status": "False"}])
        )));
        assert!(!is_over(&run(json!(null))));
    }
}
