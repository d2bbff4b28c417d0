//! Warns whoever writes a Job, a run, or a schedule of one of what a CommandPolicy will say when a run begins. All of it is let in, and nothing of it is noted. What is named there is read meanwhile, as far as that is
//! answered in time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
};
use crds::v1alpha1::{Job, Script, ScriptSpec};
use decide::admission::Work;
use futures::future::join_all;
use kube::{Api, Client};
use serving::telemetry::chain;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    answer::{Doors, Failure},
    review::{Answered, Review, Text},
};

/// As metrics name it.
const DOOR: &str = "job";
/// Time for reading what is named; the whole answer has two seconds.
const READING: Duration = Duration::from_secs(1);

pub async fn asked(
    State(doors): State<Doors>,
    Path(policy): Path<String>,
    body: Bytes,
) -> Result<Json<Answered>, Failure> {
    let began = Instant::now();
    let answered = warned(&doors, policy, &body).await;
    doors.metrics.warned(DOOR, &answered, began);
    answered.map(Json)
}

async fn warned(doors: &Doors, policy: String, body: &[u8]) -> Result<Answered, Failure> {
    let book = doors.known.borrow().get(&policy).cloned();
    let book = book.ok_or(Failure::NoPolicy(policy))?;
    let review: Review<Text<'_>> = serde_json::from_slice(body).map_err(Failure::NoReview)?;
    let asked = &review.request;
    let uid = asked.uid.clone();
    let Some(mut work) = Work::read(&asked.resource.resource, &asked.written())? else {
        return Ok(Answered::warning(uid, Vec::new()));
    };
    let namespace = asked.namespace.as_deref().unwrap_or_default();
    let read = timeout(READING, named(&doors.client, namespace, &mut work)).await;
    let scripts = read.unwrap_or_default();
    let judged = spawn_blocking(move || match &*book {
        Ok(ruled) => Ok(work.warnings(&scripts, &ruled.rules)),
        Err(why) => Err(Failure::Unusable(why.clone())),
    });
    let warnings = judged.await.map_err(Failure::Ended).flatten()?;
    Ok(Answered::warning(uid, warnings))
}

/// Reads what is named: the Job, which becomes known by that, and the Scripts that it runs.
async fn named(client: &Client, namespace: &str, work: &mut Work) -> BTreeMap<String, ScriptSpec> {
    if let Some(name) = work.unknown() {
        let jobs = Api::<Job>::namespaced(client.clone(), namespace);
        if let Some(job) = found(name, jobs.get_opt(name).await) {
            work.becomes(job.spec);
        }
    }
    let scripts = Api::<Script>::namespaced(client.clone(), namespace);
    let reads = work.scripts().into_iter();
    let reads = reads.map(|name| script(&scripts, name));
    join_all(reads).await.into_iter().flatten().collect()
}

async fn script(scripts: &Api<Script>, name: String) -> Option<(String, ScriptSpec)> {
    let script = found(&name, scripts.get_opt(&name).await)?;
    Some((name, script.spec))
}

/// Of what is not there or cannot be read there is no warning; the run says so.
fn found<K>(name: &str, read: kube::Result<Option<K>>) -> Option<K> {
    read.unwrap_or_else(|error| {
        tracing::debug!(
            name,
            error = chain(&error),
            "what is warned of is not known"
        );
        None
    })
}
