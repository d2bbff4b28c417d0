//! 5,000 pods on 500 nodes as a cluster in earnest has them, and two runs that select among them.

use std::time::Duration;

use bench::{
    Result,
    stage::{self, put},
};
use crds::v1alpha1::{JobRun, condition_is_true};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;

pub const NAMESPACE: &str = "bench";
const PODS: usize = 5_000;
const NODES: usize = 500;
/// Every so-manyth pod is picked by the second run: 200 of them.
const PICK: usize = 25;
/// Images that a kubelet reports of its node.
const IMAGES: usize = 50;
const PATIENCE: Duration = Duration::from_mins(10);

/// Writes them all, each with the status that its kubelet would give it.
pub async fn gather(client: &Client) -> Result<()> {
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
    ]);
    stage::set(client, NAMESPACE, rules).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    stage::all((0..NODES).map(|n| written(&nodes, node(n), node_status(n)))).await?;
    let pods = (0..PODS).map(|n| written(&pods, pod(n), pod_status(n)));
    stage::all(pods).await.map(drop)
}

/// A run over all pods, which are more than one run may have.
pub async fn refused(client: &Client) -> Result<()> {
    let run = ended(client, "all", &json!({"app": "web"})).await?;
    let told = run
        .status
        .and_then(|status| status.message)
        .unwrap_or_default();
    if told.contains("5000") {
        Ok(())
    } else {
        Err(format!("the run over all pods was not refused for their number: {told}").into())
    }
}

/// A run over 200 of them, which is planned, started and recorded; that no node answers is told for each.
pub async fn carried_out(client: &Client) -> Result<()> {
    let run = ended(client, "some", &json!({"pick": "yes"})).await?;
    let targets = run.status.and_then(|status| status.targets);
    match targets.map(|targets| targets.total) {
        Some(200) => Ok(()),
        other => Err(format!("the run had {other:?} targets instead of 200").into()),
    }
}

async fn ended(client: &Client, name: &str, labels: &Value) -> Result<JobRun> {
    let runs: Api<JobRun> = Api::namespaced(client.clone(), NAMESPACE);
    let run = json!({"metadata": {"name": name}, "spec": {"job": {
        "targets": {"pods": {"selector": {"matchLabels": labels}}},
        "strategy": {"maxParallel": 200, "maxFailures": "100%"},
        "steps": [{"name": "one", "deliveryTimeout": "1s", "exec": {"command": ["true"], "container": "app"}}]}}});
    put(&runs, run).await?;
    let is_over = |run: Option<&JobRun>| run.is_some_and(JobRun::is_finished);
    let over = timeout(PATIENCE, await_condition(runs, name, is_over)).await??;
    let run = over.ok_or("the run is gone")?;
    let conditions = run
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    println!(
        "run {name}: complete {}",
        condition_is_true(conditions.unwrap_or_default(), "Complete")
    );
    Ok(run)
}

async fn written<K>(api: &Api<K>, object: Value, status: Value) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    put(api, object).await?;
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(&name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

fn node(n: usize) -> Value {
    let cidr = format!("10.{}.{}.0/24", 128 + n / 250, n % 250);
    json!({"metadata": {"name": format!("node-{n}"), "labels": {"kubernetes.io/hostname": format!("node-{n}"), "kubernetes.io/os": "linux"}},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})
}

fn node_status(n: usize) -> Value {
    let image = |i| json!({"names": [format!("registry.example/team-{i}/service-{i}:1.{i}.0")], "sizeBytes": 100_000_000});
    json!({
        "addresses": [{"type": "InternalIP", "address": format!("10.1.{}.{}", n / 250, n % 250 + 1)}, {"type": "Hostname", "address": format!("node-{n}")}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}],
        "images": (0..IMAGES).map(image).collect::<Vec<_>>(),
    })
}

fn pod(n: usize) -> Value {
    let variable = |i| json!({"name": format!("SETTING_{i}"), "value": format!("a value of setting {i} of the service")});
    let variables: Vec<Value> = (0..10).map(variable).collect();
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10});
    let container = |name: &str| {
        json!({"name": name, "image": "registry.example/team/service:1.2.3", "env": variables, "ports": [{"containerPort": 8080}],
            "livenessProbe": probe, "readinessProbe": probe,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}})
    };
    let pick = if n.is_multiple_of(PICK) { "yes" } else { "no" };
    json!({"metadata": {"name": format!("web-{n:04}"), "labels": {"app": "web", "pick": pick, "pod-template-hash": "5d4f8c7b9"}},
        "spec": {"serviceAccountName": "pilothouse-runner", "nodeName": format!("node-{}", n % NODES), "containers": [container("app"), container("sidecar")]}})
}

fn pod_status(n: usize) -> Value {
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"});
    let container = |name: &str| {
        json!({"name": name, "ready": true, "started": true, "restartCount": 0, "image": "registry.example/team/service:1.2.3",
            "imageID": format!("registry.example/team/service@sha256:{}", "0".repeat(64)), "containerID": format!("containerd://{}", "1".repeat(64)),
            "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}})
    };
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    json!({"phase": "Running", "podIP": format!("10.128.{}.{}", n / 250, n % 250 + 1), "startTime": "2026-01-02T03:04:05Z",
        "conditions": conditions,
        "containerStatuses": [container("app"), container("sidecar")]})
}
