//! Objects that have ended: records take them in before the cluster lets them go, and what has stayed long enough is deleted.

use std::fmt::Debug;

use crds::archive::Archived;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, Preconditions},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;

use crate::{
    context::Context,
    error::{Result, acting, chain},
};

/// Objects that are archived at once. So many of the largest that etcd takes fit one batch: nobody keeps an object out of the archive by what they say about it.
const PORTION: usize = 8;

/// Whether an object that has ended need not wait any more: records have taken it in, with what people said about it. They hold up nothing that somebody wants gone.
pub async fn take_in<K>(ctx: &Context, object: &K, all: &[Archived]) -> bool
where
    K: Resource<DynamicType = ()>,
{
    let (kind, name) = (K::kind(&()), object.name_any());
    let goes = object.meta().deletion_timestamp.is_some();
    for portion in all.chunks(PORTION) {
        match ctx.records.archive(portion.to_vec()).await {
            Ok(()) => {}
            Err(error) if error.is_retryable() && !goes => {
                tracing::warn!(error = %chain(&error), %kind, name, "records did not take in an object that has ended; trying again");
                return false;
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), %kind, name, "something of an object goes without a place in the archive");
            }
        }
    }
    true
}

/// Deletes an object that has ended, and what it owns.
pub async fn remove<K>(ctx: &Context, object: &K) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api = Api::<K>::namespaced(ctx.client.clone(), &namespace);
    let this = DeleteParams::background().preconditions(Preconditions {
        uid: object.uid(),
        resource_version: None,
    });
    match api.delete(&name, &this).await {
        Ok(_) => Ok(()),
        // It is gone, or another has its name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(acting(format!("{} {name}", K::kind(&())))(error)),
    }
}
