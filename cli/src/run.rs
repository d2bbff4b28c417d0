//! Running a Job: a JobRun in the caller's name, checked as far as that is possible before it is created.

use crds::v1alpha1::{JobRun, JobRunSpec, LocalRef};
use decide::parameters;
use kube::{ResourceExt as _, api::PostParams};

use crate::{
    args::RunArgs,
    caller,
    cluster::Cluster,
    error::{Error, Result, doing},
    kept,
    output::{self, Format},
    watch,
};

pub async fn run(cluster: &Cluster, asked: &RunArgs, format: Option<Format>) -> Result<u8> {
    let job = cluster.job(&asked.job).await?;
    let given = asked.given.values();
    match kept::of_run(cluster, &job.spec, &asked.given).await {
        Ok(store) => parameters::resolve(&job.spec.parameters, &given, &store)
            .map(drop)
            .map_err(Error::Refused)?,
        // What the caller may not read the run reads all the same, and says what is wrong with it.
        Err(error) if error.is_forbidden() => {}
        Err(error) => return Err(error),
    }
    let spec = JobRunSpec {
        job_ref: Some(LocalRef {
            name: asked.job.clone(),
        }),
        parameters: given.plain,
        secret_parameters: given.secret,
        parameter_refs: given.refs,
        ticket: asked.ticket.clone(),
        requested_by: Some(caller::requester(cluster).await?),
        ..JobRunSpec::new(&asked.service_account)
    };
    let mut run = JobRun::new("", spec);
    run.metadata.name.clone_from(&asked.name);
    if asked.name.is_none() {
        run.metadata.generate_name = Some(format!("{}-", asked.job));
    }
    let run = create(cluster, &run).await?;
    if asked.watch {
        return watch::watch(cluster, &run.name_any(), format).await;
    }
    created(cluster, &run, format).map(|()| 0)
}

/// Creates a run.
pub async fn create(cluster: &Cluster, run: &JobRun) -> Result<JobRun> {
    cluster
        .api::<JobRun>()
        .create(&PostParams::default(), run)
        .await
        .map_err(doing("create the JobRun"))
}

/// Says that a run was created and how to see what becomes of it.
pub fn created(cluster: &Cluster, run: &JobRun, format: Option<Format>) -> Result<()> {
    let name = run.name_any();
    output::result(
        run,
        format,
        &format!("jobrun.pilothouse.dev/{name}"),
        |_| {
            format!(
                "jobrun.pilothouse.dev/{name} created\n{}\n",
                cluster.command(&format!("watch {name}"))
            )
        },
    )
}
