//! What Parameters keep, as a run would read it, with the caller's own rights.

use crds::{
    names::LABEL_PARAMETER,
    v1alpha1::{JobSpec, Parameter, ParameterRef},
};
use decide::kept::{self, Kept, Store, Version};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt as _;

use crate::{
    cluster::Cluster,
    error::{Result, doing},
    parameters::Given,
};

/// Parameters that a Job's values come from, and those that are given to its run.
pub async fn of_run(cluster: &Cluster, job: &JobSpec, given: &Given) -> Result<Store> {
    let mut store = Store::new();
    let given = given.values().refs;
    read(cluster, given.values().chain(kept::named(job)), &mut store).await?;
    Ok(store)
}

/// Reads those that are not there yet; what does not exist stays away.
pub async fn read(
    cluster: &Cluster,
    named: impl Iterator<Item = &ParameterRef>,
    store: &mut Store,
) -> Result<()> {
    for of in named {
        if !store.contains_key(of)
            && let Some(kept) = one(cluster, of).await?
        {
            store.insert(of.clone(), kept);
        }
    }
    Ok(())
}

async fn one(cluster: &Cluster, of: &ParameterRef) -> Result<Option<Kept>> {
    let parameter = cluster.api::<Parameter>().get_opt(&of.name).await;
    let parameter = parameter.map_err(doing(format!("read Parameter {}", of.name)))?;
    let Some(parameter) = parameter else {
        return Ok(None);
    };
    let latest = kept::latest(&parameter);
    let Some(number) = of.version.filter(|_| of.version != latest.version) else {
        return Ok(Some(latest));
    };
    let name = kept::revision_name(&of.name, &parameter.uid().unwrap_or_default(), number);
    let version = version(cluster, &name).await?;
    Ok(version.map(|version| Kept {
        value: version.held(),
        version: Some(number),
    }))
}

/// What a revision says.
pub async fn version(cluster: &Cluster, name: &str) -> Result<Option<Version>> {
    let found = cluster.api::<ControllerRevision>().get_opt(name).await;
    let found = found.map_err(doing(format!("read ControllerRevision {name}")))?;
    let own = found.filter(|r| r.labels().contains_key(LABEL_PARAMETER));
    Ok(own.and_then(|r| serde_json::from_value(r.data?.0).ok()))
}
