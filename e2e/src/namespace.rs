//! A namespace of a test's own, removed when the test ends, well or not.

use std::thread;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::Cluster;

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
}

impl Drop for TestNamespace {
    /// On a thread and a runtime of its own, because the test's runtime cannot be waited on from here.
    fn drop(&mut self) {
        let (cluster, name) = (self.cluster.clone(), self.name.clone());
        let removal = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let api: Api<Namespace> = Api::all(cluster.client());
                api.delete(&name, &DeleteParams::default()).await.map(drop)
            })
        });
        if let Ok(Err(error)) = removal.join() {
            eprintln!("namespace {} is left behind: {error}", self.name);
        }
    }
}
