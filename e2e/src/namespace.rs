//! A namespace of a test's own, removed when the test ends, well or not.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{Cluster, eventually};

/// Goes away with the test that made it.
pub struct TestNamespace {
    cluster: Cluster,
    name: String,
}

impl TestNamespace {
    /// A new namespace whose name begins with `e2e-` and the story's.
    pub async fn create(cluster: &Cluster, story: &str) -> Self {
        let wanted = json!({"metadata": {
            "generateName": format!("e2e-{story}-"),
            "labels": {"pilothouse.dev/e2e": story, "pod-security.kubernetes.io/enforce": "restricted"},
        }});
        let wanted: Namespace = serde_json::from_value(wanted).expect("a literal namespace");
        let made = Api::all(cluster.client())
            .create(&PostParams::default(), &wanted)
            .await;
        let name = made
            .unwrap_or_else(|error| panic!("cannot create a namespace: {error}"))
            .name_any();
        Self {
            cluster: cluster.clone(),
            name,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Deletes it and waits until it is gone, with all that is in it.
    pub async fn removed(&self, limit: Duration) {
        let api: Api<Namespace> = Api::all(self.cluster.client());
        let deleted = api.delete(&self.name, &DeleteParams::default()).await;
        deleted.unwrap_or_else(|error| panic!("cannot delete {}: {error}", self.name));
        eventually("end of the namespace", limit, || async {
            let left = api.get_opt(&self.name).await.ok()?;
            left.is_none().then_some(())
        })
        .await;
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        let name = self.name.clone();
        self.cluster.finally(
            &format!("removal of namespace {name}"),
            |client| async move {
                let api: Api<Namespace> = Api::all(client);
                match api.delete(&name, &DeleteParams::default()).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                    deleted => deleted.map(drop),
                }
            },
        );
    }
}
