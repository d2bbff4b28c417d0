//! Story: during a freeze the cluster itself goes on. A rollout under way ends, an autoscaler scales, a pod that was killed is replaced, and what is deleted takes along what hangs on it.

use crds::v1alpha1::CalendarState;
use e2e::{Manifest, Protection, Stage, eventually, stage::PATIENCE, wait_for};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

/// Pods are replaced one after the other, each after it was ready for a while.
fn deployment(name: &str, replicas: i32, command: &str) -> Value {
    let container = json!({"name": "main", "image": "local/busybox:1", "command": ["sh", "-c", command],
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "minReadySeconds": 8, "selector": {"matchLabels": {"app": name}},
        "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {
            "terminationGracePeriodSeconds": 0, "containers": [container],
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}}}}}})
}

/// Below its minimum, an autoscaler asks for no metrics.
fn autoscaler(replicas: i32) -> Value {
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}});
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": replicas, "maxReplicas": replicas + 1, "metrics": [metric]}})
}

struct Scene {
    stage: Stage,
    deployments: Api<Deployment>,
    /// Breaks the glass, and may do everything else.
    oncall: Client,
}

impl Scene {
    async fn writes(&self, object: Value) {
        let object = Manifest::from_json(object).within(self.stage.name());
        let said = object.apply(&self.stage.client).await;
        said.unwrap_or_else(|error| panic!("{} was refused: {error}", object.title()));
    }

    fn has_rolled_out(replicas: i32) -> impl Fn(Option<&Deployment>) -> bool {
        move |deployment| {
            deployment.is_some_and(|deployment| {
                let status = deployment.status.clone().unwrap_or_default();
                let counts = [
                    status.replicas,
                    status.updated_replicas,
                    status.available_replicas,
                ];
                status.observed_generation == deployment.metadata.generation
                    && counts == [Some(replicas); 3]
            })
        }
    }

    async fn rolls_out(&self, name: &str, replicas: i32) {
        let what = format!("{replicas} replicas as wanted");
        let done = Self::has_rolled_out(replicas);
        wait_for(self.deployments.clone(), name, &what, PATIENCE, done).await;
    }

    /// Whether the administrator, too, is refused.
    async fn is_frozen(&self) -> bool {
        let tried = DeleteParams::default().dry_run();
        let said = self.deployments.delete("web", &tried).await.err();
        said.is_some_and(|error| error.to_string().contains("Rule pilothouse-protection"))
    }

    fn pods_of(app: &str) -> ListParams {
        ListParams::default().labels(&format!("app={app}"))
    }
}

#[tokio::test]
async fn what_was_begun_is_carried_on_and_what_breaks_is_mended() {
    let stage = Stage::set("undisturbed").await;
    let scene = Scene {
        deployments: Api::namespaced(stage.client.clone(), stage.name()),
        oncall: stage
            .cluster
            .as_user("olga", &["system:masters", "sre-oncall"]),
        stage,
    };
    for (name, replicas) in [("web", 2), ("old", 1)] {
        scene.writes(deployment(name, replicas, "sleep 3000")).await;
    }
    for (name, replicas) in [("web", 2), ("old", 1)] {
        scene.rolls_out(name, replicas).await;
    }
    scene.writes(deployment("web", 2, "sleep 3001")).await;
    let spec = json!({"require": {"nobody": {}}, "breakGlass": {"groups": ["sre-oncall"]},
        "rules": [{"groups": ["apps"], "resources": ["deployments", "replicasets"]}, {"groups": [""], "resources": ["pods"]}]});
    let policy = Protection::written(&scene.stage.cluster, scene.stage.name(), "live", &spec).await;
    policy.becomes(CalendarState::Closed).await;
    eventually("a refusal", PATIENCE, || async {
        scene.is_frozen().await.then_some(())
    })
    .await;
    let web = scene.deployments.get("web").await.expect("it is there");
    assert!(
        !Scene::has_rolled_out(2)(Some(&web)),
        "the rollout was too fast to be under way: {web:?}"
    );

    scene.rolls_out("web", 2).await;
    scene.writes(autoscaler(3)).await;
    scene.rolls_out("web", 3).await;
    a_killed_pod_is_replaced(&scene).await;
    a_cascade_completes(&scene).await;
    assert!(scene.is_frozen().await, "and people are still refused");
}

async fn a_killed_pod_is_replaced(scene: &Scene) {
    let pods: Api<Pod> = Api::namespaced(scene.oncall.clone(), scene.stage.name());
    let all = pods.list(&Scene::pods_of("web")).await.expect("a list");
    let killed = all.items.first().expect("a pod").name_any();
    let gone = pods.delete(&killed, &DeleteParams::default()).await;
    gone.expect("whoever breaks the glass kills a pod");
    eventually("another pod", PATIENCE, || async {
        let left = pods.list(&Scene::pods_of("web")).await.ok()?.items;
        let replaced = left.len() == 3 && left.iter().all(|pod| pod.name_any() != killed);
        replaced.then_some(())
    })
    .await;
    scene.rolls_out("web", 3).await;
}

async fn a_cascade_completes(scene: &Scene) {
    let deployments: Api<Deployment> = Api::namespaced(scene.oncall.clone(), scene.stage.name());
    let gone = deployments.delete("old", &DeleteParams::background()).await;
    gone.expect("whoever breaks the glass deletes");
    let sets: Api<ReplicaSet> = Api::namespaced(scene.stage.client.clone(), scene.stage.name());
    let pods: Api<Pod> = Api::namespaced(scene.stage.client.clone(), scene.stage.name());
    eventually("the end of all that hung on it", PATIENCE, || async {
        let of = Scene::pods_of("old");
        let left = sets.list(&of).await.ok()?.items.len() + pods.list(&of).await.ok()?.items.len();
        (left == 0).then_some(())
    })
    .await;
}
