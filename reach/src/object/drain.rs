//! Nodes: cordoned, uncordoned, and emptied of the pods that can be elsewhere.

use crds::v1alpha1::Drain;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams, core::DynamicObject};
use serde_json::json;

use super::{Error, Progress, Task, at, meta, pod};

/// Evictions that are asked for at once.
const AT_ONCE: usize = 8;
/// What kubelet marks pods with that come from its own disk and cannot be evicted.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Keeps new pods off the node, or lets them on again.
pub async fn cordon(
    client: &Client,
    task: &Task,
    node: &DynamicObject,
    cordoned: bool,
) -> Result<Progress, Error> {
    let now = at(node, "/spec/unschedulable").is_some_and(|value| value == true);
    if now != cordoned {
        let patch = json!({"metadata": {"uid": node.uid()}, "spec": {"unschedulable": cordoned}});
        meta::send(client, task, &patch).await?;
    }
    let word = if cordoned { "cordoned" } else { "uncordoned" };
    Ok(Progress::Done(format!("node {} is {word}", task.name)))
}

/// Cordons the node and evicts what is on it, unless something on it would be lost.
pub async fn drain(
    client: &Client,
    task: &Task,
    node: &DynamicObject,
    options: &Drain,
) -> Result<Progress, Error> {
    let pods = on_node(client, &task.name).await?;
    for pod in &pods {
        spared(pod, options)?;
    }
    cordon(client, task, node, true).await?;
    let grace = options.grace_period.map(crds::v1alpha1::Duration::get);
    let names = pods.iter().map(|pod| {
        (
            pod.namespace().unwrap_or_default(),
            pod.name_any(),
            pod.uid().unwrap_or_default(),
        )
    });
    let names: Vec<_> = names.collect();
    let evictions = names.into_iter().map(|(namespace, name, uid)| {
        let client = client.clone();
        async move { pod::evicted(&client, &namespace, &name, &uid, grace).await }
    });
    let all: Vec<_> = stream::iter(evictions).buffered(AT_ONCE).collect().await;
    let mut left = Vec::new();
    for evicted in all {
        if let Progress::Waiting(said) = evicted? {
            left.push(said);
        }
    }
    Ok(match left.first() {
        None => Progress::Done(format!("node {} is drained", task.name)),
        Some(first) => {
            Progress::Waiting(format!("{} pods are left on the node: {first}", left.len()))
        }
    })
}

/// The pods on a node that can be elsewhere.
async fn on_node(client: &Client, node: &str) -> Result<Vec<Pod>, Error> {
    let here = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = Api::<Pod>::all(client.clone()).list(&here).await;
    let pods = pods.map_err(|source| Error::Request {
        verb: "list",
        what: format!("the pods on node {node}"),
        source,
    })?;
    let stays = |pod: &Pod| {
        pod.annotations().contains_key(MIRROR)
            || controller(pod).is_some_and(|kind| kind == "DaemonSet")
    };
    Ok(pods.items.into_iter().filter(|pod| !stays(pod)).collect())
}

fn controller(pod: &Pod) -> Option<&str> {
    let owners = pod.owner_references().iter();
    let owner = owners
        .into_iter()
        .find(|owner| owner.controller == Some(true));
    owner.map(|owner| owner.kind.as_str())
}

/// Refuses to lose what nothing brings back.
fn spared(pod: &Pod, options: &Drain) -> Result<(), Error> {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let named = || {
        format!(
            "pod {}/{}",
            pod.namespace().unwrap_or_default(),
            pod.name_any()
        )
    };
    if matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    if !options.force && controller(pod).is_none() {
        return Err(Error::Uncontrolled { pod: named() });
    }
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let mut volumes = volumes.into_iter();
    if !options.delete_empty_dir_data && volumes.any(|volume| volume.empty_dir.is_some()) {
        return Err(Error::LocalData { pod: named() });
    }
    Ok(())
}
