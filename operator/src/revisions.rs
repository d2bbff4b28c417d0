//! Versions of an object: immutable ControllerRevisions that it owns and that bear its name as a label, which only the operator may write.

use crds::names;
use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
    core::NamespaceResourceScope,
};

use crate::error::{Result, acting, observing};

/// The versions of one object.
pub struct Revisions<'a, K> {
    api: Api<ControllerRevision>,
    of: &'a K,
    label: &'static str,
}

impl<'a, K> Revisions<'a, K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    pub fn new(client: &Client, of: &'a K, label: &'static str) -> Self {
        let namespace = of.namespace().unwrap_or_default();
        Self {
            api: Api::namespaced(client.clone(), &namespace),
            of,
            label,
        }
    }

    /// Those that are kept, the oldest first.
    pub async fn kept(&self) -> Result<Vec<ControllerRevision>> {
        let name = self.of.name_any();
        let label = format!("{}={}", self.label, names::label(&name));
        let list = self.api.list(&ListParams::default().labels(&label)).await;
        let what = || format!("revisions of {} {name}", K::kind(&()));
        let mut revisions = list.map_err(observing(what()))?.items;
        revisions.sort_by_key(|r| r.revision);
        Ok(revisions)
    }

    /// Keeps one more. A name that is taken is a conflict: somebody else was faster.
    pub async fn keep(
        &self,
        name: &str,
        number: i64,
        data: serde_json::Value,
    ) -> Result<ControllerRevision> {
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([(self.label.to_owned(), names::label(&self.of.name_any()))].into()),
                owner_references: self.of.controller_owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(data)),
            revision: number,
        };
        let created = self.api.create(&PostParams::default(), &revision).await;
        created.map_err(acting(format!("revision {name}")))
    }

    pub async fn forget(&self, revision: &ControllerRevision) -> Result<()> {
        let name = revision.name_any();
        match self.api.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            answer => answer.map(drop).map_err(acting(format!("revision {name}"))),
        }
    }
}

/// Whether a revision is an object's own: labelled, and owned by this very object, not by one of the same name before it.
pub fn is_of<K>(revision: &ControllerRevision, label: &str, of: &K) -> bool
where
    K: Resource<DynamicType = ()>,
{
    let (owners, uid) = (revision.owner_references(), of.meta().uid.as_ref());
    revision.labels().contains_key(label)
        && owners
            .iter()
            .any(|o| o.api_version == K::api_version(&()) && Some(&o.uid) == uid)
}
