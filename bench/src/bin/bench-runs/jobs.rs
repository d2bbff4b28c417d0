//! The peer: Jobs of one pod each, carried out by the controller of Kubernetes.

use std::time::Instant;

use bench::{
    seen::Seen,
    stage::{self, put},
};
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::{MANY, Measured, PATIENCE, Result, audit::Audit, runs::NAMESPACE};

/// The controller, and whoever it tells Events as.
const THEIRS: [&str; 1] = ["system:serviceaccount:kube-system:job-controller"];

/// From the first creation until the last is complete.
#[allow(clippy::cast_precision_loss)] // Thousands.
pub async fn ended(client: &Client, audit: &Audit, name: &str) -> Result<Measured> {
    let own = format!("{name}-");
    let seen = Seen::of(client, move |job: &Job| {
        let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref());
        let complete = conditions
            .into_iter()
            .flatten()
            .any(|c| c.type_ == "Complete" && c.status == "True");
        let told = (job.name_any(), complete);
        told.0.starts_with(&own).then_some(told)
    });
    let jobs: Api<Job> = Api::namespaced(client.clone(), NAMESPACE);
    let (since, began) = (audit.end()?, Instant::now());
    let created = (0..MANY).map(|n| {
        let jobs = jobs.clone();
        async move {
            let container =
                json!({"name": "one", "image": "registry.example/none", "command": ["true"]});
            let pod = json!({"restartPolicy": "Never", "containers": [container]});
            let spec = json!({"template": {"spec": pod}});
            put(
                &jobs,
                json!({"metadata": {"name": format!("{name}-{n}")}, "spec": spec}),
            )
            .await
        }
    });
    stage::all(created).await?;
    seen.until(MANY, true, PATIENCE).await?;
    let took = began.elapsed();
    let writes = audit.writes(since, &THEIRS)?;
    println!("{name}: {MANY} Jobs in {:.1} s", took.as_secs_f64());
    Ok(Measured {
        per_second: MANY as f64 / took.as_secs_f64(),
        writes: writes as f64 / MANY as f64,
    })
}
