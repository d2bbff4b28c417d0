//! Taking over: before the first turn, the claims of every run that has its machines are known again.

use crds::v1alpha1::{Asked, JobRun};
use kube::{Api, ResourceExt as _, api::ListParams};

use super::run::plan_of;
use crate::{
    context::Context,
    error::{Error, Result, chain, observing},
};

/// Registers what unfinished runs hold or wait for.
pub async fn claims(ctx: &Context) -> Result<()> {
    let runs: Api<JobRun> = Api::all(ctx.client.clone());
    let all = runs
        .list(&ListParams::default())
        .await
        .map_err(observing("JobRuns"))?;
    for run in all.items.iter().filter(|run| !run.is_finished()) {
        let (namespace, name) = (run.namespace(), run.name_any());
        match plan_of(ctx, run).await {
            Ok(Some(kept)) => {
                let suspended = run
                    .status
                    .as_ref()
                    .is_some_and(|s| s.asked == Some(Asked::Suspend));
                ctx.claims
                    .register(&super::run::claim(run, &kept.plan, suspended));
                tracing::info!(namespace, name, "picking up a run");
            }
            Ok(None) => {}
            // Its own turn says so in its status; the other runs go on.
            Err(error @ (Error::PlanChanged { .. } | Error::Invalid(_))) => {
                tracing::warn!(namespace, name, error = %chain(&error), "a run cannot be picked up");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
