//! People with rights of their own in a namespace, and nothing elsewhere.

use kube::Client;
use serde_json::{Value, json};

use crate::{Cluster, Manifest, TestNamespace, rights};

/// The people of one namespace.
pub struct People {
    pub cluster: Cluster,
    pub namespace: TestNamespace,
}

impl People {
    pub async fn new(story: &str) -> Self {
        let cluster = Cluster::connect().await;
        let namespace = TestNamespace::create(&cluster, story).await;
        Self { cluster, namespace }
    }

    /// A person with one of the chart's ClusterRoles here; `may` is a verb and a resource that tell when it holds.
    pub async fn person(&self, name: &str, cluster_role: &str, may: (&str, &str)) -> Client {
        let role = json!({"kind": "ClusterRole", "name": cluster_role});
        self.bound(name, &role, may, None).await
    }

    /// A person with rules of their own here; `may` is a verb and a resource that tell when they hold, `object` the name they hold for.
    pub async fn person_with(
        &self,
        name: &str,
        rules: Value,
        may: (&str, &str),
        object: Option<&str>,
    ) -> Client {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules});
        self.write(role)
            .create(&self.cluster.client())
            .await
            .expect("an administrator makes a Role");
        let role = json!({"kind": "Role", "name": name});
        self.bound(name, &role, may, object).await
    }

    async fn bound(
        &self,
        name: &str,
        role: &Value,
        may: (&str, &str),
        object: Option<&str>,
    ) -> Client {
        let (administrator, namespace) = (self.cluster.client(), self.namespace.name());
        rights::bind(&administrator, namespace, name, role).await;
        let client = self.cluster.as_user(name, &["testers"]);
        rights::hold(&client, namespace, may, object, true).await;
        client
    }

    /// An object in this namespace.
    pub fn write(&self, object: Value) -> Manifest {
        Manifest::from_json(object).within(self.namespace.name())
    }
}
