//! People with rights of their own in a namespace, and nothing elsewhere.

use std::time::Duration;

use k8s_openapi::api::{authorization::v1::SelfSubjectAccessReview, rbac::v1::RoleBinding};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use crate::{Cluster, Manifest, TestNamespace, eventually};

/// Bindings are known to the authorizer well within this.
const SOON: Duration = Duration::from_secs(20);

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
        self.bind(name, &role).await;
        self.ready(name, may, None).await
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
        self.bind(name, &json!({"kind": "Role", "name": name}))
            .await;
        self.ready(name, may, object).await
    }

    async fn bind(&self, name: &str, role: &Value) {
        let binding = json!({
            "metadata": {"generateName": "e2e-"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["name"]},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        });
        let binding: RoleBinding = serde_json::from_value(binding).expect("a literal RoleBinding");
        let api = Api::namespaced(self.cluster.client(), self.namespace.name());
        api.create(&PostParams::default(), &binding)
            .await
            .expect("an administrator binds");
    }

    /// The authorizer learns of a binding a moment after it is written.
    async fn ready(
        &self,
        name: &str,
        (verb, resource): (&str, &str),
        object: Option<&str>,
    ) -> Client {
        let client = self.cluster.as_user(name, &["testers"]);
        let group = if resource == "serviceaccounts" {
            ""
        } else {
            "pilothouse.dev"
        };
        let review = json!({"spec": {"resourceAttributes": {
            "namespace": self.namespace.name(), "verb": verb, "group": group, "resource": resource, "name": object,
        }}});
        let review: SelfSubjectAccessReview =
            serde_json::from_value(review).expect("a literal review");
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        eventually(
            &format!("right of {name} to {verb} {resource}"),
            SOON,
            || async {
                let answer = api.create(&PostParams::default(), &review).await.ok()?;
                answer.status.filter(|status| status.allowed).map(drop)
            },
        )
        .await;
        client
    }

    /// An object in this namespace.
    pub fn write(&self, object: Value) -> Manifest {
        Manifest::from_json(object).within(self.namespace.name())
    }
}
