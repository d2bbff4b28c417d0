//! Taking over: before the first turn, the claims of every run that has its machines are known again.

use crds::v1alpha1::{Asked, JobRun};
use kube::{ResourceExt as _, api::ListParams};

use super::run::plan_of;
use crate::{
    context::Context,
    error::{Error, Result, chain, observing},
    scope::{self, EVERY},
};

/// Registers what unfinished runs hold or wait for.
pub async fn claims(ctx: &Context) -> Result<()> {
    for part in ctx.scope.parts() {
        let runs = scope::within::<JobRun>(&ctx.client, part);
        match runs.list(&ListParams::default()).await {
            Ok(runs) => of_runs(ctx, &runs.items).await?,
            // A namespace that is gone took its Roles along; the others go on.
            Err(kube::Error::Api(status)) if status.code == 403 && part != EVERY => {
                tracing::warn!(
                    namespace = part,
                    "JobRuns may not be listed; if the namespace is gone, take it out of scope.namespaces"
                );
            }
            Err(error) => return Err(observing("JobRuns")(error)),
        }
    }
    Ok(())
}

async fn of_runs(ctx: &Context, runs: &[JobRun]) -> Result<()> {
    for run in runs.iter().filter(|run| !run.is_finished()) {
        let (namespace, name) = (run.namespace(), run.name_any());
        match plan_of(ctx, run).await {
            Ok(Some(kept)) => {
                let suspended = run
                    .status
                    .as_ref()
                    .is_some_and(|s| s.asked == Some(Asked::Suspend));
                ctx.register(&super::run::claim(run, &kept.plan, suspended));
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
