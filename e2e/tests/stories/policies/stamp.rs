//! Who asked is true, and for whom.

use e2e::{People, accepted, cluster::demands_requester, eventually, refused};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    API, SOON, action, change_action, host, planned, requester, run, schedule, script, solution,
    ticket,
};

fn forged_script(content: &str) -> Value {
    let mut object = script(content);
    object["spec"]["requestedBy"] = json!({"user": "system:admin", "groups": ["system:masters"]});
    object
}

#[tokio::test]
async fn a_forged_requester_is_replaced_or_refused_on_create_and_on_change() {
    let scene = People::new("requester").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "scripts"))
        .await;
    let bob = scene
        .person("bob", "pilothouse-admin", ("create", "scripts"))
        .await;

    let forged = scene.write(forged_script("true")).unsigned();
    if demands_requester() {
        let message = ["Rule pilothouse-requester", "authenticated 'alice'"];
        refused(forged.try_create(&alice).await, &message);
    } else {
        let made = accepted(forged.try_create(&alice).await);
        assert_eq!(requester(&made).0, "alice");
    }
    let made = accepted(scene.write(forged_script("true")).create(&alice).await);
    assert_eq!(
        requester(&made),
        ("alice", vec!["testers", "system:authenticated"])
    );

    let changed = accepted(scene.write(forged_script("false")).apply(&bob).await);
    assert_eq!(
        requester(&changed).0,
        "bob",
        "whoever changes a spec answers for it"
    );

    let labelled = json!({"metadata": {"labels": {"team": "a"}}});
    let api = scene
        .write(script("false"))
        .api(&alice)
        .await
        .expect("scripts are served");
    let labelled = accepted(
        api.patch("script", &PatchParams::default(), &Patch::Merge(labelled))
            .await,
    );
    assert_eq!(
        requester(&labelled).0,
        "bob",
        "a label is no change of the spec"
    );
}

#[tokio::test]
async fn every_kind_is_stamped() {
    let scene = People::new("stamped").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let pods = json!({"apiVersion": API, "kind": "Job", "metadata": {"name": "job"}, "spec": {"steps": [{"name": "one", "pod": {"image": "local/busybox:1"}}]}});
    let all = [
        scene.write(script("true")),
        scene.write(pods),
        scene.write(run("pilothouse-runner")),
        scene.write(host(&json!({}))),
        scene.write(action("Cancel")),
        scene.write(schedule("pilothouse-runner")),
        scene.write(planned("pilothouse-runner")),
        scene.write(change_action("Cancel")),
        scene.write(solution("pilothouse-runner")),
    ];
    for manifest in all {
        assert_eq!(
            requester(&accepted(manifest.try_create(&alice).await)).0,
            "alice",
            "{}",
            manifest.title()
        );
    }
}

#[tokio::test]
async fn a_run_has_its_finalizer_from_the_start_where_the_api_server_can_put_it_there() {
    let scene = People::new("held").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let run = scene.write(run("pilothouse-runner"));
    let made = accepted(run.try_create(&alice).await);
    let held = made.finalizers().contains(&"pilothouse.dev/run".to_owned());
    assert_eq!(held, !demands_requester());
}

#[tokio::test]
async fn a_finalizer_of_the_operator_leaves_the_stamp_alone() {
    let scene = People::new("finalizer").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let run = scene.write(run("pilothouse-runner"));
    accepted(run.create(&alice).await);

    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    let api = run.api(&operator).await.expect("jobruns are served");
    let finalizer = json!({"metadata": {"finalizers": ["pilothouse.dev/run"]}});
    let kept = accepted(
        api.patch(
            "run",
            &PatchParams::default().dry_run(),
            &Patch::Merge(finalizer),
        )
        .await,
    );
    assert_eq!(requester(&kept).0, "alice");

    let edit = json!({"spec": {"serviceAccountName": "other"}});
    refused(
        api.patch(
            "run",
            &PatchParams::default().dry_run(),
            &Patch::Merge(edit),
        )
        .await,
        &["a JobRun is immutable"],
    );
}

#[tokio::test]
async fn only_the_operator_says_for_whom_a_run_is() {
    let scene = People::new("behalf").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let mut run = run("pilothouse-runner");
    run["spec"]["onBehalfOf"] = json!([{"kind": "ScheduledTask", "name": "task", "uid": "1", "requestedBy": {"user": "root"}}]);
    let message = ["Rule pilothouse-account", "may not say for whom a run is"];
    refused(scene.write(run.clone()).try_create(&alice).await, &message);

    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    let unbound = ["Rule pilothouse-account", "may not impersonate"];
    refused(
        scene.write(run.clone()).try_create(&operator).await,
        &unbound,
    );
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pilothouse-impersonate-runner"},
        "subjects": [{"kind": "ServiceAccount", "name": "pilothouse-operator", "namespace": "pilothouse-system"}]});
    accepted(scene.write(binding).create(&scene.cluster.client()).await);
    let made = eventually("the operator's right", SOON, || async {
        scene.write(run.clone()).try_create(&operator).await.ok()
    })
    .await;
    assert_eq!(
        requester(&made).0,
        "system:serviceaccount:pilothouse-system:pilothouse-operator"
    );
}

#[tokio::test]
async fn only_the_operator_says_what_a_ticket_is_a_part_of() {
    let scene = People::new("parts-of").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "changetickets"))
        .await;
    let plain = ticket(&json!({"guide": "g"}));
    accepted(scene.write(plain.clone()).create(&alice).await);
    let mut part = plain.clone();
    part["spec"]["partOf"] = json!({"name": "whole", "uid": "1", "digest": format!("sha256:{}", "0".repeat(64)), "region": "eu"});
    let message = [
        "Rule pilothouse-account",
        "may not say what a ticket is a part of",
    ];
    refused(scene.write(part.clone()).try_apply(&alice).await, &message);
    part["metadata"]["name"] = "part".into();
    refused(scene.write(part.clone()).try_create(&alice).await, &message);

    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    accepted(scene.write(part.clone()).create(&operator).await);
    // Whoever may write tickets may change the rest of it, which nobody has agreed to then.
    part["spec"]["title"] = "u".into();
    accepted(scene.write(part.clone()).apply(&alice).await);
    part["spec"]["partOf"]["region"] = "us".into();
    refused(scene.write(part).try_apply(&alice).await, &message);
}
