//! Nodes: which one carries what, and the right of a run to empty one.

use k8s_openapi::api::{
    core::v1::Pod,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use crate::{Cluster, Stage, stage::SYSTEM};

/// What emptying a node needs, in all of the cluster.
const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: e2e-NAMESPACE}
rules:
- {apiGroups: [''], resources: [nodes], verbs: [get, list, patch]}
- {apiGroups: [''], resources: [pods], verbs: [get, list]}
- {apiGroups: [''], resources: [pods/eviction], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-NAMESPACE}
subjects: [{kind: ServiceAccount, name: pilothouse-runner, namespace: NAMESPACE}]
";

/// The right to empty nodes; it is taken back in the end.
pub struct Drains {
    cluster: Cluster,
    role: String,
}

impl Drains {
    /// Gives it to the runner of a stage.
    pub async fn allowed(stage: &Stage) -> Self {
        stage.apply(RIGHTS).await;
        Self {
            cluster: stage.cluster.clone(),
            role: format!("e2e-{}", stage.name()),
        }
    }
}

impl Drop for Drains {
    fn drop(&mut self) {
        let role = self.role.clone();
        self.cluster
            .finally("the right to empty nodes", |client| async move {
                let gone = DeleteParams::default();
                let bindings = Api::<ClusterRoleBinding>::all(client.clone());
                bindings.delete(&role, &gone).await?;
                let roles = Api::<ClusterRole>::all(client);
                roles.delete(&role, &gone).await.map(drop)
            });
    }
}

/// The node of a component's pod, of the one whose name a holder's begins with where one is given.
pub async fn node_of(stage: &Stage, component: &str, holder: Option<&str>) -> Option<String> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), SYSTEM);
    let of = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
    let found = pods.list(&of).await.ok()?.items;
    let mut found = found
        .into_iter()
        .filter(|pod| holder.is_none_or(|holder| holder.starts_with(&pod.name_any())));
    found.find_map(|pod| pod.spec?.node_name)
}
