//! The plan of a run, or the one that a run of a Job would get now.

use crds::v1alpha1::JobRun;
use decide::{
    plan::{self, Plan},
    template,
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, ResourceExt as _};

use crate::{
    args::PlanArgs,
    cluster::Cluster,
    error::{Error, Result, doing},
    lookup::{self, Preview, Wanted},
    output::{self, Format},
    shown::{self, Shown},
};

/// What a name turned out to be.
enum Subject {
    Job(Box<crds::v1alpha1::Job>),
    Run(Box<JobRun>),
}

pub async fn plan(cluster: &Cluster, asked: &PlanArgs, format: Option<Format>) -> Result<u8> {
    let (shown, name) = match subject(cluster, asked).await? {
        Subject::Job(job) => (
            of_job(cluster, asked, &job).await?,
            format!("job.pilothouse.dev/{}", job.name_any()),
        ),
        Subject::Run(run) => (
            of_run(cluster, &run).await?,
            format!("jobrun.pilothouse.dev/{}", run.name_any()),
        ),
    };
    output::result(&shown, format, &name, |wide| shown::text(&shown, wide))?;
    Ok(0)
}

/// A Job where values are given or its kind is written in front; a bare name may be either, but not both.
async fn subject(cluster: &Cluster, asked: &PlanArgs) -> Result<Subject> {
    let job = |job| Subject::Job(Box::new(job));
    let run = |run| Subject::Run(Box::new(run));
    let name = asked.subject.as_str();
    match name.split_once('/') {
        Some(("job" | "jobs" | "oj", name)) => return cluster.job(name).await.map(job),
        Some(("run" | "jobrun" | "jobruns" | "jr", name)) => {
            return cluster.run(name).await.map(run);
        }
        _ if !asked.given.is_empty() => return cluster.job(name).await.map(job),
        _ => {}
    }
    match (
        there(cluster.job(name).await)?,
        there(cluster.run(name).await)?,
    ) {
        (Some(_), Some(_)) => Err(Error::Ambiguous(name.to_owned())),
        (Some(found), None) => Ok(job(found)),
        (None, Some(found)) => Ok(run(found)),
        (None, None) => Err(cluster.not_found("Job or JobRun", name)),
    }
}

fn there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn of_job(cluster: &Cluster, asked: &PlanArgs, job: &crds::v1alpha1::Job) -> Result<Shown> {
    let job_name = job.name_any();
    // The API server chooses the last letters when the run is created.
    let run_name = format!("{job_name}-xxxxx");
    let run = template::Run {
        name: &run_name,
        namespace: &cluster.namespace,
    };
    let wanted = Wanted {
        job_name: &job_name,
        job: &job.spec,
        account: &asked.service_account,
        given: &asked.given,
        run,
    };
    let Preview { plan, notes } = lookup::preview(cluster, &wanted).await?;
    shown::show(&plan, run, notes).map_err(Error::Refused)
}

async fn of_run(cluster: &Cluster, run: &JobRun) -> Result<Shown> {
    let name = run.name_any();
    let (plan, hash) = frozen(cluster, run).await?;
    let scope = template::Run {
        name: &name,
        namespace: &cluster.namespace,
    };
    let status = run.status.clone().unwrap_or_default();
    let shown = shown::show(&plan, scope, status.notes.clone()).map_err(Error::Refused)?;
    Ok(Shown {
        run: Some(name.clone()),
        hash: Some(hash),
        ..shown.with_decisions(&status)
    })
}

/// The plan as the operator stored it, and its hash, which must be the one in status.
async fn frozen(cluster: &Cluster, run: &JobRun) -> Result<(Plan, String)> {
    let (name, status) = (run.name_any(), run.status.clone().unwrap_or_default());
    let Some(plan_name) = &status.plan_name else {
        let why = status
            .message
            .unwrap_or_else(|| "the operator has not looked at it yet".to_owned());
        return Err(Error::NotPlanned { run: name, why });
    };
    let api: Api<ControllerRevision> = cluster.api();
    let found = api.get_opt(plan_name).await.map_err(doing(format!(
        "read ControllerRevision {plan_name}, which holds the plan"
    )))?;
    let stored = found
        .and_then(|r| r.data)
        .ok_or_else(|| Error::PlanChanged(name.clone()))?
        .0;
    let hash = plan::hash(&stored);
    if status
        .plan_hash
        .as_ref()
        .is_some_and(|expected| *expected != hash)
    {
        return Err(Error::PlanChanged(name));
    }
    let plan: Plan = serde_json::from_value(stored).map_err(|source| Error::Answer {
        what: format!("plan {plan_name}"),
        source,
    })?;
    if !plan.is_coherent() {
        return Err(Error::PlanChanged(name));
    }
    Ok((plan, hash))
}
