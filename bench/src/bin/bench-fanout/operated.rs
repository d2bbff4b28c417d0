//! The operator's side of the bench: 200 Hosts, and a JobRun over them from its creation until it is Complete and its records are read back.

use std::{
    collections::HashSet,
    pin::pin,
    time::{Duration, Instant},
};

use bench::stage;
use futures::{AsyncReadExt as _, StreamExt as _};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{FEW, REPETITIONS, Result, fixture::Fixture, light, process::Server};

const NAMESPACE: &str = "bench";
/// Longest wait for any of the steps.
const PATIENCE: Duration = Duration::from_mins(5);

/// The best wall time of a run, with new connections each time, since those that the looks at hosts have left are closed before.
pub async fn run(fixture: &Fixture, mut server: Server) -> Result<Duration> {
    let port = server.port;
    let client = Client::try_default().await?;
    let rules = json!([
        {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ]);
    stage::set(&client, NAMESPACE, rules).await?;
    create(&client, key(fixture)).await?;
    stage::all((0..FEW).map(|n| create(&client, host(fixture, port, n)))).await?;
    until(
        &client,
        "Host",
        (0..FEW).map(host_name).collect(),
        &["Reachable"],
    )
    .await?;
    let mut best = Duration::MAX;
    for n in 0..REPETITIONS {
        drop(server);
        server = light::start_at(fixture, port).await?;
        let name = format!("run-{n}");
        let began = Instant::now();
        create(&client, job_run(&name)).await?;
        until(
            &client,
            "JobRun",
            [name.clone()].into(),
            &["Complete", "Failed"],
        )
        .await?;
        best = best.min(began.elapsed());
        require_records(&client, &name).await?;
    }
    Ok(best)
}

/// Every host has a row that says Succeeded.
async fn require_records(client: &Client, run: &str) -> Result<()> {
    let path = format!(
        "/apis/records.pilothouse.dev/v1alpha1/namespaces/{NAMESPACE}/executions?labelSelector=pilothouse.dev/run={run}&limit=1000"
    );
    let request = http::Request::get(path).body(Vec::new())?;
    let mut answer = Vec::new();
    pin!(client.request_stream(request).await?)
        .read_to_end(&mut answer)
        .await?;
    let list: Value = serde_json::from_slice(&answer)?;
    let rows = list["items"].as_array().into_iter().flatten();
    let succeeded = rows.filter(|row| row["execution"]["state"] == "Succeeded");
    match succeeded.count() {
        FEW => Ok(()),
        other => Err(format!("{other} of {FEW} hosts succeeded in {run}").into()),
    }
}

/// Follows the objects of a kind until each of these names has one of the conditions.
async fn until(
    client: &Client,
    kind: &str,
    mut names: HashSet<String>,
    conditions: &[&str],
) -> Result<()> {
    let resource = resource("pilothouse.dev", kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    let changes = watcher(api, watcher::Config::default()).default_backoff();
    let mut changes = pin!(changes.applied_objects());
    let all = async {
        while !names.is_empty() {
            let object = changes.next().await.ok_or("the watch ended")??;
            if conditions.iter().any(|c| is_true(&object, c)) {
                names.remove(&object.name_any());
            }
        }
        Ok(())
    };
    let waited = timeout(PATIENCE, all).await;
    waited
        .unwrap_or_else(|_| Err(format!("{} of {kind} are not {conditions:?}", names.len()).into()))
}

fn is_true(object: &DynamicObject, condition: &str) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == condition && c["status"] == "True")
}

fn key(fixture: &Fixture) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "pilothouse.dev/ssh",
        "stringData": {"ssh-privatekey": fixture.user_key, "addresses": "127.0.0.0/8"}})
}

fn host_name(n: usize) -> String {
    format!("host-{n:03}")
}

fn host(fixture: &Fixture, port: u16, n: usize) -> Value {
    json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "Host", "metadata": {"name": host_name(n), "labels": {"app": "web"}},
        "spec": {"type": "VirtualMachine", "address": Fixture::host(n), "port": port, "credentialsRef": {"name": "key"},
            "hostKeys": [fixture.host_key.trim()]}})
}

fn job_run(name: &str) -> Value {
    json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "JobRun", "metadata": {"name": name}, "spec": {"job": {
        "targets": {"hosts": {"selector": {"matchLabels": {"app": "web"}}}},
        "strategy": {"maxParallel": FEW},
        "steps": [{"name": "one", "inline": {"content": "true"}}]}}})
}

fn resource(group: &str, kind: &str) -> ApiResource {
    let version = match group {
        "pilothouse.dev" => "v1alpha1",
        _ => "v1",
    };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

async fn create(client: &Client, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.as_ref().ok_or("an object has types")?;
    let group = types
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    let resource = resource(group, &types.kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}
