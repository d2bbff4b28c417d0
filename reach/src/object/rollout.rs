//! Workloads: scaled, restarted, taken back to their last pod template, and looked at until they are what they should be.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use crds::{
    execution::TargetKind,
    v1alpha1::{Rollout, Scale},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::apps::v1::{ControllerRevision, ReplicaSet},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde::de::DeserializeOwned;
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
    if !is_observed(found) {
        return Ok(Progress::Waiting(
            "its controller has not seen the present template yet".into(),
        ));
    }
    let template = last_template(client, task, found).await?;
    let mark = if found.annotations().is_empty() {
        json!({"op": "add", "path": "/metadata/annotations", "value": {ROLLED_BY: task.mark}})
    } else {
        json!({"op": "add", "path": format!("/metadata/annotations/{}", ROLLED_BY.replace('/', "~1")), "value": task.mark})
    };
    // The template as a whole takes the place of the present one, if that is still the one that was looked at.
    let patch: json_patch::Patch = serde_json::from_value(json!([
        {"op": "replace", "path": "/metadata/resourceVersion", "value": found.resource_version()},
        {"op": "replace", "path": "/spec/template", "value": template},
        mark,
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
    let kept = if task.kind == TargetKind::Deployment {
        let present = revision(found.annotations());
        let mut kept = sets(client, task).await?;
        kept.retain(|(number, _)| *number < present);
        kept
    } else {
        let mut kept = revisions(client, task).await?;
        kept.sort_by_key(|(number, _)| *number);
        kept.pop();
        kept
    };
    let last = kept.into_iter().max_by_key(|(number, _)| *number);
    let template = last.and_then(|(_, template)| template);
    template.ok_or_else(|| Error::NoRevision {
        what: look::what(task),
    })
}

/// A kept pod template, by the number of its revision.
type Kept = (i64, Option<Value>);

fn revision(annotations: &BTreeMap<String, String>) -> i64 {
    let number = annotations.get(REVISION);
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A Deployment keeps its templates as ReplicaSets.
async fn sets(client: &Client, task: &Task) -> Result<Vec<Kept>, Error> {
    let template = |set: ReplicaSet| {
        let number = revision(set.annotations());
        let template = set.spec.and_then(|spec| spec.template);
        let template = template.map(|mut template| {
            let labels = template.metadata.as_mut().and_then(|m| m.labels.as_mut());
            labels.map(|labels| labels.remove("pod-template-hash"));
            serde_json::to_value(template).expect("a pod template is plain data")
        });
        (number, template)
    };
    let sets = own::<ReplicaSet>(client, task, "ReplicaSets").await?;
    Ok(sets.into_iter().map(template).collect())
}

/// The others keep theirs as ControllerRevisions, as the patch that brings them back.
async fn revisions(client: &Client, task: &Task) -> Result<Vec<Kept>, Error> {
    let template = |kept: ControllerRevision| {
        let data = kept.data.map(|raw| raw.0).unwrap_or_default();
        let template = data.pointer("/spec/template").cloned();
        let template = template.map(|mut template| {
            let fields = template.as_object_mut();
            fields.map(|fields| fields.remove("$patch"));
            template
        });
        (kept.revision, template)
    };
    let kept = own::<ControllerRevision>(client, task, "ControllerRevisions").await?;
    Ok(kept.into_iter().map(template).collect())
}

/// What the workload owns of a kind.
async fn own<K>(client: &Client, task: &Task, kinds: &str) -> Result<Vec<K>, Error>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let all = Api::<K>::namespaced(client.clone(), &task.namespace);
    let all = all.list(&ListParams::default()).await;
    let mut all = all.map_err(|source| Error::Request {
        verb: "list",
        what: format!("the {kinds} of {}", look::what(task)),
        source,
    })?;
    let is_own = |object: &K| object.owner_references().iter().any(|o| o.uid == task.uid);
    all.items.retain(is_own);
    Ok(all.items)
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
