//! A part of Pilothouse scaled to none: what has to do without it, and that it comes back, whatever becomes of the story.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Pod,
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    Cluster, Stage, eventually,
    stage::{PATIENCE, SYSTEM},
};

#[derive(Clone, Copy)]
enum Part {
    Operator,
    Store,
    Webhook,
}

/// No process of that part runs until this is dropped.
pub struct Away {
    cluster: Cluster,
    part: Part,
}

impl Away {
    pub async fn operator(stage: &Stage) -> Self {
        Self::sent(stage, Part::Operator, "operator").await
    }

    pub async fn store(stage: &Stage) -> Self {
        Self::sent(stage, Part::Store, "server").await
    }

    pub async fn webhook(stage: &Stage) -> Self {
        Self::sent(stage, Part::Webhook, "webhook").await
    }

    async fn sent(stage: &Stage, part: Part, component: &str) -> Self {
        let away = Self {
            cluster: stage.cluster.clone(),
            part,
        };
        let gone = part.scale(stage.client.clone(), 0).await;
        gone.expect("an administrator scales");
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), SYSTEM);
        let ours =
            ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
        eventually(&format!("end of the {component}"), PATIENCE, || async {
            let left = pods.list(&ours).await.ok()?;
            left.items.is_empty().then_some(())
        })
        .await;
        away
    }
}

impl Part {
    async fn scale(self, client: Client, replicas: i32) -> kube::Result<()> {
        let wanted = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let params = PatchParams::default();
        match self {
            Self::Operator | Self::Webhook => {
                let name = match self {
                    Self::Webhook => "pilothouse-webhook",
                    _ => "pilothouse-operator",
                };
                let all: Api<Deployment> = Api::namespaced(client, SYSTEM);
                all.patch_scale(name, &params, &wanted).await?;
            }
            Self::Store => {
                let all: Api<StatefulSet> = Api::namespaced(client, SYSTEM);
                all.patch_scale("pilothouse-server", &params, &wanted)
                    .await?;
            }
        }
        Ok(())
    }

    const fn usual(self) -> i32 {
        match self {
            Self::Operator | Self::Webhook => 2,
            Self::Store => 1,
        }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let part = self.part;
        let back = move |client| part.scale(client, part.usual());
        self.cluster.finally("the return of what was away", back);
    }
}
