//! 10,000 ScheduledTasks, each for one firing.

use std::time::{Duration, Instant};

use bench::{
    Result,
    seen::Seen,
    stage::{self, created, put},
};
use crds::v1alpha1::{Job, JobRun, ScheduledTask, condition_is_true, whole_second};
use decide::schedule;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

const TASKS: usize = 10_000;
/// They belong to so many teams.
const NAMESPACES: usize = 10;
/// A part of them, by which it is found out how long all take to be written and settled.
const FEW: usize = 1_000;
/// They are written ahead of their firing by so many times that.
const MARGIN: usize = 2;
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

/// How long ahead of their firing all tasks have to be written, so that the operator has looked at each by then.
pub async fn ahead(client: &Client) -> Result<SignedDuration> {
    let began = Instant::now();
    let spec =
        |_| Ok(json!({"schedule": {"every": "24h"}, "suspend": true, "jobRef": {"name": "job"}}));
    settled(client, "few", FEW, spec).await?;
    let took = began.elapsed();
    let ahead = took * u32::try_from(TASKS / FEW * MARGIN)?;
    println!(
        "{FEW} tasks are settled in {:.1} s, so {TASKS} are written {:.0} s ahead",
        took.as_secs_f64(),
        ahead.as_secs_f64()
    );
    Ok(SignedDuration::try_from(ahead)? + SPARE)
}

/// Writes so many tasks and waits until the operator has looked at each.
async fn settled(
    client: &Client,
    name: &str,
    many: usize,
    spec: impl Fn(usize) -> Result<Value>,
) -> Result<Vec<ScheduledTask>> {
    let own = format!("{name}-");
    let seen = Seen::of(client, move |task: &ScheduledTask| {
        let name = task.name_any();
        let status = task.status.as_ref();
        let is_ready = status.is_some_and(|s| condition_is_true(&s.conditions, "Ready"));
        name.starts_with(&own).then_some((name, is_ready))
    });
    let written = (0..many).map(|n| {
        let (spec, client) = (spec(n), client.clone());
        async move {
            let tasks: Api<ScheduledTask> = Api::namespaced(client, &namespace(n));
            let object = json!({"metadata": {"name": task(name, n)}, "spec": spec?});
            created(&tasks, object).await
        }
    });
    let written = stage::all(written).await?;
    seen.until(many, true, PATIENCE).await?;
    Ok(written)
}

/// When the run of a task is due, as the operator itself finds it out.
fn due(task: &ScheduledTask) -> Result<Timestamp> {
    let at = task.spec.schedule.at.as_ref().ok_or("it has no time")?.0;
    Ok(at + schedule::delay(task, at))
}

/// A firing of all of them.
pub struct Round {
    pub name: &'static str,
    /// How long after the first of them a task fires, in seconds.
    pub second: fn(usize) -> usize,
    pub jitter: &'static str,
}

impl Round {
    /// Writes them so long before, has them fire, and waits until the last run is there.
    pub async fn fired(&self, client: &Client, ahead: SignedDuration) -> Result<Fired> {
        let Self {
            name,
            second,
            jitter,
        } = *self;
        let own = format!("{name}-");
        let begun = Seen::of(client, move |run: &JobRun| {
            let task = &run.owner_references().first()?.name;
            task.starts_with(&own)
                .then(|| (task.clone(), run.is_finished()))
        });
        let first = whole_second(Timestamp::now() + ahead);
        let spec = |n| {
            let at = first + SignedDuration::from_secs(i64::try_from(second(n))?);
            Ok(json!({"schedule": {"at": at}, "jitter": jitter, "jobRef": {"name": "job"}}))
        };
        let tasks = settled(client, name, TASKS, spec).await?;
        let spare = first.duration_since(Timestamp::now());
        println!("{name}: all are settled {:.1} s ahead", spare.as_secs_f64());
        if spare < SPARE {
            return Err(format!("{TASKS} tasks were not settled in time").into());
        }
        let seen = begun.until(TASKS, false, PATIENCE).await?;
        let late = tasks
            .iter()
            .map(|task| lateness(due(task)?, seen[&task.name_any()]));
        let mut late: Vec<Duration> = late.collect::<Result<_>>()?;
        late.sort();
        Ok(Fired { late, runs: begun })
    }
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
