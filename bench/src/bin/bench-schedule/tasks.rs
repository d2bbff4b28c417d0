//! 10,000 ScheduledTasks, each for one firing.

use std::time::Duration;

use bench::{
    Result,
    seen::Seen,
    stage::{self, put},
};
use crds::v1alpha1::{Job, JobRun, ScheduledTask, condition_is_true};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

const TASKS: usize = 10_000;
/// They belong to so many teams.
const NAMESPACES: usize = 10;
/// Time to write all tasks, and for the operator to have looked at each.
const AHEAD: SignedDuration = SignedDuration::from_mins(3);
/// What is left of that when all are settled, at least.
const SPARE: SignedDuration = SignedDuration::from_secs(5);
pub const PATIENCE: Duration = Duration::from_mins(15);

fn task(name: &str, n: usize) -> String {
    format!("{name}-{n:05}")
}

pub fn namespace(n: usize) -> String {
    format!("bench-{}", n % NAMESPACES)
}

/// Namespaces with a Job that ends as soon as it is looked at.
pub async fn stage(client: &Client) -> Result<()> {
    for n in 0..NAMESPACES {
        let namespace = namespace(n);
        let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]);
        stage::set(client, &namespace, rules).await?;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
        put(&maps, json!({"metadata": {"name": "there"}})).await?;
        let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "there"});
        let step = json!({"name": "one", "wait": {"object": object, "until": "true"}});
        put(
            &jobs,
            json!({"metadata": {"name": "job"}, "spec": {"steps": [step]}}),
        )
        .await?;
    }
    Ok(())
}

/// How long after its time something was seen; what is early is no measurement but a fault.
pub fn lateness(due: Timestamp, seen: Timestamp) -> Result<Duration> {
    Ok(Duration::try_from(seen.duration_since(due))?)
}

/// What was seen of their runs.
pub struct Fired {
    /// The least first.
    pub late: Vec<Duration>,
    runs: Seen,
}

impl Fired {
    /// Waits until all runs have ended, so that what is measured next begins with nothing to do.
    pub async fn ended(self) -> Result<()> {
        self.runs.until(TASKS, true, PATIENCE).await.map(drop)
    }
}

/// Has all of them fire in the seconds that `second` gives, and waits until the last run is there.
pub async fn fired(client: &Client, name: &str, second: impl Fn(usize) -> usize) -> Result<Fired> {
    let own = format!("{name}-");
    let settled = Seen::of(client, move |task: &ScheduledTask| {
        let task_name = task.name_any();
        task_name.starts_with(&own).then(|| {
            let status = task.status.as_ref();
            (
                task_name,
                status.is_some_and(|s| condition_is_true(&s.conditions, "Ready")),
            )
        })
    });
    let first = Timestamp::from_second((Timestamp::now() + AHEAD).as_second())?;
    let due = |n: usize| -> Result<Timestamp> {
        Ok(first + SignedDuration::from_secs(i64::try_from(second(n))?))
    };
    let written = (0..TASKS).map(|n| {
        let (at, client) = (due(n), client.clone());
        async move {
            let tasks: Api<ScheduledTask> = Api::namespaced(client, &namespace(n));
            let spec = json!({"schedule": {"at": at?}, "jobRef": {"name": "job"}});
            put(
                &tasks,
                json!({"metadata": {"name": task(name, n)}, "spec": spec}),
            )
            .await
        }
    });
    stage::all(written).await?;
    settled.until(TASKS, true, PATIENCE).await?;
    drop(settled);
    let spare = first.duration_since(Timestamp::now());
    println!("{name}: all are settled {:.1} s ahead", spare.as_secs_f64());
    if spare < SPARE {
        return Err(format!("{TASKS} tasks were not settled in time").into());
    }
    let own = format!("{name}-");
    let begun = Seen::of(client, move |run: &JobRun| {
        let task = &run.owner_references().first()?.name;
        task.starts_with(&own)
            .then(|| (task.clone(), run.is_finished()))
    });
    let seen = begun.until(TASKS, false, PATIENCE).await?;
    let mut late = Vec::new();
    for n in 0..TASKS {
        late.push(lateness(due(n)?, seen[&task(name, n)])?);
    }
    late.sort();
    Ok(Fired { late, runs: begun })
}
