//! Story: people work with `kubectl pilothouse` as it was built, each with their own rights.

use e2e::{Stage, Terminal, rights, terminal::Said};
use serde_json::{Value, json};

const VALUE: &str = "s3cret-for-the-greeting";

const JOBS: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: greet}
spec:
  parameters: [{name: greeting, required: true}, {name: token, sensitive: true}]
  targets: {hosts: {selector: {matchLabels: {fleet: both}}}}
  steps: [{name: say, inline: {content: 'echo "$GREETING $TOKEN"', env: {GREETING: "{{ params.greeting }}", TOKEN: "{{ params.token }}"}}}]
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: slow}
spec:
  targets: {hosts: {names: [vm1]}}
  steps: [{name: sleep, timeout: 10m, inline: {content: sleep 600}}]
"#;

/// The values that `greet` asks for.
const GIVEN: [&str; 4] = ["-p", "greeting=hello", "--secret", "token=token/value"];

async fn scene(story: &str) -> Stage {
    let stage = Stage::set(story).await;
    stage.secret("token", "Opaque", &[("value", VALUE)]).await;
    stage.apply(JOBS).await;
    stage.hosts_seen().await;
    stage
}

/// A person with one of the chart's ClusterRoles, and what shows that they have it.
async fn person(stage: &Stage, name: &str, role: &str, may: (&str, &str)) -> Terminal {
    let role = json!({"kind": "ClusterRole", "name": role});
    rights::bind(&stage.client, stage.name(), name, &role).await;
    let client = stage.cluster.as_user(name, &["testers"]);
    rights::hold(&client, stage.name(), may, None, true).await;
    Terminal::of(name, stage.name())
}

/// The command ended with this code, and printed these words on standard output.
#[track_caller]
fn said(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:#?}");
    for word in words {
        assert!(said.out.contains(word), "no {word:?} in {said:#?}");
    }
    assert!(!said.out.contains(VALUE), "a secret is shown");
}

/// What was printed for programs.
#[track_caller]
fn parsed(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("no JSON: {error}: {said:#?}"))
}

#[tokio::test]
async fn whoever_may_run_runs_looks_plans_and_cancels() {
    let stage = scene("cli").await;
    let alice = person(&stage, "alice", "pilothouse-admin", ("create", "jobruns")).await;
    let exec = ["exec", "echo hi", "--hosts", "fleet=both"];
    said(&alice.pilothouse(&exec).await, 0, &["vm1 | hi", "pm1 | hi"]);

    let plan = [&["plan", "greet"][..], &GIVEN].concat();
    let words = ["hello", "***", "vm1", "pm1"];
    said(&alice.pilothouse(&plan).await, 0, &words);
    let json = [&plan[..], &["-o", "json"]].concat();
    let planned = parsed(&alice.pilothouse(&json).await);
    assert_eq!(planned["steps"][0]["name"], "say", "{planned:#}");

    let run = [
        &["run", "greet", "--name", "greeted", "--watch"][..],
        &GIVEN,
    ]
    .concat();
    said(&alice.pilothouse(&run).await, 0, &["Succeeded"]);
    let lines = ["say/vm1 | hello ***", "say/pm1 | hello ***"];
    said(&alice.pilothouse(&["logs", "greeted"]).await, 0, &lines);

    said(
        &alice.pilothouse(&["run", "slow", "--name", "slow"]).await,
        0,
        &["slow"],
    );
    stage.becomes("slow", &["Running"]).await;
    let cancel = ["cancel", "slow", "--reason", "had enough", "--watch"];
    said(&alice.pilothouse(&cancel).await, 2, &["Cancelled"]);
    let words = ["Cancelled", "alice", "had enough"];
    said(&alice.pilothouse(&["explain", "slow"]).await, 0, &words);
    let explained = parsed(&alice.pilothouse(&["explain", "slow", "-o", "json"]).await);
    assert_eq!(explained["status"]["summary"], "Cancelled", "{explained:#}");
}

#[tokio::test]
async fn whoever_may_look_sees_executions_and_logs_and_runs_nothing() {
    let stage = scene("cli-viewer").await;
    let carol = person(&stage, "carol", "pilothouse-viewer", ("list", "jobruns")).await;
    let job = "targets: {hosts: {names: [vm1]}}\nsteps: [{name: a, inline: {content: echo seen}}]";
    stage.run("shown", job).await;
    stage.ends("shown").await;
    let executions = carol.kubectl(&["get", "executions"]).await;
    said(&executions, 0, &["shown.a.vm1.1", "Succeeded"]);
    said(
        &carol.pilothouse(&["logs", "shown"]).await,
        0,
        &["a/vm1 | seen"],
    );
    let run = [&["run", "greet"][..], &GIVEN].concat();
    for typed in [&run[..], &["exec", "true", "--host", "vm1"]] {
        let refused = carol.pilothouse(typed).await;
        said(&refused, 3, &[]);
        assert!(
            refused.err.contains("cannot create resource"),
            "{refused:#?}"
        );
    }
}
