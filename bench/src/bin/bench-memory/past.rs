//! 10,000 JobRuns that have ended and were let go of: copies of one that did, written with the operator's own rights, since nobody else may write a status.

use std::time::Duration;

use bench::{
    Result,
    stage::{self, put},
};
use crds::v1alpha1::JobRun;
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::await_condition,
};
use serde_json::json;
use tokio::time::timeout;

use crate::{crowd::NAMESPACE, subject};

pub const RUNS: usize = 10_000;
const PATIENCE: Duration = Duration::from_mins(1);

/// A run of one step, once it has ended.
pub async fn sample(client: &Client) -> Result<JobRun> {
    let runs: Api<JobRun> = Api::namespaced(client.clone(), NAMESPACE);
    let step = json!({"name": "one", "pause": {"duration": "1s"}});
    let run = json!({"metadata": {"name": "sample"}, "spec": {"job": {"steps": [step]}}});
    put(&runs, run).await?;
    let is_over = |run: Option<&JobRun>| run.is_some_and(JobRun::is_finished);
    let over = timeout(PATIENCE, await_condition(runs, "sample", is_over)).await??;
    over.ok_or_else(|| "the run is gone".into())
}

/// Writes as many like it.
pub async fn fill(client: &Client, like: &JobRun) -> Result<()> {
    let kubeconfig = Kubeconfig::read_from(subject::kubeconfig()?)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let operator = Client::try_from(config)?;
    let [ours, operators] =
        [client.clone(), operator].map(|client| Api::<JobRun>::namespaced(client, NAMESPACE));
    let status = json!({"status": like.status});
    let (ours, operators, status) = (&ours, &operators, &status);
    let written = (0..RUNS).map(|n| async move {
        let name = format!("past-{n}");
        put(
            ours,
            json!({"metadata": {"name": name}, "spec": {"job": like.spec.job}}),
        )
        .await?;
        let patch = Patch::Merge(status);
        operators
            .patch_status(&name, &PatchParams::default(), &patch)
            .await?;
        // As the operator leaves one that it has archived.
        let let_go = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        operators
            .patch(&name, &PatchParams::default(), &let_go)
            .await?;
        Ok(())
    });
    stage::all(written).await.map(drop)
}
