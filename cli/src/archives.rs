//! Objects that the cluster no longer holds, from the archive in records.

use crds::v1alpha1::{ChangeTicket, JobRun};
use jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    cluster::Cluster,
    error::{Error, Result, doing, status},
};

/// A run that is there or was: the latest of its name, where the cluster holds none.
pub async fn run(cluster: &Cluster, name: &str) -> Result<JobRun> {
    let there = cluster.run(name).await;
    or_kept(cluster, there, "JobRun", name).await
}

/// A ticket that is there or was, as a run.
pub async fn ticket(cluster: &Cluster, name: &str) -> Result<ChangeTicket> {
    let there = cluster.get("ChangeTicket", name).await;
    or_kept(cluster, there, "ChangeTicket", name).await
}

/// What is there, or the latest that is kept of its name; as it was found where nothing is.
async fn or_kept<K: DeserializeOwned>(
    cluster: &Cluster,
    there: Result<K>,
    kind: &str,
    name: &str,
) -> Result<K> {
    if !matches!(there, Err(Error::NotFound { .. })) {
        return there;
    }
    let what = format!("{kind} {name} in the archive");
    let resource = GroupVersionKind::gvk("records.pilothouse.dev", "v1alpha1", "Archive");
    let resource = ApiResource::from_gvk_with_plural(&resource, "archives");
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let chosen = ListParams::default().fields(&format!("kind={kind},object={name}"));
    let found = match api.list(&chosen).await {
        Ok(found) => found.items,
        // Who may not look there, or has no such archive, hears what is known without it.
        Err(error) if matches!(status(&error), Some(403 | 404)) => return there,
        Err(error) => return Err(doing(format!("read {what}"))(error)),
    };
    let latest = found
        .into_iter()
        .max_by_key(|archive| finished(&archive.data));
    let Some(mut latest) = latest else {
        return there;
    };
    serde_json::from_value(latest.data["object"].take())
        .map_err(|source| Error::Answer { what, source })
}

fn finished(archive: &Value) -> Option<Timestamp> {
    archive["finishedAt"].as_str()?.parse().ok()
}
