//! Workloads: scaled, restarted, taken back to their last pod template, and looked at until they are what they should be.

use std::sync::atomic::Ordering;

use crds::{
    execution::TargetKind,
    v1alpha1::{Rollout, Scale},
};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{Error, Progress, Task, at, look, meta, number};

/// What kubectl rollout restart writes, and every tool reads.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const REVISION: &str = "deployment.kubernetes.io/revision";
/// The operation that changed the pod template last, so that each changes it once, whatever others do to it since.
const ROLLED_BY: &str = "pilothouse.dev/rolled-out-by";

pub async fn scale(
    client: &Client,
    task: &Task,
    found: &DynamicObject,
    scale: &Scale,
) -> Result<Progress, Error> {
    let wanted = i64::from(scale.replicas);
    if number(found, "/spec/replicas") != wanted && !task.scaled.load(Ordering::Relaxed) {
        let patch = json!({"spec": {"replicas": wanted}});
        let sent = look::api(client, task)
            .patch_scale(&task.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        sent.map_err(|source| Error::Request {
            verb: "scale",
            what: look::what(task),
            source,
        })?;
        task.scaled.store(true, Ordering::Relaxed);
        return Ok(waiting_or_done(
            task,
            scale.wait,
            format!("{wanted} replicas are asked for"),
        ));
    }
    let there = number(found, "/status/replicas");
    let ready = number(found, "/status/readyReplicas");
    let settled = is_observed(found) && there == wanted && ready == wanted;
    if settled || !scale.wait {
        return Ok(Progress::Done(format!(
            "{} has {wanted} replicas",
            look::what(task)
        )));
    }
    Ok(Progress::Waiting(format!(
        "{ready} of {wanted} replicas are ready"
    )))
}

fn waiting_or_done(task: &Task, wait: bool, said: String) -> Progress {
    if wait {
        Progress::Waiting(said)
    } else {
        Progress::Done(format!("{}: {said}", look::what(task)))
    }
}

pub async fn restart(
    client: &Client,
    task: &Task,
    found: &DynamicObject,
    rollout: &Rollout,
) -> Result<Progress, Error> {
    if found.annotations().get(ROLLED_BY) == Some(&task.mark) {
        return rolled_out(task, found, rollout);
    }
    let template = json!({"metadata": {"annotations": {RESTARTED_AT: task.began.to_string()}}});
    let metadata = json!({"uid": task.uid, "annotations": {ROLLED_BY: task.mark}});
    let patch = json!({"metadata": metadata, "spec": {"template": template}});
    meta::send(client, task, &patch).await?;
    Ok(waiting_or_done(
        task,
        rollout.wait,
        "its pods are being replaced".into(),
    ))
}

pub async fn undo(
    client: &Client,
    task: &Task,
    found: &DynamicObject,
    rollout: &Rollout,
) -> Result<Progress, Error> {
    if found.annotations().get(ROLLED_BY) == Some(&task.mark) {
        return rolled_out(task, found, rollout);
    }
    let template = last_template(client, task, found).await?;
    // The template as a whole takes the place of the present one, if that is still the one that was looked at.
    let patch: json_patch::Patch = serde_json::from_value(json!([
        {"op": "replace", "path": "/metadata/resourceVersion", "value": found.resource_version()},
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": format!("/metadata/annotations/{}", ROLLED_BY.replace('/', "~1")), "value": task.mark},
    ]))
    .expect("a patch of its own making");
    let sent = look::api(client, task)
        .patch(
            &task.name,
            &PatchParams::default(),
            &Patch::<()>::Json(patch),
        )
        .await;
    sent.map_err(|source| Error::Request {
        verb: "patch",
        what: look::what(task),
        source,
    })?;
    Ok(waiting_or_done(
        task,
        rollout.wait,
        "the pod template before is back".into(),
    ))
}

/// The pod template of the revision before the present one.
async fn last_template(
    client: &Client,
    task: &Task,
    found: &DynamicObject,
) -> Result<Value, Error> {
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &task.namespace);
    let sets = sets.list(&ListParams::default()).await;
    let sets = sets.map_err(|source| Error::Request {
        verb: "list",
        what: format!("the ReplicaSets of {}", look::what(task)),
        source,
    })?;
    let revision = |annotations: &std::collections::BTreeMap<String, String>| {
        annotations
            .get(REVISION)
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let present = revision(found.annotations());
    let own = |set: &&ReplicaSet| {
        let owners = set.owner_references();
        owners.iter().any(|owner| owner.uid == task.uid) && revision(set.annotations()) < present
    };
    let last = sets
        .iter()
        .filter(own)
        .max_by_key(|set| revision(set.annotations()));
    let template = last.and_then(|set| set.spec.as_ref()?.template.clone());
    let mut template = serde_json::to_value(template.ok_or_else(|| Error::NoRevision {
        what: look::what(task),
    })?)
    .expect("a pod template is plain data");
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove("pod-template-hash");
    }
    Ok(template)
}

fn is_observed(found: &DynamicObject) -> bool {
    number(found, "/status/observedGeneration") >= found.metadata.generation.unwrap_or(0)
}

/// How far the pods are with the present template, as kubectl rollout status judges it.
fn rolled_out(task: &Task, found: &DynamicObject, rollout: &Rollout) -> Result<Progress, Error> {
    let what = look::what(task);
    if !rollout.wait {
        return Ok(Progress::Done(format!("{what} is rolling out")));
    }
    let n = |path: &str| number(found, &format!("/status/{path}"));
    let (updated, available, total, wanted) = if task.kind == TargetKind::DaemonSet {
        let wanted = n("desiredNumberScheduled");
        (
            n("updatedNumberScheduled"),
            n("numberAvailable"),
            wanted,
            wanted,
        )
    } else {
        (
            n("updatedReplicas"),
            n("availableReplicas"),
            n("replicas"),
            number(found, "/spec/replicas"),
        )
    };
    if is_observed(found) && updated == wanted && available == wanted && total == wanted {
        return Ok(Progress::Done(format!(
            "{what} has rolled out: {wanted} pods"
        )));
    }
    let conditions = at(found, "/status/conditions").and_then(Value::as_array);
    let mut late = conditions
        .into_iter()
        .flatten()
        .filter(|c| c["reason"] == "ProgressDeadlineExceeded");
    if let Some(late) = late.next().filter(|_| is_observed(found)) {
        let message = late["message"].as_str().unwrap_or_default().to_owned();
        return Err(Error::Stuck { what, message });
    }
    Ok(Progress::Waiting(format!(
        "{updated} of {wanted} pods have the template, {available} are available"
    )))
}
