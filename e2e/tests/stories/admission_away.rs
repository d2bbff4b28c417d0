//! Story: webhooks are replaced, which nobody notices, and then all are gone: a policy fails as it says, and nothing else is held up.

use crds::v1alpha1::CommandPolicy;
use e2e::{
    Away, eventually,
    stage::{PATIENCE, SYSTEM},
    wait_for,
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::admission::Scene;

#[tokio::test]
async fn every_request_is_answered_by_webhooks_or_by_the_policy_itself() {
    let scene = Scene::set("away").await;
    while_they_are_replaced_one_by_one(&scene).await;
    while_all_are_gone(&scene).await;
}

async fn while_they_are_replaced_one_by_one(scene: &Scene) {
    let namespace = scene.stage.name();
    let all: Api<Deployment> = Api::namespaced(scene.stage.client.clone(), SYSTEM);
    let again = json!({"spec": {"template": {"metadata": {"annotations": {"story": namespace}}}}});
    all.patch(
        "pilothouse-webhook",
        &PatchParams::default(),
        &Patch::Merge(&again),
    )
    .await
    .expect("an administrator restarts it");
    let done = |deployment: Option<&Deployment>| {
        deployment.is_some_and(|d| {
            let status = d.status.clone().unwrap_or_default();
            status.observed_generation == d.metadata.generation
                && [
                    status.updated_replicas,
                    status.replicas,
                    status.available_replicas,
                ] == [Some(2); 3]
        })
    };
    let replaced = wait_for(
        all.clone(),
        "pilothouse-webhook",
        "other replicas",
        PATIENCE,
        done,
    );
    tokio::pin!(replaced);
    let mut knocks = 0;
    loop {
        tokio::select! {
            _ = &mut replaced => break,
            code = scene.knock("true") => {
                assert_eq!(code, "400", "knock {knocks} was not answered");
                knocks += 1;
            }
        }
    }
    assert!(knocks > 10, "{knocks}");
}

async fn while_all_are_gone(scene: &Scene) {
    {
        let _away = Away::webhook(&scene.stage).await;
        // Refused, because nobody can say whether it may.
        let policies: Api<CommandPolicy> = Api::all(scene.stage.client.clone());
        for (failure, code) in [("Fail", "500"), ("Ignore", "400"), ("Fail", "500")] {
            let patch = Patch::Merge(json!({"spec": {"failurePolicy": failure}}));
            let plain = PatchParams::default();
            let patched = policies.patch(scene.stage.name(), &plain, &patch).await;
            patched.expect("an administrator changes a policy");
            eventually(failure, PATIENCE, || async {
                (scene.knock("true").await == code).then_some(())
            })
            .await;
        }
        // Elsewhere nobody is asked, and the cluster's own repair is not either.
        let own: Api<Pod> = Api::namespaced(scene.stage.client.clone(), SYSTEM);
        let dry = PatchParams::apply("story").dry_run();
        let container = json!({"name": "x", "image": "x", "command": ["beep"], "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [container],
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}}}});
        let made = own.patch("x", &dry, &Patch::Apply(&pod)).await;
        made.expect("the namespace of Pilothouse is not closed");
        let words: Vec<_> =
            "--as carol --as-group system:masters --as-group night-shift exec db-0 -- true"
                .split(' ')
                .collect();
        let broken = scene.administrator.kubectl(&words).await;
        assert_eq!(broken.code, Some(0), "{}", broken.err);
    }
    scene.until("403").await;
}
