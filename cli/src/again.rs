//! A run that takes up what another has left: the same Job, values and account, on those of its targets that are left.

use crds::v1alpha1::{JobRun, JobRunSpec, LocalRef};
use kube::ResourceExt as _;

use crate::{
    caller,
    cluster::Cluster,
    error::Result,
    output::Format,
    run::{create, created},
    watch,
};

pub async fn run(
    cluster: &Cluster,
    earlier: &JobRun,
    watched: bool,
    format: Option<Format>,
) -> Result<u8> {
    let name = earlier.name_any();
    let spec = JobRunSpec {
        job_revision: None,
        only_failed_of: Some(LocalRef { name: name.clone() }),
        on_behalf_of: Vec::new(),
        requested_by: Some(caller::requester(cluster).await?),
        ..earlier.spec.clone()
    };
    let mut run = JobRun::new("", spec);
    run.metadata.name = None;
    run.metadata.generate_name = Some(format!("{name}-"));
    let run = create(cluster, &run).await?;
    if watched {
        return watch::watch(cluster, &run.name_any(), format).await;
    }
    created(cluster, &run, format).map(|()| 0)
}
