//! A namespace whose runner may do what a bench has it do, and objects put into it.

use std::fmt::Debug;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{Namespace, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{Api, Client, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::Result;

const ACCOUNT: &str = "pilothouse-runner";

/// Makes it, with these rules for its runner, as whom the operator may act.
pub async fn set(client: &Client, namespace: &str, rules: Value) -> Result<()> {
    let bound = |name: &str, kind: &str, role: &str, account: &str, namespace: &str| {
        json!({"metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]})
    };
    let own = json!({"metadata": {"name": namespace}});
    put::<Namespace>(&Api::all(client.clone()), own).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    put(&accounts, json!({"metadata": {"name": ACCOUNT}})).await?;
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    let role = json!({"metadata": {"name": "runner"}, "rules": rules});
    put(&roles, role).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let of_runner = bound("runner", "Role", "runner", ACCOUNT, namespace);
    put(&bindings, of_runner).await?;
    let role = "pilothouse-impersonate-runner";
    let of_operator = bound(
        "operator",
        "ClusterRole",
        role,
        "pilothouse-operator",
        "pilothouse-system",
    );
    put(&bindings, of_operator).await
}

/// Writes that are under way together.
const AT_ONCE: usize = 32;

/// Carries all of these out, some together, and returns what they came to in no order.
pub async fn all<T, F: Future<Output = Result<T>>>(
    writes: impl Iterator<Item = F>,
) -> Result<Vec<T>> {
    let writes = stream::iter(writes).buffer_unordered(AT_ONCE);
    writes.try_collect().await
}

/// Creates an object as it is written.
pub async fn put<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    created(api, object).await.map(drop)
}

/// The same, and returns it as the API server has it.
pub async fn created<K>(api: &Api<K>, object: Value) -> Result<K>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    let object = serde_json::from_value(object)?;
    Ok(api.create(&PostParams::default(), &object).await?)
}
