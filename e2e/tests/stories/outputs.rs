//! Story: what steps hand on that nobody is to see, and what a run hands on to the one that it is a part of.

use e2e::{
    Manifest, Stage, eventually,
    stage::{PATIENCE, refusal, row, secrets, state},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use serde_json::{Value, json};

/// What the account needs beside its usual rights.
const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: hands-on}
rules: [{apiGroups: [''], resources: [secrets], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: hands-on}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: hands-on}
subjects: [{kind: ServiceAccount, name: pilothouse-runner, namespace: NAMESPACE}]
";

/// A token is made on a host, and used there, in a pod and by another Job.
const JOBS: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: inner}
spec:
  parameters: [{name: token, sensitive: true}]
  targets: {hosts: {names: [vm1]}}
  steps:
  - name: use
    outputs: [{name: length}]
    inline: {content: 'echo "inner $TOKEN"; echo "$PILOTHOUSE_OUTPUT length=${#TOKEN}"', env: {TOKEN: "{{ params.token }}"}}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: outer}
spec:
  targets: {hosts: {names: [vm1]}}
  steps:
  - name: make
    outputs: [{name: token, sensitive: true, pattern: '[a-z0-9-]+'}, {name: kind}]
    inline: {content: 'echo "$PILOTHOUSE_OUTPUT token=hidden-$((800+15))"; echo "$PILOTHOUSE_OUTPUT kind=plain"'}
  - name: here
    needs: [make]
    inline: {content: 'echo "here $TOKEN $KIND"', env: {TOKEN: "{{ outputs.token }}", KIND: "{{ outputs.kind }}"}}
  - name: pod
    needs: [make]
    pod: {image: 'local/busybox:1', command: [/bin/sh, -c, 'echo "pod $TOKEN"'], env: {TOKEN: "{{ outputs.token }}"}}
  - name: part
    needs: [make]
    outputs: [{name: length, pattern: '[0-9]+'}]
    job: {name: inner, parameters: {token: "{{ outputs.token }}"}}
  - name: told
    needs: [part]
    inline: {content: 'echo "length $LENGTH"', env: {LENGTH: "{{ outputs.length }}"}}
"#;

async fn start(stage: &Stage, name: &str) {
    let spec = json!({"jobRef": {"name": "outer"}});
    let run = Manifest::of("JobRun", name, &spec).within(stage.name());
    run.create(&stage.client).await.expect("a run is accepted");
}

fn api(stage: &Stage) -> Api<Secret> {
    Api::namespaced(stage.client.clone(), stage.name())
}

async fn one(stage: &Stage, name: &str) -> Secret {
    api(stage).get(name).await.expect("it is there")
}

async fn of_run(stage: &Stage, run: &str) -> Vec<String> {
    let all = secrets(&stage.client, stage.name()).await;
    let names = all.iter().map(ResourceExt::name_any);
    names.filter(|name| name.starts_with(run)).collect()
}

#[tokio::test]
async fn a_sensitive_value_is_handed_on_and_seen_by_nobody() {
    let stage = Stage::set("handed").await;
    stage.hosts_seen().await;
    stage.apply(JOBS).await;

    start(&stage, "bare").await;
    stage.ends("bare").await;
    let rows = stage.executions("bare").await;
    let made = row(&rows, "make", "vm1");
    assert_eq!(
        (&made["state"], &made["reason"]),
        (&json!("Failed"), &json!("Forbidden")),
        "{made}"
    );

    stage.apply(RIGHTS).await;
    start(&stage, "entitled").await;
    let status = stage.ends("entitled").await.status.expect("a status");
    let rows = stage.executions("entitled").await;
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{rows:#?}");
    let log = async |run, step, target| {
        let log = stage.log(run, step, target).await;
        String::from_utf8(log).expect("text")
    };
    let made = log("entitled", "make", "vm1").await;
    assert!(
        made.contains("token=**********") && made.contains("kind=plain"),
        "{made}"
    );
    assert_eq!(log("entitled", "here", "vm1").await, "here *** plain\n");
    assert_eq!(log("entitled", "pod", "").await, "pod ***\n");
    assert_eq!(log("entitled", "told", "vm1").await, "length 10\n");
    let part = stage.part("entitled").await;
    assert!(log(&part, "use", "vm1").await.starts_with("inner ***\n"));
    assert_eq!(state(&rows, "part", ""), "Succeeded");
    let outputs = &row(&rows, "make", "vm1")["outputs"];
    assert_eq!(outputs, &json!({"kind": "plain"}));
    let everything = serde_json::to_string(
        &json!({"rows": rows, "run": stage.runs().get(&part).await.expect("it is there")}),
    );
    assert!(!everything.expect("JSON").contains("hidden-815"));
    let kept = of_run(&stage, "entitled-make").await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    let kept = one(&stage, &kept[0]).await.uid();
    let made = &row(&rows, "make", "vm1")["secretUID"];
    assert_eq!(made.as_str(), kept.as_deref());
    let part = stage.runs().get(&part).await.expect("it is there").spec;
    assert_eq!(part.secret_parameters["token"].uid, kept);

    let runs = stage.runs();
    runs.delete("entitled", &DeleteParams::background())
        .await
        .expect("deleted");
    eventually("its Secret to go with it", PATIENCE, || async {
        of_run(&stage, "entitled-make")
            .await
            .is_empty()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_somebody_put_there_is_not_taken_for_an_output() {
    let stage = Stage::set("planted").await;
    stage.hosts_seen().await;
    stage.apply(RIGHTS).await;
    let job = r#"
targets: {hosts: {names: [vm1]}}
steps:
- {name: make, outputs: [{name: token, sensitive: true}], inline: {content: 'while test ! -e /var/tmp/NAMESPACE-go; do sleep 0.2; done; echo "$PILOTHOUSE_OUTPUT token=hidden-0815"'}}
- {name: use, needs: [make], inline: {content: 'echo "$TOKEN"', env: {TOKEN: "{{ outputs.token }}"}}}"#;
    stage
        .run("run", &job.replace("NAMESPACE", stage.name()))
        .await;
    let key = eventually("its row", PATIENCE, || async {
        let rows = stage.executions("run").await;
        rows.first().map(|row| row["key"].clone())
    })
    .await;
    let key: crds::key::EffectKey = serde_json::from_value(key).expect("a key");
    let name = decided(&key);
    stage.secret(&name, "Opaque", &[("token", "planted")]).await;
    e2e::Guest("vm1").sh(&format!("touch /var/tmp/{}-go", stage.name()));
    stage.ends("run").await;
    let rows: Vec<Value> = stage.executions("run").await;
    let made = row(&rows, "make", "vm1");
    assert_eq!(
        (&made["state"], &made["reason"]),
        (&json!("Failed"), &json!("Forbidden")),
        "{made}"
    );
    assert_eq!(rows.len(), 1, "nothing was done with it: {rows:#?}");
}

/// Whoever takes its place has its name, its owner and what it held.
async fn replaced(stage: &Stage, name: &str) {
    let (api, was) = (api(stage), one(stage, name).await);
    let deleted = api.delete(name, &DeleteParams::default()).await;
    deleted.expect("an administrator may delete it");
    let other = Secret {
        metadata: ObjectMeta {
            name: was.metadata.name,
            labels: was.metadata.labels,
            owner_references: was.metadata.owner_references,
            ..ObjectMeta::default()
        },
        ..was
    };
    let created = api.create(&PostParams::default(), &other).await;
    created.expect("an administrator may create one");
}

#[tokio::test]
async fn a_secret_that_took_the_place_of_an_output_is_handed_to_nobody() {
    let stage = Stage::set("replaced").await;
    stage.hosts_seen().await;
    stage.apply(RIGHTS).await;
    stage.apply(JOBS).await;
    let job = r#"
targets: {hosts: {names: [vm1]}}
steps:
- {name: make, outputs: [{name: token, sensitive: true}], inline: {content: 'echo "$PILOTHOUSE_OUTPUT token=hidden-0815"'}}
- {name: hold, needs: [make], inline: {content: 'while test ! -e /var/tmp/NAMESPACE-go; do sleep 0.2; done'}}
- {name: use, needs: [hold], continueOnFailure: true, inline: {content: 'echo "$TOKEN"', env: {TOKEN: "{{ outputs.token }}"}}}
- {name: part, needs: [use], job: {name: inner, parameters: {token: "{{ outputs.token }}"}}}"#;
    stage
        .run("run", &job.replace("NAMESPACE", stage.name()))
        .await;
    let name = eventually("what the step keeps", PATIENCE, || async {
        let rows = stage.executions("run").await;
        let held = rows.iter().any(|row| row["step"] == "hold");
        of_run(&stage, "run-make").await.pop().filter(|_| held)
    })
    .await;
    let kept = one(&stage, &name).await.uid();
    replaced(&stage, &name).await;
    e2e::Guest("vm1").sh(&format!("touch /var/tmp/{}-go", stage.name()));
    stage.ends("run").await;
    let rows = stage.executions("run").await;
    for (step, target) in [("use", "vm1"), ("part", "")] {
        let row = row(&rows, step, target);
        assert_eq!(
            (&row["state"], &row["reason"]),
            (&json!("Undeliverable"), &json!("SecretReplaced")),
            "{row}"
        );
        let message = row["message"].as_str().unwrap_or_default();
        assert!(message.contains(&name), "{message}");
    }
    let parts = stage.runs().list(&ListParams::default()).await;
    assert_eq!(parts.expect("runs are listed").items.len(), 1, "{rows:#?}");

    let place = json!({"name": name, "key": "token", "uid": kept});
    let spec = json!({"jobRef": {"name": "inner"}, "secretParameters": {"token": place}});
    let run = Manifest::of("JobRun", "by-uid", &spec).within(stage.name());
    run.create(&stage.client).await.expect("a run is accepted");
    let (reason, _) = refusal(&stage.ends("by-uid").await);
    assert_eq!(reason, "SecretReplaced");
}

/// The name that the operator gives to the Secret of an attempt.
fn decided(key: &crds::key::EffectKey) -> String {
    format!("run-{}-{}", key.step, &key.digest()[..10])
}
