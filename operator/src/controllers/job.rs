//! Job: says whether a run of it could be planned.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{Job, JobSpec, Parameter, Script, Verdict};
use decide::{calls, kept};
use kube::{
    ResourceExt as _,
    core::DeserializeGuard,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};

use super::valid;
use crate::{
    context::Context,
    error::{Result, chain, observing},
    reached, report, scope,
};

/// How soon a job that names what is not there is looked at again.
const MISSING: Duration = Duration::from_secs(10);

/// Has a Job looked at when something that its steps name was written.
pub fn following(
    jobs: Controller<DeserializeGuard<Job>>,
    ctx: &Context,
    part: &str,
) -> Controller<DeserializeGuard<Job>> {
    let known = jobs.store();
    let naming = move |namespace: Option<String>, name: &str, has: fn(&JobSpec, &str) -> bool| {
        let names = |job: &Arc<DeserializeGuard<Job>>| {
            let readable = job.0.as_ref().ok()?;
            let names = job.namespace() == namespace && has(&readable.spec, name);
            names.then(|| ObjectRef::from_obj(&**job))
        };
        known.state().iter().filter_map(names).collect::<Vec<_>>()
    };
    let of_script = naming.clone();
    let client = &ctx.client;
    let of_parameter = naming.clone();
    jobs.watches(
        scope::within::<DeserializeGuard<Script>>(client, part),
        watcher::Config::default(),
        move |script| of_script(script.namespace(), &script.name_any(), names_script),
    )
    .watches(
        scope::within::<DeserializeGuard<Parameter>>(client, part),
        watcher::Config::default(),
        move |parameter| {
            let name = parameter.name_any();
            of_parameter(parameter.namespace(), &name, names_parameter)
        },
    )
    .watches(
        scope::within::<DeserializeGuard<Job>>(client, part),
        watcher::Config::default(),
        move |job| naming(job.namespace(), &job.name_any(), names_job),
    )
}

fn names_script(job: &JobSpec, name: &str) -> bool {
    let mut scripts = job.all_steps().filter_map(|step| step.script.as_ref());
    scripts.any(|script| script.name == name)
}

fn names_parameter(job: &JobSpec, name: &str) -> bool {
    kept::named(job).any(|from| from.name == name)
}

fn names_job(job: &JobSpec, name: &str) -> bool {
    calls::named(job).any(|named| named == name)
}

pub async fn reconcile(job: Arc<DeserializeGuard<Job>>, ctx: Arc<Context>) -> Result<Action> {
    let job = valid(&job)?;
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = job.namespace().unwrap_or_default();
    let reached = reached::reached(&ctx.client, &namespace, &job.spec)
        .await
        .map_err(observing("what the job names"));
    let checked = reached.as_ref().map(|reached| {
        let contents = reached.contents();
        decide::freeze::check(&job.name_any(), &job.spec, &contents, &ctx.args.limits())
    });
    let verdict = match &checked {
        Ok(Ok(_)) => Verdict::yes("Ready", "Plannable", ""),
        Ok(Err(refusal)) => Verdict::no("Ready", refusal.reason, &refusal.message),
        Err(error) => Verdict::unknown("Ready", error.category(), chain(*error)),
    };
    let revision = checked.as_ref().ok().and_then(|c| c.clone().ok());
    let status = decide::job::status(job, &verdict, revision, jiff::Timestamp::now());
    if job.status.as_ref() != Some(&status) {
        report::status(&ctx.client, job, "pilothouse-job", &status).await?;
    }
    let plannable = matches!(checked, Ok(Ok(_)));
    reached?;
    ctx.succeeded(job);
    Ok(Action::requeue(if plannable {
        Duration::from_hours(1)
    } else {
        MISSING
    }))
}
