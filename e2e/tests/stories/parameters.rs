//! Story: a value that many Jobs read is kept in one place, in versions; who reads it is known, and so is where it differs.

use crds::v1alpha1::{JobRun, Parameter, find_condition};
use e2e::{
    Guest, Manifest, People, Stage, Terminal, TestNamespace, eventually, refused, rights,
    stage::{PATIENCE, refusal, row, state},
    wait_for,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Two Jobs and a task that read `mode`: the latest, version 1, and one that a firing would.
const READERS: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: latest}
spec:
  parameters: [{name: mode, pattern: '[a-z]+', from: {name: mode}}]
  targets: {hosts: {names: [vm1]}}
  steps: [{name: say, inline: {content: 'echo "mode $MODE"', env: {MODE: "{{ params.mode }}"}}}]
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: pinned}
spec:
  parameters: [{name: mode, from: {name: mode, version: 1}}]
  targets: {hosts: {names: [vm1]}}
  steps: [{name: say, inline: {content: 'echo "mode $MODE"', env: {MODE: "{{ params.mode }}"}}}]
---
apiVersion: pilothouse.dev/v1alpha1
kind: ScheduledTask
metadata: {name: nightly}
spec: {suspend: true, schedule: {every: 24h}, jobRef: {name: latest}, parameterRefs: {mode: {name: mode}}}
"#;

/// Its second step reads the secret after somebody had time to change it.
const SECRET: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Parameter
metadata: {name: token}
spec: {secretRef: {name: token, key: value}}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: secretive}
spec:
  parameters: [{name: token, sensitive: true, from: {name: token}}]
  targets: {hosts: {names: [vm1]}}
  steps:
  - {name: first, inline: {content: 'echo "first $TOKEN"; while test ! -e /var/tmp/NAMESPACE-go; do sleep 0.2; done', env: {TOKEN: "{{ params.token }}"}}}
  - {name: second, needs: [first], inline: {content: 'echo "second $TOKEN"', env: {TOKEN: "{{ params.token }}"}}}
"#;

fn parameter(name: &str, spec: &Value) -> Manifest {
    Manifest::of("Parameter", name, spec)
}

/// Writes a Parameter, and waits until it is this version.
async fn stored(stage: &Stage, name: &str, spec: &Value, version: i64) -> Parameter {
    let written = parameter(name, spec).within(stage.name());
    let written = written.apply(&stage.client).await.expect("it is accepted");
    let generation = written.metadata.generation;
    let is = move |p: Option<&Parameter>| {
        p.and_then(|p| p.status.as_ref())
            .is_some_and(|s| s.observed_generation == generation && s.version == Some(version))
    };
    wait_for(parameters(stage), name, "its version", PATIENCE, is).await
}

fn parameters(stage: &Stage) -> Api<Parameter> {
    Api::namespaced(stage.client.clone(), stage.name())
}

async fn start(stage: &Stage, name: &str, spec: Value) {
    let run = Manifest::of("JobRun", name, &spec).within(stage.name());
    run.create(&stage.client).await.expect("a run is accepted");
}

/// Runs a Job to its end, and gives what its step said.
async fn says(stage: &Stage, name: &str, spec: Value) -> (String, JobRun) {
    start(stage, name, spec).await;
    let run = stage.ends(name).await;
    let log = stage.log(name, "say", "vm1").await;
    (String::from_utf8(log).expect("text"), run)
}

fn of(job: &str) -> Value {
    json!({"jobRef": {"name": job}})
}

#[tokio::test]
async fn runs_read_the_latest_value_or_the_version_that_they_name() {
    let stage = Stage::set("parameters").await;
    stage.hosts_seen().await;
    let integer = json!({"type": "Integer", "minimum": 1, "value": "many"});
    let client = &stage.client;
    let wrong = parameter("wrong", &integer).within(stage.name());
    refused(wrong.try_apply(client).await, &["whole number"]);

    stored(&stage, "mode", &json!({"value": "blue"}), 1).await;
    stage.apply(READERS).await;
    let (said, run) = says(&stage, "one", of("latest")).await;
    assert_eq!(said, "mode blue\n");
    let read = run.status.expect("a status").parameters;
    assert_eq!((read[0].parameter.as_str(), read[0].version), ("mode", 1));

    let second = json!({"value": "green", "allowed": ["blue", "green"]});
    stored(&stage, "mode", &second, 2).await;
    assert_eq!(says(&stage, "two", of("latest")).await.0, "mode green\n");
    assert_eq!(says(&stage, "old", of("pinned")).await.0, "mode blue\n");
    let mut named = of("latest");
    named["parameterRefs"] = json!({"mode": {"name": "mode", "version": 1}});
    assert_eq!(says(&stage, "named", named.clone()).await.0, "mode blue\n");
    named["parameterRefs"]["mode"]["version"] = json!(7);
    start(&stage, "never", named).await;
    let (reason, message) = refusal(&stage.ends("never").await);
    assert_eq!(reason, "ParameterVersionNotFound", "{message}");

    // The same value is no new version, and a version that is named stays when others go.
    let few = json!({"value": "green", "versionsKept": 1});
    stored(&stage, "mode", &few, 2).await;
    let few = json!({"value": "grey", "versionsKept": 1});
    let seen = stored(&stage, "mode", &few, 3).await;
    let status = seen.status.expect("a status");
    let kept: Vec<_> = status.versions.iter().map(|v| v.version).collect();
    assert_eq!(kept, [3, 1]);
    let users: Vec<_> = status
        .used_by
        .iter()
        .map(|u| (u.kind.as_str(), u.name.as_str(), u.version))
        .collect();
    let expected = [
        ("Job", "latest", None),
        ("Job", "pinned", Some(1)),
        ("ScheduledTask", "nightly", None),
    ];
    assert_eq!((users.as_slice(), status.users), (&expected[..], Some(3)));

    let terminal = Terminal::of_the_administrator(stage.name());
    let history = terminal.pilothouse(&["parameter", "history", "mode"]).await;
    assert!(
        history.out.contains("grey") && history.out.contains("blue"),
        "{history:#?}"
    );
    let plan = terminal
        .pilothouse(&["plan", "latest", "--from", "mode=mode@1"])
        .await;
    assert!(
        plan.out.contains("mode=blue (Parameter mode version 1)"),
        "{plan:#?}"
    );

    let gone = DeleteParams::default();
    parameters(&stage)
        .delete("mode", &gone)
        .await
        .expect("gone");
    start(&stage, "without", of("latest")).await;
    let (reason, _) = refusal(&stage.ends("without").await);
    assert_eq!(reason, "ParameterNotFound");
    stored(&stage, "mode", &json!({"value": "white"}), 1).await;
    assert_eq!(says(&stage, "anew", of("latest")).await.0, "mode white\n");
}

#[tokio::test]
async fn a_secret_that_changes_while_a_run_goes_on_fails_what_is_left() {
    let stage = Stage::set("changing").await;
    stage.hosts_seen().await;
    let secret = async |value| {
        let texts = [("value", value)];
        stage.secret("token", "Opaque", &texts).await;
    };
    secret("hidden-0815").await;
    stage.apply(SECRET).await;
    start(&stage, "run", of("secretive")).await;
    // Its row is there before it was given the Secret.
    eventually("the first step", PATIENCE, || async {
        let rows = stage.executions("run").await;
        let begun = !rows.is_empty() && !stage.log("run", "first", "vm1").await.is_empty();
        begun.then_some(())
    })
    .await;
    secret("hidden-0816").await;
    Guest("vm1").sh(&format!("touch /var/tmp/{}-go", stage.name()));
    let run = stage.ends("run").await;
    assert_eq!(
        run.status.and_then(|s| s.summary).as_deref(),
        Some("Failed")
    );
    assert_eq!(stage.log("run", "first", "vm1").await, b"first ***\n");
    let rows = stage.executions("run").await;
    assert_eq!(state(&rows, "second", "vm1"), "Undeliverable");
    assert_eq!(row(&rows, "second", "vm1")["reason"], "ParameterChanged");
}

/// Waits until a Parameter says this of those that it is to be the same as.
async fn consistent(stage: &Stage, name: &str, reason: &str) -> String {
    let said = |p: &Parameter| {
        let told = &p.status.as_ref()?.conditions;
        find_condition(told, "Consistent").map(|c| (c.reason.clone(), c.message.clone()))
    };
    let is = |p: Option<&Parameter>| p.and_then(said).is_some_and(|(r, _)| r == reason);
    let seen = wait_for(parameters(stage), name, reason, PATIENCE, is).await;
    said(&seen).expect("it says so").1
}

#[tokio::test]
async fn what_differs_between_namespaces_and_clusters_is_named() {
    let stage = Stage::set("drift").await;
    let other = TestNamespace::create(&stage.cluster, "twin").await;
    let twin = json!([{"namespace": other.name()}]);
    let spec = json!({"value": "a", "consistentWith": twin});
    stored(&stage, "mode", &spec, 1).await;
    let message = consistent(&stage, "mode", "Drift").await;
    assert!(message.contains("not there"), "{message}");
    let there = |value: &str| parameter("mode", &json!({"value": value})).within(other.name());
    there("b").apply(&stage.client).await.expect("accepted");
    eventually("another value", PATIENCE, || async {
        let message = consistent(&stage, "mode", "Drift").await;
        message.contains("another value").then_some(())
    })
    .await;
    there("a").apply(&stage.client).await.expect("accepted");
    consistent(&stage, "mode", "Same").await;

    // Nobody learns of what they may not read by calling it the same.
    let admin = json!({"kind": "ClusterRole", "name": "pilothouse-admin"});
    rights::bind(&stage.client, stage.name(), "eve", &admin).await;
    let eve = stage.cluster.as_user("eve", &["testers"]);
    rights::hold(&eve, stage.name(), ("patch", "parameters"), None, true).await;
    let hers = parameter(
        "hers",
        &json!({"value": "a", "consistentWith": [{"namespace": other.name(), "name": "mode"}]}),
    );
    let written = hers.within(stage.name()).apply(&eve).await;
    written.expect("eve may write here");
    let message = consistent(&stage, "hers", "TwinHidden").await;
    assert!(message.contains("eve may not get it"), "{message}");

    let terminal = Terminal::of_the_administrator(other.name());
    let export = terminal.pilothouse(&["parameter", "export"]).await;
    let file = std::env::temp_dir().join(format!("{}.json", other.name()));
    std::fs::write(&file, &export.out).expect("a file");
    let path = file.display().to_string();
    let compare = ["parameter", "compare", &path];
    let same = terminal.pilothouse(&compare).await;
    assert_eq!(same.code, Some(0), "{same:#?}");
    there("c").apply(&stage.client).await.expect("accepted");
    let drift = terminal.pilothouse(&compare).await;
    std::fs::remove_file(&file).expect("it is there");
    assert_eq!(drift.code, Some(1), "{drift:#?}");
    assert!(drift.out.contains("another value"), "{drift:#?}");
}

#[tokio::test]
async fn a_value_of_somebody_who_may_not_act_as_the_account_is_not_run() {
    let people = People::new("values").await;
    let writes = json!([{"apiGroups": ["pilothouse.dev"], "resources": ["parameters"], "verbs": ["get", "create", "patch", "update"]}]);
    let mallory = people
        .person_with("mallory", writes, ("patch", "parameters"), None)
        .await;
    let stage = Stage::within(people.cluster, people.namespace).await;
    stage.hosts_seen().await;
    stored(&stage, "mode", &json!({"value": "blue"}), 1).await;
    stage.apply(READERS).await;
    let hers = parameter("mode", &json!({"value": "evil"})).within(stage.name());
    hers.apply(&mallory).await.expect("she may write values");
    start(&stage, "evil", of("latest")).await;
    let (reason, message) = refusal(&stage.ends("evil").await);
    assert_eq!(reason, "WriterNotEntitled", "{message}");
    assert!(
        message.contains("Parameter mode") && message.contains("mallory"),
        "{message}"
    );
    // What stood there before is still the administrator's.
    assert_eq!(says(&stage, "old", of("pinned")).await.0, "mode blue\n");
    let status = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "Parameter", "status": {"version": 1}});
    let api: Api<Parameter> = Api::namespaced(mallory, stage.name());
    let (parameters, forged) = (PatchParams::default(), Patch::Merge(&status));
    let forged = api.patch_status("mode", &parameters, &forged).await;
    let answer = forged.expect_err("a status is the operator's");
    assert!(answer.to_string().contains("orbidden"), "{answer}");
}
