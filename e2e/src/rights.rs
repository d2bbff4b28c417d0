//! Who may do what in a namespace, and when the authorizer has come to know of it.

use std::time::Duration;

use k8s_openapi::api::{authorization::v1::SelfSubjectAccessReview, rbac::v1::RoleBinding};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use crate::eventually;

/// Bindings are known to the authorizer well within this.
const SOON: Duration = Duration::from_secs(20);

/// Binds a role to a person in a namespace.
pub async fn bind(administrator: &Client, namespace: &str, person: &str, role: &Value) {
    let binding = json!({
        "metadata": {"generateName": "e2e-"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["name"]},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": person}],
    });
    let binding: RoleBinding = serde_json::from_value(binding).expect("a literal RoleBinding");
    Api::namespaced(administrator.clone(), namespace)
        .create(&PostParams::default(), &binding)
        .await
        .expect("an administrator binds");
}

/// Waits until these people have a right, or have it no more: the authorizer learns of a binding a moment after it is written or removed.
pub async fn hold(
    people: &Client,
    namespace: &str,
    (verb, resource): (&str, &str),
    object: Option<&str>,
    wanted: bool,
) {
    let group = match resource {
        "serviceaccounts" | "namespaces" | "nodes" | "pods" | "secrets" => "",
        _ => "pilothouse.dev",
    };
    let review = json!({"spec": {"resourceAttributes": {
        "namespace": namespace, "verb": verb, "group": group, "resource": resource, "name": object,
    }}});
    let review: SelfSubjectAccessReview = serde_json::from_value(review).expect("a literal review");
    let api: Api<SelfSubjectAccessReview> = Api::all(people.clone());
    let what = format!("answer that {verb} {resource} is allowed: {wanted}");
    eventually(&what, SOON, || async {
        let answer = api.create(&PostParams::default(), &review).await.ok()?;
        (answer.status?.allowed == wanted).then_some(())
    })
    .await;
}
