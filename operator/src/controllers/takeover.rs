//! Taking over: before the first turn, the claims of every run that has its machines are known again.

use crds::v1alpha1::{Asked, JobRun};
use kube::{ResourceExt as _, api::ListParams};

use super::run::plan_of;
use crate::{
    context::Context,
    error::{Error, Result, chain, observing},
    scope::{self, EVERY},
};

/// Runs that are read at once.
const PAGE: u32 = 250;

/// Registers what unfinished runs hold or wait for.
pub async fn claims(ctx: &Context) -> Result<()> {
    for part in ctx.scope.parts() {
        match of_part(ctx, part).await {
            // A namespace that is gone took its Roles along; the others go on.
            Err(Error::Observe { source, .. }) if part != EVERY && is_forbidden(&source) => {
                tracing::warn!(
                    namespace = part,
                    "JobRuns may not be listed; if the namespace is gone, take it out of scope.namespaces"
                );
            }
            done => done?,
        }
    }
    Ok(())
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// Page by page, since most runs have ended and nothing is held of them.
async fn of_part(ctx: &Context, part: &str) -> Result<()> {
    let api = scope::within::<JobRun>(&ctx.client, part);
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let runs = api.list(&page).await.map_err(observing("JobRuns"))?;
        of_runs(ctx, &runs.items).await?;
        match runs.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
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
