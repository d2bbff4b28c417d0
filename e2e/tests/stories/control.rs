//! Story: a run is controlled while it goes on: suspended, retried where it failed, led around a step, and given more room; who did it stands in its status.

use std::time::Duration;

use crds::v1alpha1::{JobRunStatus, RunAction, condition_is_true, find_condition};
use e2e::{
    Guest, Manifest, Stage, eventually,
    guest::HOSTS,
    stage::{PATIENCE, state},
    wait_for,
};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

/// `a` fails on pm1 until somebody has mended it there; `b` comes after.
const FAILS: &str = r#"
sharing: Shared
targets: {hosts: {names: [vm1, pm1]}}
strategy: {onThreshold: Pause}
steps:
- {name: a, inline: {content: 'echo a >> "/var/tmp/$RUN"; test "$(hostname)" = vm1 -o -e "/var/tmp/$RUN-mended"', env: {RUN: "{{ run.namespace }}-{{ run.name }}"}}}
- {name: b, needs: [a], inline: {content: 'echo b >> "/var/tmp/$RUN"', env: {RUN: "{{ run.namespace }}-{{ run.name }}"}}}
"#;

/// What both steps left on a host.
fn lines(stage: &Stage, run: &str, host: &'static str) -> String {
    Guest(host).sh(&format!("cat /var/tmp/{}-{run}", stage.name()))
}

async fn act(stage: &Stage, run: &str, action: Value) -> RunAction {
    let mut spec = json!({"runRef": {"name": run}, "reason": "story"});
    spec.as_object_mut().expect("an object").extend(
        action
            .as_object()
            .expect("an object")
            .iter()
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    let name = format!(
        "{run}-{}",
        spec["action"].as_str().unwrap_or_default().to_lowercase()
    );
    let written = Manifest::of("RunAction", &name, &spec).within(stage.name());
    written
        .create(&stage.client)
        .await
        .expect("an administrator may act");
    let actions = Api::<RunAction>::namespaced(stage.client.clone(), stage.name());
    let answered = |action: Option<&RunAction>| {
        let status = action.and_then(|a| a.status.as_ref());
        status.is_some_and(|s| find_condition(&s.conditions, "Applied").is_some())
    };
    wait_for(actions, &name, "an answer", PATIENCE, answered).await
}

fn was_applied(action: &RunAction) -> bool {
    let status = action.status.as_ref();
    status.is_some_and(|s| condition_is_true(&s.conditions, "Applied"))
}

async fn paused(stage: &Stage, run: &str) -> JobRunStatus {
    stage.run(run, FAILS).await;
    stage
        .becomes(run, &["Suspended"])
        .await
        .status
        .expect("status")
}

async fn succeeds(stage: &Stage, run: &str) -> JobRunStatus {
    let status = stage.ends(run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    status
}

#[tokio::test]
async fn what_failed_is_retried_and_nothing_else() {
    let stage = Stage::set("retry").await;
    stage.hosts_seen().await;
    assert_eq!(paused(&stage, "run").await.steps[0].failed_targets, ["pm1"]);
    Guest("pm1").sh(&format!("touch /var/tmp/{}-run-mended", stage.name()));
    assert!(was_applied(
        &act(&stage, "run", json!({"action": "RetryFailed"})).await
    ));
    let status = succeeds(&stage, "run").await;
    assert_eq!(lines(&stage, "run", "vm1"), "a\nb\n");
    assert_eq!(lines(&stage, "run", "pm1"), "a\na\nb\n");
    let mut attempts: Vec<_> = stage
        .executions("run")
        .await
        .iter()
        .map(|r| {
            (
                r["step"].to_string(),
                r["target"].to_string(),
                r["attempt"].to_string(),
            )
        })
        .collect();
    attempts.sort();
    assert_eq!(attempts.len(), 5, "{attempts:?}");
    let told = &status.actions[0];
    assert_eq!(
        (
            format!("{:?}", told.action).as_str(),
            told.reason.as_deref()
        ),
        ("RetryFailed", Some("story"))
    );
    assert!(!told.by.is_empty());
}

#[tokio::test]
async fn a_run_is_led_around_a_step() {
    let stage = Stage::set("around").await;
    stage.hosts_seen().await;
    paused(&stage, "skip").await;
    let unknown = act(&stage, "skip", json!({"action": "ResumeFrom", "step": "c"})).await;
    let applied = unknown.status.expect("status");
    let applied = find_condition(&applied.conditions, "Applied")
        .expect("an answer")
        .clone();
    assert_eq!(
        (applied.status.as_str(), applied.reason.as_str()),
        ("False", "StepNotFound")
    );
    assert!(was_applied(
        &act(&stage, "skip", json!({"action": "Skip", "step": "a"})).await
    ));
    let status = succeeds(&stage, "skip").await;
    assert_eq!((status.steps[0].skipped, status.steps[1].succeeded), (1, 2));
    assert_eq!(status.skipped_steps, ["a"]);
    assert_eq!(lines(&stage, "skip", "pm1"), "a\nb\n");

    paused(&stage, "from").await;
    assert!(was_applied(
        &act(&stage, "from", json!({"action": "ResumeFrom", "step": "b"})).await
    ));
    succeeds(&stage, "from").await;
    assert_eq!(
        state(&stage.executions("from").await, "b", "pm1"),
        "Succeeded"
    );
}

#[tokio::test]
async fn a_run_gets_more_room_while_it_goes_on() {
    let stage = Stage::set("room").await;
    stage.hosts_seen().await;
    let file = format!("/var/tmp/{}-go", stage.name());
    let waits = format!("
sharing: Shared
targets: {{hosts: {{names: [vm1, pm1]}}}}
strategy: {{maxParallel: 1}}
steps: [{{name: a, timeout: 10m, inline: {{content: 'while ! test -e {file}; do sleep 0.2; done'}}}}]");
    stage.run("run", &waits).await;
    let running = || async {
        let run = stage.runs().get("run").await.ok()?;
        Some(run.status?.steps.first()?.running)
    };
    eventually("one execution", PATIENCE, || async {
        running().await.filter(|n| *n == 1)
    })
    .await;
    assert!(was_applied(
        &act(
            &stage,
            "run",
            json!({"action": "SetMaxParallel", "maxParallel": 2})
        )
        .await
    ));
    eventually("two executions", PATIENCE, || async {
        running().await.filter(|n| *n == 2)
    })
    .await;
    for host in HOSTS {
        host.sh(&format!("touch {file}"));
    }
    assert_eq!(succeeds(&stage, "run").await.max_parallel, Some(2));
}

#[tokio::test]
async fn a_suspended_run_starts_nothing_more_until_it_is_resumed() {
    let stage = Stage::set("suspend").await;
    stage.hosts_seen().await;
    let step = |n: usize| {
        let needs = if n == 0 {
            String::new()
        } else {
            format!("needs: [s{}], ", n - 1)
        };
        format!("- {{name: s{n}, {needs}inline: {{content: 'sleep 0.1'}}}}\n")
    };
    let steps: String = (0..20).map(step).collect();
    stage
        .run(
            "run",
            &format!("sharing: Shared\ntargets: {{hosts: {{names: [vm1, pm1]}}}}\nsteps:\n{steps}"),
        )
        .await;
    eventually("some steps", PATIENCE, || async {
        (stage.executions("run").await.len() >= 6).then_some(())
    })
    .await;
    let asked = Timestamp::now();
    act(&stage, "run", json!({"action": "Suspend"})).await;
    println!(
        "taken in after {:#}",
        Timestamp::now().duration_since(asked)
    );
    let suspended = stage.becomes("run", &["Suspended"]).await;
    assert!(suspended.status.is_some_and(|s| s.asked.is_some()));
    // Whatever had been started by then ends, and its row is there.
    eventually("the end of what runs", PATIENCE, || async {
        let rows = stage.executions("run").await;
        rows.iter().all(|r| r["state"] != "Started").then_some(())
    })
    .await;
    let rows = stage.executions("run").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        stage.executions("run").await.len(),
        rows.len(),
        "nothing new starts"
    );
    act(&stage, "run", json!({"action": "Resume"})).await;
    succeeds(&stage, "run").await;
    let runs = stage.runs().get("run").await.expect("it is there");
    let told: Vec<_> = runs
        .status
        .iter()
        .flat_map(|s| &s.actions)
        .map(|a| format!("{:?}", a.action))
        .collect();
    assert_eq!(told, ["Suspend", "Resume"], "{}", runs.name_any());
}
