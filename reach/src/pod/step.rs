//! A step as a pod of its own: exactly once by its name, attachable by anyone who knows the key, its result kept by a finalizer until it is released.
//!
//! Start it, follow it to its end, store the outcome, release it. Each of these may be repeated by another process at any time. Who removes the finalizer by hand removes the promise.

use std::time::Duration;

use crds::names::{ANNOTATION_EFFECT, FINALIZER_RESULT, LABEL_RELEASED, LABEL_RUN, LABEL_RUN_UID};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};

use super::{
    StepPod,
    error::{Error, Refusal},
};

/// A step pod in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// When it was created, by the clock of the API server.
    pub created_at: Timestamp,
    /// True when an earlier request created it.
    pub attached: bool,
    /// How long after its creation the container may take to start.
    pub delivery: Duration,
    /// How long it may run.
    pub execution: Duration,
}

/// Creates the pod, or finds the one that an earlier start of the same key created.
pub async fn start(client: &Client, step: &StepPod) -> Result<Placed, Error> {
    let pods = Api::<Pod>::namespaced(client.clone(), &step.namespace);
    match pods.create(&PostParams::default(), &step.manifest()).await {
        Ok(pod) => placed(&pod, step, false),
        Err(error) => match Refusal(error) {
            taken if taken.code() == Some(409) => attach(client, step)
                .await?
                .ok_or_else(|| Error::Vanished { name: step.name() }),
            source => Err(Error::Create {
                name: step.name(),
                source,
            }),
        },
    }
}

/// Finds the pod that an earlier start of the same key created, and never creates one.
pub async fn attach(client: &Client, step: &StepPod) -> Result<Option<Placed>, Error> {
    let name = step.name();
    let pods = Api::<Pod>::namespaced(client.clone(), &step.namespace);
    let found = pods.get_opt(&name).await;
    let found = found.map_err(|error| Error::Read {
        name: name.clone(),
        source: Refusal(error),
    })?;
    let Some(pod) = found else { return Ok(None) };
    if pod.annotations().get(ANNOTATION_EFFECT) != Some(&step.key.digest()) {
        let run = pod
            .labels()
            .get(LABEL_RUN)
            .map(|run| format!("the run {run}"));
        let holder = run.unwrap_or_else(|| "somebody else".to_owned());
        return Err(Error::NameTaken { name, holder });
    }
    placed(&pod, step, true).map(Some)
}

fn placed(pod: &Pod, step: &StepPod, attached: bool) -> Result<Placed, Error> {
    let name = step.name();
    let (Some(uid), Some(created)) = (pod.uid(), pod.creation_timestamp()) else {
        return Err(Error::Vanished { name });
    };
    Ok(Placed {
        namespace: step.namespace.clone(),
        name,
        uid,
        created_at: created.0,
        attached,
        delivery: step.delivery,
        execution: step.execution,
    })
}

/// Asks for the pod's end: its program gets TERM and, after the grace period, KILL. The pod stays until it is released; asking twice is as asking once.
pub async fn cancel(client: &Client, placed: &Placed) -> Result<(), Error> {
    let preconditions = Preconditions {
        uid: Some(placed.uid.clone()),
        resource_version: None,
    };
    let params = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::background()
    };
    let pods = Api::<Pod>::namespaced(client.clone(), &placed.namespace);
    match pods.delete(&placed.name, &params).await.map_err(Refusal) {
        Ok(_) => Ok(()),
        Err(gone) if is_gone(&gone) => Ok(()),
        Err(source) => Err(Error::Delete {
            name: placed.name.clone(),
            source,
        }),
    }
}

/// Lets go of the pod once its result is safe elsewhere; whoever sweeps then deletes it.
pub async fn release(client: &Client, placed: &Placed) -> Result<(), Error> {
    let pods = Api::<Pod>::namespaced(client.clone(), &placed.namespace);
    let released = json!({LABEL_RELEASED: "true"});
    let_go(&pods, &placed.name, Some(&placed.uid), &released).await
}

/// Deletes all pods of a namespace that were let go of: in one request, or each by itself where the account has no right to that.
pub async fn sweep(client: &Client, namespace: &str) -> Result<(), Error> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let (now, released) = (
        DeleteParams::background(),
        ListParams::default().labels(&format!("{LABEL_RELEASED}=true")),
    );
    let failed = |source| Error::Delete {
        name: "those that were let go of".to_owned(),
        source: Refusal(source),
    };
    match pods.delete_collection(&now, &released).await {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        swept => return swept.map(drop).map_err(failed),
    }
    for pod in pods.list_metadata(&released).await.map_err(failed)?.items {
        match pods.delete(&pod.name_any(), &now).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            gone => gone.map(drop).map_err(failed)?,
        }
    }
    Ok(())
}

/// Lets go of all pods of a run, by whoever may patch pods there. They are left running: their owner's removal takes them along.
pub async fn release_all(client: &Client, namespace: &str, run_uid: &str) -> Result<(), Error> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let of_run = ListParams::default().labels(&format!("{LABEL_RUN_UID}={run_uid}"));
    let found = pods.list(&of_run).await.map_err(|source| Error::Read {
        name: format!("of run {run_uid}"),
        source: Refusal(source),
    })?;
    let held = |pod: &&Pod| pod.finalizers().iter().any(|f| f == FINALIZER_RESULT);
    for pod in found.items.iter().filter(held) {
        let_go(&pods, &pod.name_any(), pod.uid().as_deref(), &json!({})).await?;
    }
    Ok(())
}

/// Removes our finalizer; with the UID in the patch a namesake is refused as a conflict.
async fn let_go(
    pods: &Api<Pod>,
    name: &str,
    uid: Option<&str>,
    labels: &Value,
) -> Result<(), Error> {
    let patch = json!({"metadata": {
        "uid": uid,
        "labels": labels,
        "$deleteFromPrimitiveList/finalizers": [FINALIZER_RESULT],
    }});
    let patched = pods
        .patch(name, &PatchParams::default(), &Patch::Strategic(patch))
        .await;
    match patched.map_err(Refusal) {
        Ok(_) => Ok(()),
        Err(gone) if is_gone(&gone) => Ok(()),
        Err(source) => Err(Error::Release {
            name: name.to_owned(),
            source,
        }),
    }
}

/// Not there, or another pod by now.
fn is_gone(refusal: &Refusal) -> bool {
    matches!(refusal.code(), Some(404 | 409))
}
