//! How many runs a client creates that has nothing else to do.

use std::time::Instant;

use bench::{Result, stage::put};
use crds::v1alpha1::JobRun;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{Api, Client};
use serde_json::json;

use crate::{seen::Seen, tasks};

const RUNS: usize = 5_000;
const AT_ONCE: usize = 32;

/// Runs a second; like those of schedules they are carried out meanwhile. Returns when all have ended.
#[allow(clippy::cast_precision_loss)] // Thousands.
pub async fn rate(client: &Client) -> Result<f64> {
    let seen = Seen::of(client, |run: &JobRun| {
        Some((run.metadata.name.clone()?, run.is_finished()))
    });
    let began = Instant::now();
    let runs = stream::iter(0..RUNS).map(|n| {
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
    let _: Vec<()> = runs.buffer_unordered(AT_ONCE).try_collect().await?;
    let rate = RUNS as f64 / began.elapsed().as_secs_f64();
    println!("bare client: {rate:.0} runs/s");
    seen.until(RUNS, true, tasks::PATIENCE).await?;
    Ok(rate)
}
