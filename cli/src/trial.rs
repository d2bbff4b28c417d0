//! Doing something without doing it: the API server answers as it would, with everything that it asks on the way, and nothing comes of it.

use clap::ValueEnum;
use crds::v1alpha1::ProtectedOperation;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    cluster::Cluster,
    error::{Error, Result, doing, status},
    object::Named,
};

/// What no object has, so that an update is one: what changes nothing is not judged.
const MARK: &str = "pilothouse.dev/can-i-change";

/// What is done to an object.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Operation {
    Update,
    Delete,
    Scale,
    Evict,
    Exec,
    Attach,
    PortForward,
    EphemeralContainers,
}

impl From<Operation> for ProtectedOperation {
    fn from(typed: Operation) -> Self {
        match typed {
            Operation::Update => Self::Update,
            Operation::Delete => Self::Delete,
            Operation::Scale => Self::Scale,
            Operation::Evict => Self::Evict,
            Operation::Exec => Self::Exec,
            Operation::Attach => Self::Attach,
            Operation::PortForward => Self::PortForward,
            Operation::EphemeralContainers => Self::EphemeralContainers,
        }
    }
}

/// What the API server answered: nothing against it, or why not. None where it has no way to be asked, since a dry run of it would open what it asks for.
pub async fn trial(
    cluster: &Cluster,
    object: &Named,
    operation: ProtectedOperation,
) -> Result<Option<Result<(), String>>> {
    use ProtectedOperation as Op;
    let (api, name) = (object.api(), &object.name);
    let patch = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let tried = match operation {
        Op::Delete => {
            let delete = DeleteParams::default().dry_run();
            api.delete(name, &delete).await.map(drop)
        }
        Op::Update => {
            let mark = json!({"metadata": {"annotations": {MARK: "dry run"}}});
            api.patch(name, &patch, &Patch::Merge(mark)).await.map(drop)
        }
        Op::Scale => match api.get_scale(name).await {
            Ok(scale) => {
                let now = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                let more = json!({"spec": {"replicas": now.saturating_add(1)}});
                let scaled = api.patch_scale(name, &patch, &Patch::Merge(more)).await;
                scaled.map(drop)
            }
            Err(error) => Err(error),
        },
        Op::Evict => {
            let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &object.namespace);
            let evict = EvictParams {
                delete_options: Some(DeleteParams::default().dry_run()),
                post_options: PostParams {
                    dry_run: true,
                    ..PostParams::default()
                },
            };
            pods.evict(name, &evict).await.map(drop)
        }
        Op::Create | Op::Exec | Op::Attach | Op::PortForward | Op::EphemeralContainers => {
            return Ok(None);
        }
    };
    answered(object, operation, tried).map(Some)
}

/// Not there, not now and not understood are no answers.
fn answered(
    object: &Named,
    operation: ProtectedOperation,
    tried: Result<(), kube::Error>,
) -> Result<Result<(), String>> {
    let Err(error) = tried else {
        return Ok(Ok(()));
    };
    match (status(&error), error) {
        (Some(403 | 409 | 422 | 429), kube::Error::Api(status)) => Ok(Err(status.message)),
        (Some(404), _) => Err(Error::NoObject(object.title())),
        (_, error) => {
            let what = format!("try {operation:?} on {}", object.title());
            Err(doing(what)(error))
        }
    }
}
