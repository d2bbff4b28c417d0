//! Executions of a run and their output, from the aggregated API of records.

use crds::{execution::Execution, names::LABEL_RUN_UID, v1alpha1::JobRun};
use futures::{AsyncRead, Stream, StreamExt as _};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};

use crate::{
    cluster::Cluster,
    error::{Error, Result, doing},
    watch::lasting,
};

/// Rows that one request asks for.
const PAGE: u32 = 500;

/// A row under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    pub execution: Execution,
}

/// The resource as the API server knows it.
pub fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("records.pilothouse.dev", "v1alpha1", "Execution");
    ApiResource::from_gvk_with_plural(&kind, "executions")
}

fn api(cluster: &Cluster) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource())
}

/// Executions of this run and of no earlier one of its name.
fn selector(run: &JobRun) -> String {
    format!("{LABEL_RUN_UID}={}", run.uid().unwrap_or_default())
}

/// Every execution of a run, in the order in which they began.
pub async fn list(cluster: &Cluster, run: &JobRun) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut page = ListParams::default().labels(&selector(run)).limit(PAGE);
    loop {
        let list = api(cluster).list(&page).await.map_err(doing(format!(
            "list executions of JobRun {}",
            run.name_any()
        )))?;
        for object in &list.items {
            rows.push(row(object)?);
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    rows.sort_by(|a, b| (a.execution.started_at, &a.name).cmp(&(b.execution.started_at, &b.name)));
    Ok(rows)
}

/// Executions of a run as they appear and change.
pub fn changes(cluster: &Cluster, run: &JobRun) -> impl Stream<Item = Result<Row>> + use<> {
    let name = run.name_any();
    let mut failures = 0;
    let events = watcher(
        api(cluster),
        watcher::Config::default().labels(&selector(run)),
    )
    .default_backoff();
    events.filter_map(move |event| {
        let told = match event {
            Ok(event) => {
                failures = 0;
                match event {
                    Event::Apply(object) | Event::InitApply(object) => Some(row(&object)),
                    Event::Delete(_) | Event::Init | Event::InitDone => None,
                }
            }
            Err(error) => {
                failures += 1;
                lasting(failures, &error).then(|| {
                    Err(Error::Watch {
                        what: format!("executions of JobRun {name}"),
                        source: Box::new(error),
                    })
                })
            }
        };
        std::future::ready(told)
    })
}

fn row(object: &DynamicObject) -> Result<Row> {
    let execution = object.data.get("execution").cloned().unwrap_or_default();
    let execution = serde_json::from_value(execution).map_err(|source| Error::Answer {
        what: format!("execution {}", object.name_any()),
        source,
    })?;
    Ok(Row {
        name: object.name_any(),
        execution,
    })
}

/// The output of an execution from an offset on; with `follow` until the execution has ended.
pub async fn log(
    cluster: &Cluster,
    name: &str,
    offset: u64,
    follow: bool,
) -> Result<impl AsyncRead + use<>> {
    let path = format!(
        "{}/{name}/log?follow={follow}&offset={offset}",
        api(cluster).resource_url()
    );
    let request = http::Request::get(path)
        .body(Vec::new())
        .expect("names of objects make a valid path");
    cluster
        .client
        .request_stream(request)
        .await
        .map_err(doing(format!("read the output of {name}")))
}
