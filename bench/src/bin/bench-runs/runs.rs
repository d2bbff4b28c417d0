//! JobRuns of one step each, created at once.

use std::time::Instant;

use bench::{
    seen::Seen,
    stage::{self, put},
};
use crds::v1alpha1::{Job, JobRun, condition_is_true};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};

use crate::{MANY, Measured, PATIENCE, Result, audit::Audit};

pub const NAMESPACE: &str = "bench";
/// Whoever carries runs out, events and leases included.
const OURS: [&str; 1] = ["system:serviceaccount:pilothouse-system:"];

pub async fn stage(client: &Client) -> Result<()> {
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete", "deletecollection", "patch"]}]);
    stage::set(client, NAMESPACE, rules).await
}

/// A step that asks a URL.
pub fn http(url: &str) -> Value {
    json!({"name": "one", "http": {"url": url}})
}

/// A step that is a pod of its own.
pub fn pod() -> Value {
    json!({"name": "one", "pod": {"image": "registry.example/none", "command": ["true"]}})
}

/// From the first creation until the last has ended, each of them well.
#[allow(clippy::cast_precision_loss)] // Thousands.
pub async fn ended(client: &Client, audit: &Audit, name: &str, step: &Value) -> Result<Measured> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), NAMESPACE);
    put(
        &jobs,
        json!({"metadata": {"name": name}, "spec": {"steps": [step]}}),
    )
    .await?;
    let own = format!("{name}-");
    let seen = Seen::of(client, move |run: &JobRun| {
        let told = (run.name_any(), run.is_finished());
        told.0.starts_with(&own).then_some(told)
    });
    let runs: Api<JobRun> = Api::namespaced(client.clone(), NAMESPACE);
    let (since, began) = (audit.end()?, Instant::now());
    let created = (0..MANY).map(|n| {
        let runs = runs.clone();
        async move {
            let spec = json!({"jobRef": {"name": name}});
            put(
                &runs,
                json!({"metadata": {"name": format!("{name}-{n}")}, "spec": spec}),
            )
            .await
        }
    });
    stage::all(created).await?;
    seen.until(MANY, true, PATIENCE).await?;
    let took = began.elapsed();
    at_rest(&runs).await?;
    let writes = audit.writes(since, &OURS)?;
    println!("{name}: {MANY} runs in {:.1} s", took.as_secs_f64());
    Ok(Measured {
        per_second: MANY as f64 / took.as_secs_f64(),
        writes: writes as f64 / MANY as f64,
    })
}

/// Waits until nothing is left to do for any run, each of which has to have ended well.
async fn at_rest(runs: &Api<JobRun>) -> Result<()> {
    let held = async || -> Result<usize> {
        let all = runs.list(&ListParams::default()).await?.items;
        let well = |run: &&JobRun| {
            let status = run.status.as_ref();
            status.is_some_and(|s| condition_is_true(&s.conditions, "Complete"))
        };
        match all.iter().find(|run| !well(run)) {
            Some(run) => Err(format!("{} did not end well", run.name_any()).into()),
            None => Ok(all
                .iter()
                .filter(|run| !run.finalizers().is_empty())
                .count()),
        }
    };
    let rest = async {
        while held().await? > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, rest).await?
}
