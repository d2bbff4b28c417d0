//! Finding an object of any kind.

use crds::execution::TargetKind;
use kube::{
    Api, Client, ResourceExt as _,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{self, Scope},
};

use super::{Error, Task};

/// A kind of objects as the API server serves it.
#[derive(Clone, Debug)]
pub struct Kind {
    resource: ApiResource,
    namespaced: bool,
}

/// Asks the API server for a kind.
pub async fn kind(client: &Client, api_version: &str, kind: &str) -> Result<Kind, Error> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let wanted = GroupVersionKind::gvk(group, version, kind);
    match discovery::pinned_kind(client, &wanted).await {
        Ok((resource, capabilities)) => Ok(Kind {
            resource,
            namespaced: capabilities.scope == Scope::Namespaced,
        }),
        Err(kube::Error::Discovery(_)) => Err(Error::NoKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        }),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(Error::NoKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        }),
        Err(source) => Err(Error::Request {
            verb: "look up",
            what: format!("kind {kind}"),
            source,
        }),
    }
}

/// An object by its name; of the namespace, where its kind has one.
pub async fn look(
    client: &Client,
    kind: &Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<DynamicObject>, Error> {
    let api = if kind.namespaced {
        Api::namespaced_with(client.clone(), namespace, &kind.resource)
    } else {
        Api::all_with(client.clone(), &kind.resource)
    };
    api.get_opt(name).await.map_err(|source| Error::Request {
        verb: "read",
        what: format!("{} {name}", kind.resource.kind),
        source,
    })
}

/// The objects that a task is about.
pub(super) fn api(client: &Client, task: &Task) -> Api<DynamicObject> {
    let resource = |group, plural: &str, kind: &str| {
        let gvk = GroupVersionKind::gvk(group, "v1", kind);
        ApiResource::from_gvk_with_plural(&gvk, plural)
    };
    let resource = match task.kind {
        TargetKind::Deployment => resource("apps", "deployments", "Deployment"),
        TargetKind::StatefulSet => resource("apps", "statefulsets", "StatefulSet"),
        TargetKind::DaemonSet => resource("apps", "daemonsets", "DaemonSet"),
        TargetKind::Pod => resource("", "pods", "Pod"),
        TargetKind::Node | TargetKind::Host | TargetKind::None => {
            return Api::all_with(client.clone(), &resource("", "nodes", "Node"));
        }
    };
    Api::namespaced_with(client.clone(), &task.namespace, &resource)
}

/// What the task calls its object.
pub(super) fn what(task: &Task) -> String {
    format!("{:?} {}", task.kind, task.name)
}

/// The task's object, if it is still the one that was planned with. A node that a Host names is known by its name.
pub(super) async fn of_task(client: &Client, task: &Task) -> Result<DynamicObject, Error> {
    let found = api(client, task).get(&task.name).await;
    let found = found.map_err(|source| Error::Request {
        verb: "read",
        what: what(task),
        source,
    })?;
    if task.kind != TargetKind::Host && found.uid().as_deref() != Some(&task.uid) {
        return Err(Error::Changed { what: what(task) });
    }
    Ok(found)
}
