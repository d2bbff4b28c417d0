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
    client: Client,
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
            match sweep(&client, &slot, limits, &metrics).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "retention took rows away"),
                Err(e) => tracing::warn!(error = chain(&e), "retention waits"),
            }
        }
    };
    shutdown.run_until_cancelled(sweeping).await;
}

async fn sweep(
    client: &Client,
    slot: &Slot,
    limits: Limits,
    metrics: &Metrics,
) -> Result<u64, SweepError> {
    let Ok(store) = slot.store() else {
        return Ok(0);
    };
    let retention = Retention {
        age: limits.age,
        size: limits.size,
        removals: REMOVALS,
        protected_runs: live_runs(client)
            .await
            .map_err(|e| SweepError::Runs(Box::new(e)))?,
    };
    let mut taken = 0;
    loop {
        let swept = store.sweep(retention.clone(), Timestamp::now()).await;
        let Swept { rows, more, size } = swept.map_err(SweepError::Store)?;
        metrics.swept(rows, size);
        taken += rows;
        if !more {
            return Ok(taken);
        }
    }
}

/// UIDs of runs that are not over.
async fn live_runs(client: &Client) -> Result<HashSet<String>, kube::Error> {
    let kind = GroupVersionKind::gvk(crds::names::GROUP, "v1alpha1", "JobRun");
    let runs = Api::<DynamicObject>::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let mut live = HashSet::new();
    let mut params = ListParams::default().limit(PORTION);
    loop {
        let page = runs.list(&params).await?;
        live.extend(
            page.items
                .iter()
                .filter(|run| !is_over(run))
                .filter_map(ResourceExt::uid),
        );
        match page.metadata.continue_.filter(|c| !c.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(live),
        }
    }
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
    use kube::api::DynamicObject;
    use serde_json::json;

    use super::is_over;

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
