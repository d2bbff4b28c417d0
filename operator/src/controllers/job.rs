//! Job: says whether a run of it could be planned.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{Job, Verdict};
use kube::{ResourceExt as _, core::DeserializeGuard, runtime::controller::Action};

use super::valid;
use crate::{
    context::Context,
    error::{Result, chain, observing},
    report, resolve,
};

/// How soon a job that names what is not there is looked at again.
const MISSING: Duration = Duration::from_secs(10);

pub async fn reconcile(job: Arc<DeserializeGuard<Job>>, ctx: Arc<Context>) -> Result<Action> {
    let job = valid(&job)?;
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = job.namespace().unwrap_or_default();
    let scripts = resolve::scripts(&ctx.client, &namespace, &job.spec)
        .await
        .map(resolve::contents)
        .map_err(observing("Scripts"));
    let checked = scripts
        .as_ref()
        .map(|scripts| decide::freeze::check(&job.spec, scripts, &ctx.limits));
    let verdict = match &checked {
        Ok(Ok(())) => Verdict::yes("Ready", "Plannable", ""),
        Ok(Err(refusal)) => Verdict::no("Ready", refusal.reason, &refusal.message),
        Err(error) => Verdict::unknown("Ready", error.category(), chain(*error)),
    };
    let status = decide::job::status(job, &verdict, jiff::Timestamp::now());
    if job.status.as_ref() != Some(&status) {
        report::status(&ctx.client, job, "pilothouse-job", &status).await?;
    }
    let plannable = matches!(checked, Ok(Ok(())));
    scripts?;
    ctx.succeeded(job);
    Ok(Action::requeue(if plannable {
        Duration::from_hours(1)
    } else {
        MISSING
    }))
}
