//! What is the operator's alone: status, what it keeps, and its finalizers.

use e2e::{People, accepted, eventually, refused};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{SOON, script, writer};

#[tokio::test]
async fn status_is_written_by_the_operator_only() {
    let scene = People::new("status").await;
    let rules = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["scripts/status"], "verbs": ["patch"]}]);
    let bob = scene
        .person_with("bob", rules, ("patch", "scripts"), None)
        .await;
    let script = scene.write(script("true"));
    accepted(script.create(&bob).await);

    let status = json!({"status": {"revisionName": "forged"}});
    let parameters = PatchParams::default().dry_run();
    for client in [bob, scene.cluster.client()] {
        let api = script.api(&client).await.expect("scripts are served");
        let answer = api
            .patch_status("script", &parameters, &Patch::Merge(&status))
            .await;
        refused(
            answer,
            &[
                "Rule pilothouse-status",
                "may not write the status of Script 'script'",
            ],
        );
    }
    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    let api = script.api(&operator).await.expect("scripts are served");
    accepted(
        api.patch_status("script", &parameters, &Patch::Merge(&status))
            .await,
    );
}

/// A revision of the form that holds a plan, where it is labelled as one.
fn revision(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": name, "labels": labels}, "data": {"steps": []}, "revision": 1})
}

#[tokio::test]
async fn only_the_operator_writes_plans_and_versions() {
    let scene = People::new("revision").await;
    let value = json!({"pilothouse.dev/parameter": "p"});
    let value = scene.write(revision("value", &value));
    let answer = value.try_create(&scene.cluster.client()).await;
    refused(answer, &["Rule pilothouse-revision", "'value'"]);
    let plan = scene.write(revision("plan", &json!({"pilothouse.dev/run": "r"})));
    refused(
        plan.try_create(&scene.cluster.client()).await,
        &["Rule pilothouse-revision", "'plan'"],
    );
    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    accepted(plan.try_create(&operator).await);
    let others = scene.write(revision("others", &json!({"app": "web"})));
    accepted(others.try_create(&scene.cluster.client()).await);
}

#[tokio::test]
async fn the_operator_takes_its_finalizer_off_a_pod_and_changes_nothing_else() {
    let scene = People::new("step-pod").await;
    let step = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "step", "finalizers": ["pilothouse.dev/result", "example.org/other"]},
        "spec": {"nodeName": "none", "securityContext": {"runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "image": "local/busybox:1",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}});
    let step = scene.write(step);
    let administrator = scene.cluster.client();
    // A new namespace has no account for pods for a moment.
    eventually("a pod in the namespace", SOON, || async {
        step.create(&administrator).await.ok()
    })
    .await;
    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    let pods = step.api(&operator).await.expect("pods are served");
    let patch = |metadata: Value| Patch::Merge(json!({"metadata": metadata}));
    let parameters = PatchParams::default();
    for other in [
        json!({"labels": {"app": "web"}}),
        json!({"finalizers": ["pilothouse.dev/result"]}),
    ] {
        let answer = pods.patch("step", &parameters, &patch(other)).await;
        refused(answer, &["Rule pilothouse-step-pod", "'step'"]);
    }
    let released = json!({"finalizers": ["example.org/other"]});
    accepted(pods.patch("step", &parameters, &patch(released)).await);
    let pods = step.api(&administrator).await.expect("pods are served");
    let bare = json!({"finalizers": null});
    accepted(pods.patch("step", &parameters, &patch(bare)).await);
}
