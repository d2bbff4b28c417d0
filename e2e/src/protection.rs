//! A ProtectionPolicy for the namespace of a story, gone with it and before it: a closed one would keep the namespace.

use std::time::Duration;

use crds::v1alpha1::{CalendarState, ProtectionPolicy, ProtectionPolicyStatus};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::DeleteParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{Cluster, Manifest, accepted, stage::PATIENCE, wait_for};

/// API servers have heard of the end of a policy well within this.
const HEARD: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Named by the namespace that it is about, and a word that tells it from others of that namespace.
pub struct Protection {
    cluster: Cluster,
    namespace: String,
    name: String,
}

impl Protection {
    /// Writes a policy; `spec` goes over one of the namespace alone.
    pub async fn written(cluster: &Cluster, namespace: &str, word: &str, spec: &Value) -> Self {
        let protection = Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            name: format!("{namespace}-{word}"),
        };
        protection.rewritten(spec).await;
        protection
    }

    pub async fn rewritten(&self, over: &Value) {
        let mut spec =
            json!({"namespaces": [self.namespace], "reason": "the shop sells on these days"});
        let fields = spec.as_object_mut().expect("an object");
        fields.extend(over.as_object().expect("an object").clone());
        fields.retain(|_, value| !value.is_null());
        let policy = Manifest::of("ProtectionPolicy", &self.name, &spec);
        accepted(policy.apply(&self.cluster.client()).await);
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn api(&self) -> Api<ProtectionPolicy> {
        Api::all(self.cluster.client())
    }

    /// Waits until the operator has looked at it as it is now, and says this of it.
    pub async fn until(
        &self,
        what: &str,
        is: impl Fn(&ProtectionPolicyStatus) -> bool,
    ) -> ProtectionPolicy {
        let seen = |policy: Option<&ProtectionPolicy>| {
            let status = policy.and_then(|p| Some((p.metadata.generation, p.status.as_ref()?)));
            status.is_some_and(|(generation, status)| {
                status.observed_generation == generation && is(status)
            })
        };
        wait_for(self.api(), &self.name, what, PATIENCE, seen).await
    }

    pub async fn becomes(&self, state: CalendarState) -> ProtectionPolicyStatus {
        let is = |status: &ProtectionPolicyStatus| status.state == Some(state);
        let seen = self.until(&state.to_string(), is).await;
        seen.status.expect("it was looked at")
    }
}

impl Drop for Protection {
    fn drop(&mut self) {
        let (name, namespace) = (self.name.clone(), self.namespace.clone());
        let what = format!("the end of {name}");
        self.cluster.finally(&what, |client| async move {
            let policies: Api<ProtectionPolicy> = Api::all(client.clone());
            policies.delete(&name, &DeleteParams::default()).await?;
            freed(&client, &namespace, &name).await
        });
    }
}

/// Waits until this policy does not keep the namespace any more; another may.
async fn freed(client: &Client, namespace: &str, policy: &str) -> kube::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let tried = DeleteParams::default().dry_run();
    let kept = format!("'{policy}'");
    let end = Instant::now() + HEARD;
    loop {
        match namespaces.delete(namespace, &tried).await {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let by_this = status.message.contains(&kept);
                if !by_this {
                    return Ok(());
                }
                if Instant::now() > end {
                    return Err(kube::Error::Api(status));
                }
                sleep(LOOK_AGAIN).await;
            }
            answer => return answer.map(drop),
        }
    }
}
