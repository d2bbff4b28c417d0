//! Who the caller is to the API server, for clusters that compare `requestedBy` and do not write it.

use crds::v1alpha1::Requester;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, api::PostParams};

use crate::{
    cluster::Cluster,
    error::{Result, doing},
};

/// The caller, as admission sees them.
pub async fn requester(cluster: &Cluster) -> Result<Requester> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await;
    let user = review
        .map_err(doing("ask who you are"))?
        .status
        .and_then(|s| s.user_info)
        .unwrap_or_default();
    Ok(Requester {
        user: user.username.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
    })
}
