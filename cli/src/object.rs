//! An object as it is typed, KIND/NAME: by the names under which the API server serves its kind, as kubectl takes them.

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResource, APIResourceList};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};

use crate::{
    cluster::Cluster,
    error::{Error, Result, doing},
};

/// One object, of a kind that is served.
pub struct Named {
    pub kind: ApiResource,
    pub name: String,
    /// Empty where its kind has none.
    pub namespace: String,
    client: kube::Client,
}

impl Named {
    /// Looks up what is meant.
    pub async fn typed(cluster: &Cluster, typed: &str) -> Result<Self> {
        let unknown = || Error::NoObject(typed.to_owned());
        let (kind, name) = typed.rsplit_once('/').ok_or_else(unknown)?;
        let (kind, group) = match kind.split_once('.') {
            Some((kind, group)) => (kind, Some(group)),
            None => (kind, None),
        };
        if kind.is_empty() || name.is_empty() {
            return Err(unknown());
        }
        let (kind, is_namespaced) = served(cluster, kind, group).await?.ok_or_else(unknown)?;
        Ok(Self {
            kind,
            name: name.to_owned(),
            namespace: if is_namespaced {
                cluster.namespace.clone()
            } else {
                String::new()
            },
            client: cluster.client.clone(),
        })
    }

    pub fn api(&self) -> Api<DynamicObject> {
        let client = self.client.clone();
        if self.namespace.is_empty() {
            return Api::all_with(client, &self.kind);
        }
        Api::namespaced_with(client, &self.namespace, &self.kind)
    }

    /// Its resource with the group, and its name.
    pub fn title(&self) -> String {
        let (plural, name) = (&self.kind.plural, &self.name);
        if self.kind.group.is_empty() {
            return format!("{plural}/{name}");
        }
        format!("{plural}.{}/{name}", self.kind.group)
    }
}

/// The first kind of that name, those of the core first; a group that does not answer has none.
async fn served(
    cluster: &Cluster,
    kind: &str,
    group: Option<&str>,
) -> Result<Option<(ApiResource, bool)>> {
    let client = &cluster.client;
    if group.is_none() {
        let core = client.list_core_api_resources("v1").await;
        let core = core.map_err(doing("list what the API server serves"))?;
        if let Some(found) = among(&core, kind) {
            return Ok(Some(found));
        }
    }
    let groups = client.list_api_groups().await;
    let groups = groups.map_err(doing("list what the API server serves"))?;
    let preferred = |found: &APIGroup| {
        let is_meant = group.is_none_or(|group| group == found.name);
        let version = found.preferred_version.as_ref().or(found.versions.first());
        version
            .filter(|_| is_meant)
            .map(|v| v.group_version.clone())
    };
    let versions: Vec<String> = groups.groups.iter().filter_map(preferred).collect();
    let lists = versions.iter().map(|v| client.list_api_group_resources(v));
    let lists = join_all(lists).await;
    Ok(lists.iter().flatten().find_map(|list| among(list, kind)))
}

fn among(list: &APIResourceList, kind: &str) -> Option<(ApiResource, bool)> {
    let kind = kind.to_lowercase();
    let is_meant = |one: &&APIResource| {
        let short = one.short_names.iter().flatten();
        !one.name.contains('/')
            && (one.name == kind
                || one.singular_name == kind
                || one.kind.to_lowercase() == kind
                || short.into_iter().any(|short| *short == kind))
    };
    let found = list.resources.iter().find(is_meant)?;
    let (group, version) = match list.group_version.split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", list.group_version.as_str()),
    };
    let gvk = GroupVersionKind::gvk(group, version, &found.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, &found.name);
    Some((resource, found.namespaced))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_goes_by_all_names_that_kubectl_takes() {
        let list = json!({"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [
            {"name": "deployments/scale", "singularName": "", "namespaced": true, "kind": "Scale", "verbs": []},
            {"name": "deployments", "singularName": "deployment", "namespaced": true, "kind": "Deployment", "verbs": [], "shortNames": ["deploy"]}]});
        let list: APIResourceList = serde_json::from_value(list).expect("a list");
        for typed in ["deployments", "deployment", "Deployment", "deploy"] {
            let (kind, is_namespaced) = among(&list, typed).expect(typed);
            assert_eq!(
                (&*kind.group, &*kind.version, &*kind.plural, is_namespaced),
                ("apps", "v1", "deployments", true)
            );
        }
        for typed in ["scale", "dep", "deployments/scale"] {
            assert!(among(&list, typed).is_none(), "{typed}");
        }
    }
}
