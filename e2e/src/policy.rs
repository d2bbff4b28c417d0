//! A policy of the whole cluster that a story brings along: it goes with the story, whatever becomes of that.

use kube::api::DeleteParams;

use crate::{Cluster, Manifest, Stage};

/// Gone when dropped.
pub struct OfTheCluster {
    cluster: Cluster,
    manifest: Manifest,
}

impl OfTheCluster {
    /// Applies the one object of the text, in which NAMESPACE stands for that of the story.
    pub async fn applied(stage: &Stage, yaml: &str) -> Self {
        let policy = Self {
            cluster: stage.cluster.clone(),
            manifest: Manifest::read(&yaml.replace("NAMESPACE", stage.name())).remove(0),
        };
        let applied = policy.manifest.apply(&stage.client).await;
        applied.unwrap_or_else(|error| panic!("{}: {error}", policy.manifest.title()));
        policy
    }
}

impl Drop for OfTheCluster {
    fn drop(&mut self) {
        let manifest = self.manifest.clone();
        self.cluster.finally("the policy", |client| async move {
            let api = manifest.api(&client).await?;
            let name = manifest.name();
            api.delete(&name, &DeleteParams::default()).await.map(drop)
        });
    }
}
