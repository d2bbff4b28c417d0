//! The peer: 500 CronJobs due at the same minute, created by the controller of Kubernetes.

use std::time::Duration;

use bench::{
    Result,
    seen::Seen,
    stage::{self, put},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::tasks;

const JOBS: usize = 500;
const MINUTE: i64 = 60;
/// Time to write them all before they are due.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);

/// The lateness of their first Jobs, the least first. These have no pods, so that nobody is held up by them, here or in what is measured next.
pub async fn fired(client: &Client) -> Result<Vec<Duration>> {
    let ready = (Timestamp::now() + AHEAD).as_second();
    let due = Timestamp::from_second((ready / MINUTE + 1) * MINUTE)?;
    let at = due.strftime("%M %H * * *").to_string();
    let seen = Seen::of(client, |job: &Job| {
        Some((job.owner_references().first()?.name.clone(), false))
    });
    let written = (0..JOBS).map(|n| {
        let (client, at) = (client.clone(), at.clone());
        async move {
            let jobs: Api<CronJob> = Api::namespaced(client, &tasks::namespace(n));
            let container = json!({"name": "one", "image": "registry.example/none"});
            let pod = json!({"restartPolicy": "Never", "containers": [container]});
            let template = json!({"spec": {"parallelism": 0, "template": {"spec": pod}}});
            let spec = json!({"schedule": at, "timeZone": "UTC", "jobTemplate": template});
            put(
                &jobs,
                json!({"metadata": {"name": format!("cron-{n}")}, "spec": spec}),
            )
            .await
        }
    });
    stage::all(written).await?;
    let seen = seen.until(JOBS, false, tasks::PATIENCE).await?;
    let late = seen.values().map(|at| tasks::lateness(due, *at));
    let mut late: Vec<Duration> = late.collect::<Result<_>>()?;
    late.sort();
    Ok(late)
}
