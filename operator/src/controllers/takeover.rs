//! Taking over: before the first turn, the claims of every run that has its machines are known again.

use crds::v1alpha1::JobRun;
use kube::{Api, ResourceExt as _, api::ListParams};

use super::run::plan_of;
use crate::{
    context::Context,
    error::{Result, observing},
};

/// Registers what unfinished runs hold or wait for.
pub async fn claims(ctx: &Context) -> Result<()> {
    let runs: Api<JobRun> = Api::all(ctx.client.clone());
    let all = runs
        .list(&ListParams::default())
        .await
        .map_err(observing("JobRuns"))?;
    for run in all.items.iter().filter(|run| !run.is_finished()) {
        let Some(kept) = plan_of(ctx, run).await? else {
            continue;
        };
        ctx.claims.register(super::run::claim(run, &kept.plan));
        tracing::info!(
            namespace = run.namespace(),
            name = run.name_any(),
            "picking up a run"
        );
    }
    Ok(())
}
