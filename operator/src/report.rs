//! Writes a status: server-side, by one manager a controller, at the version that was observed, and only when it changed.

use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::error::{Error, Result};

/// Replaces the status of an object as it was observed, and gives the object as it is then, if it is still there; someone else's newer version is a conflict, and the turn is taken again.
pub async fn status<K, S>(
    client: &Client,
    object: &K,
    manager: &str,
    status: &S,
) -> Result<Option<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
    S: Serialize,
{
    let namespace = object.namespace().unwrap_or_default();
    let api = Api::namespaced(client.clone(), &namespace);
    status_of(&api, object, manager, status).await
}

/// The same of an object that is found through `api`.
pub async fn status_of<K, S>(
    api: &Api<K>,
    object: &K,
    manager: &str,
    status: &S,
) -> Result<Option<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    S: Serialize,
{
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": object.name_any(), "uid": object.uid(), "resourceVersion": object.resource_version()},
        "status": status,
    });
    let params = PatchParams::apply(manager).force();
    match api
        .patch_status(&object.name_any(), &params, &Patch::Apply(&patch))
        .await
    {
        Ok(object) => Ok(Some(object)),
        // The object is gone; nobody is left to read its status.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(None),
        Err(error) => Err(Error::Report(Box::new(error))),
    }
}
