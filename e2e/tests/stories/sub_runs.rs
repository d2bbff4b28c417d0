//! Story: a Job runs another as a step: with its account and on its machines, as it was when the run was planned, and controlled together with it.

use std::time::Duration;

use crds::v1alpha1::Job;
use e2e::{
    Guest, Manifest, Replica, Stage, eventually,
    stage::{PATIENCE, refusal, row, state},
    wait_for,
};
use kube::Api;
use serde_json::{Value, json};

/// `outer` works on vm1 and has `inner` work there too; `inner` has `deep` do the last of it.
const JOBS: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: deep}
spec:
  parameters: [{name: TOKEN, sensitive: true}]
  targets: {hosts: {names: [vm1]}}
  steps:
  - {name: last, inline: {content: 'echo "deep $TOKEN"; echo deep >> /var/tmp/NAMESPACE', env: {TOKEN: "{{ params.TOKEN }}"}}}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: inner}
spec:
  parameters: [{name: word, required: true, pattern: '[a-z]+'}, {name: secret, sensitive: true}]
  targets: {hosts: {names: [vm1, pm1]}}
  steps:
  - {name: write, inline: {content: 'echo "inner $WORD" >> /var/tmp/NAMESPACE', env: {WORD: "{{ params.word }}"}}}
  - {name: deeper, needs: [write], job: {name: deep, parameters: {TOKEN: "{{ params.secret }}"}}}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: outer}
spec:
  parameters: [{name: token, sensitive: true}]
  targets: {hosts: {names: [vm1]}}
  steps:
  - {name: look, outputs: [{name: word}], inline: {content: 'echo "$PILOTHOUSE_OUTPUT word=hello"; echo outer >> /var/tmp/NAMESPACE'}}
  - {name: part, needs: [look], job: {name: inner, parameters: {word: hello, secret: "{{ params.token }}"}}}
  - {name: after, needs: [part], inline: {content: 'echo after >> /var/tmp/NAMESPACE'}}
"#;

/// A Job that rests until it is ended, and one that runs it.
const LONG: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: long}
spec:
  targets: {hosts: {names: [vm1]}}
  steps:
  - {name: first, inline: {content: 'while test ! -e /var/tmp/NAMESPACE-go; do sleep 0.2; done'}}
  - {name: second, needs: [first], inline: {content: 'echo second >> /var/tmp/NAMESPACE-second'}}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: whole}
spec:
  steps:
  - {name: part, timeout: TIMEOUT, job: {name: long}}
";

async fn start(stage: &Stage, name: &str, spec: Value) {
    let run = Manifest::of("JobRun", name, &spec).within(stage.name());
    run.create(&stage.client).await.expect("a run is accepted");
}

async fn start_job(stage: &Stage, name: &str, job: &str) {
    start(stage, name, json!({"jobRef": {"name": job}})).await;
}

/// Waits until a Job is plannable under a generation of its own.
async fn revision(stage: &Stage, job: &str, not: &str) -> String {
    let jobs = Api::<Job>::namespaced(stage.client.clone(), stage.name());
    let of = |job: &Job| job.status.as_ref().and_then(|s| s.revision.clone());
    let is = |job: Option<&Job>| job.and_then(of).is_some_and(|revision| revision != not);
    let seen = wait_for(jobs, job, "a revision", PATIENCE, is).await;
    of(&seen).expect("a revision")
}

async fn summary(stage: &Stage, run: &str) -> String {
    let status = stage.ends(run).await.status.expect("status");
    status.summary.expect("a summary")
}

#[tokio::test]
async fn a_job_runs_another_on_its_own_machines_with_its_account_and_secrets() {
    let stage = Stage::set("parts").await;
    stage.hosts_seen().await;
    stage
        .secret("token", "Opaque", &[("value", "hidden-0815")])
        .await;
    stage.apply(JOBS).await;
    let spec = json!({"jobRef": {"name": "outer"}, "secretParameters": {"token": {"name": "token", "key": "value"}}});
    start(&stage, "run", spec).await;
    assert_eq!(summary(&stage, "run").await, "Succeeded");
    let written = Guest("vm1").sh(&format!("cat /var/tmp/{}", stage.name()));
    assert_eq!(written, "outer\ninner hello\ndeep\nafter\n");

    let rows = stage.executions("run").await;
    assert_eq!(state(&rows, "part", ""), "Succeeded");
    let inner = stage.part("run").await;
    let deep = stage.part(&inner).await;
    let said = row(&rows, "part", "");
    assert!(said["message"].to_string().contains(&inner), "{said}");
    assert_eq!(stage.log(&deep, "last", "vm1").await, b"deep ***\n");
    let spec = stage.runs().get(&deep).await.expect("the deepest").spec;
    let chain: Vec<_> = spec.on_behalf_of.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(chain, [inner.as_str(), "run"]);
    assert!(spec.parameters.is_empty(), "a secret stays where it is");

    let foreground = kube::api::DeleteParams::foreground();
    stage
        .runs()
        .delete("run", &foreground)
        .await
        .expect("deleted");
    for run in ["run", &inner, &deep] {
        stage.gone(run).await;
    }
}

#[tokio::test]
async fn what_a_run_is_part_of_controls_it() {
    let stage = Stage::set("together").await;
    stage.hosts_seen().await;
    stage.apply(&LONG.replace("TIMEOUT", "10m")).await;
    start_job(&stage, "held", "whole").await;
    let inner = stage.part("held").await;
    eventually("the first effect", PATIENCE, || async {
        (!stage.executions(&inner).await.is_empty()).then_some(())
    })
    .await;
    stage.act("held", "Suspend").await;
    let suspended = stage.becomes(&inner, &["Suspended"]).await;
    let said = suspended.status.and_then(|s| s.message).unwrap_or_default();
    assert!(said.contains("part of is suspended"), "{said}");
    Guest("vm1").sh(&format!("touch /var/tmp/{}-go", stage.name()));
    eventually("the end of what ran", PATIENCE, || async {
        let rows = stage.executions(&inner).await;
        (state(&rows, "first", "vm1") == "Succeeded").then_some(())
    })
    .await;
    assert!(Replica::leader(&stage.client).await.killed().await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        stage.executions(&inner).await.len(),
        1,
        "nothing new starts"
    );
    stage.act("held", "Resume").await;
    assert_eq!(summary(&stage, "held").await, "Succeeded");
    let lines = Guest("vm1").sh(&format!(
        "cat /var/tmp/{0}-second; rm /var/tmp/{0}-go",
        stage.name()
    ));
    assert_eq!(lines, "second\n");

    start_job(&stage, "ended", "whole").await;
    let inner = stage.part("ended").await;
    stage.becomes(&inner, &["Running"]).await;
    stage.act("ended", "Cancel").await;
    assert_eq!(summary(&stage, "ended").await, "Cancelled");
    assert_eq!(summary(&stage, &inner).await, "Cancelled");

    stage.apply(&LONG.replace("TIMEOUT", "3s")).await;
    start_job(&stage, "late", "whole").await;
    assert_eq!(summary(&stage, "late").await, "Failed");
    let rows = stage.executions("late").await;
    assert_eq!(state(&rows, "part", ""), "TimedOut", "{rows:#?}");
    assert_eq!(
        summary(&stage, &stage.part("late").await).await,
        "Cancelled"
    );
}

#[tokio::test]
async fn what_leads_back_is_not_there_or_was_changed_is_refused() {
    let stage = Stage::set("refused").await;
    let calling = |name: &str, calls: &str| {
        format!(
            "{{apiVersion: pilothouse.dev/v1alpha1, kind: Job, metadata: {{name: {name}}}, spec: {{steps: [{{name: s, job: {{name: {calls}}}}}]}}}}\n---\n"
        )
    };
    stage
        .apply(&[calling("a", "b"), calling("b", "a"), calling("c", "gone")].concat())
        .await;
    for (job, reason, word) in [
        ("a", "JobRunsItself", "a -> b -> a"),
        ("c", "JobNotFound", "gone"),
    ] {
        start_job(&stage, job, job).await;
        let (refused, message) = refusal(&stage.ends(job).await);
        assert_eq!(refused, reason);
        assert!(message.contains(word), "{message}");
    }

    let pause = |seconds: u32| {
        format!(
            "{{apiVersion: pilothouse.dev/v1alpha1, kind: Job, metadata: {{name: gone}}, spec: {{steps: [{{name: s, pause: {{duration: {seconds}s}}}}]}}}}"
        )
    };
    stage.apply(&pause(1)).await;
    let first = revision(&stage, "c", "").await;
    let pinned = |revision: &str| json!({"jobRef": {"name": "c"}, "jobRevision": revision});
    start(&stage, "same", pinned(&first)).await;
    assert_eq!(summary(&stage, "same").await, "Succeeded");
    stage.apply(&pause(2)).await;
    let second = revision(&stage, "c", &first).await;
    start(&stage, "other", pinned(&first)).await;
    let (reason, message) = refusal(&stage.ends("other").await);
    assert_eq!(reason, "JobChanged");
    assert!(message.contains(&second), "{message}");
}

/// Two Jobs that each hold a machine and have another work on the other's.
const CROSSED: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: on-HOST}
spec:
  targets: {hosts: {names: [HOST]}}
  steps: [{name: s, inline: {content: 'true'}}]
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: from-HOST}
spec:
  targets: {hosts: {names: [HOST]}}
  steps:
  - {name: hold, inline: {content: 'touch /var/tmp/NAMESPACE-held; while test ! -e /var/tmp/NAMESPACE-go; do sleep 0.2; done'}}
  - {name: cross, needs: [hold], job: {name: on-OTHER}}
";

#[tokio::test]
async fn two_runs_that_would_wait_for_each_others_machines_do_not_wait_for_ever() {
    let stage = Stage::set("crossed").await;
    stage.hosts_seen().await;
    for (host, other) in [("vm1", "pm1"), ("pm1", "vm1")] {
        stage
            .apply(&CROSSED.replace("HOST", host).replace("OTHER", other))
            .await;
    }
    for host in ["vm1", "pm1"] {
        start_job(&stage, host, &format!("from-{host}")).await;
    }
    for host in ["vm1", "pm1"] {
        let held = format!(
            "for i in $(seq 300); do test -e /var/tmp/{0}-held && break; sleep 0.2; done; touch /var/tmp/{0}-go",
            stage.name()
        );
        Guest(host).sh(&held);
    }
    let mut ends = [summary(&stage, "vm1").await, summary(&stage, "pm1").await];
    ends.sort();
    assert_eq!(ends, ["Failed", "Succeeded"]);
    let mut refused = 0;
    for host in ["vm1", "pm1"] {
        let rows = stage.executions(host).await;
        let reason = &row(&rows, "cross", "")["reason"];
        refused += usize::from(reason == "WouldWaitForItself");
    }
    assert_eq!(refused, 1);
}
