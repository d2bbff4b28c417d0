//! How many runs a client creates that has nothing else to do.

use std::time::Instant;

use bench::{
    Result,
    seen::Seen,
    stage::{self, put},
};
use crds::v1alpha1::JobRun;
use kube::{Api, Client};
use serde_json::json;

use crate::tasks;

const RUNS: usize = 5_000;

/// Runs a second; like those of schedules they are carried out meanwhile. Returns when all have ended.
#[allow(clippy::cast_precision_loss)] // Thousands.
pub async fn rate(client: &Client) -> Result<f64> {
    let seen = Seen::of(client, |run: &JobRun| {
        Some((run.metadata.name.clone()?, run.is_finished()))
    });
    let began = Instant::now();
    let runs = (0..RUNS).map(|n| {
        let client = client.clone();
        async move {
            let runs: Api<JobRun> = Api::namespaced(client, &tasks::namespace(n));
            let spec = json!({"jobRef": {"name": "job"}});
            put(
                &runs,
                json!({"metadata": {"name": format!("bare-{n}")}, "spec": spec}),
            )
            .await
        }
    });
    stage::all(runs).await?;
    let rate = RUNS as f64 / began.elapsed().as_secs_f64();
    println!("bare client: {rate:.0} runs/s");
    seen.until(RUNS, true, tasks::PATIENCE).await?;
    Ok(rate)
}
