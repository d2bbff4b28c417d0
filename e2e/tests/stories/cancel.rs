//! Story: a run can be cancelled in every state, and what it started is gone.

use std::time::{Duration, Instant};

use e2e::{
    Guest, Stage, eventually, rights,
    stage::{PATIENCE, state},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};

const SLOW: &str = r#"
targets: {hosts: {names: [vm1]}}
steps: [{name: slow, timeout: 10m, inline: {content: "sleep 7331 & sleep 7331"}}]
"#;

async fn cancelled(stage: &Stage, run: &str) {
    stage.act(run, "Cancel").await;
    let status = stage.ends(run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Cancelled"), "{status:#?}");
}

async fn sleeps(guest: Guest, wanted: bool) {
    let found = || async move {
        (guest.output("pgrep -f 'sleep 7331'").status.success() == wanted).then_some(())
    };
    eventually(
        if wanted {
            "process on the host"
        } else {
            "end of the processes on the host"
        },
        PATIENCE,
        found,
    )
    .await;
}

#[tokio::test]
async fn running_work_is_ended_with_its_whole_process_group() {
    let stage = Stage::set("cancel-running").await;
    stage.hosts_seen().await;
    stage.run("slow", SLOW).await;
    sleeps(Guest("vm1"), true).await;
    stage.run("behind", SLOW).await;
    let told = stage.waits("behind", "WaitingForMachine").await;
    assert!(told.contains("slow"), "the wait names the run: {told}");
    cancelled(&stage, "behind").await;
    cancelled(&stage, "slow").await;
    sleeps(Guest("vm1"), false).await;
    let rows = stage.executions("slow").await;
    assert_eq!(state(&rows, "slow", "vm1"), "Cancelled");
}

#[tokio::test]
async fn a_run_that_has_not_started_is_cancelled_at_once() {
    let stage = Stage::set("cancel-early").await;
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> =
        Api::namespaced(stage.client.clone(), stage.name());
    bindings
        .delete("pilothouse-runner", &DeleteParams::default())
        .await
        .expect("the binding is there");
    let runner = stage.cluster.as_account(stage.name(), "pilothouse-runner");
    rights::hold(&runner, stage.name(), ("list", "hosts"), None, false).await;
    stage.run("unplanned", SLOW).await;
    let waiting = stage
        .becomes("unplanned", &["Waiting"])
        .await
        .status
        .expect("status");
    assert!(
        waiting
            .message
            .is_some_and(|m| m.contains("pilothouse-runner")),
        "the wait names the account"
    );
    cancelled(&stage, "unplanned").await;
}

#[tokio::test]
async fn suspended_paused_and_retrying_runs_are_cancelled() {
    let stage = Stage::set("cancel-idle").await;
    stage.hosts_seen().await;
    let idle = r#"
targets: {hosts: {names: [vm1]}}
sharing: Shared
steps: [{name: fails, retries: 3, backoff: 5m, inline: {content: "exit 3"}}]
"#;
    stage.run("retrying", idle).await;
    eventually("a failed attempt", PATIENCE, || async {
        stage
            .executions("retrying")
            .await
            .iter()
            .any(|r| r["state"] == "Failed")
            .then_some(())
    })
    .await;
    cancelled(&stage, "retrying").await;
    let rest = r#"
targets: {hosts: {names: [vm1, pm1]}}
strategy: {batches: [1], pauseBetween: 1h}
steps: [{name: ok, inline: {content: "true"}}]
"#;
    stage.run("resting", rest).await;
    eventually("the first batch", PATIENCE, || async {
        (stage
            .executions("resting")
            .await
            .iter()
            .filter(|r| r["state"] == "Succeeded")
            .count()
            == 1)
            .then_some(())
    })
    .await;
    stage.act("resting", "Suspend").await;
    stage.becomes("resting", &["Suspended"]).await;
    cancelled(&stage, "resting").await;
}

/// Waits until something was started.
async fn begins(stage: &Stage, run: &str) {
    eventually("the first row", PATIENCE, || async {
        (!stage.executions(run).await.is_empty()).then_some(())
    })
    .await;
}

/// Waits until a step has printed that it is on its way.
async fn prints(stage: &Stage, run: &str, step: &str, target: &str) {
    begins(stage, run).await;
    eventually("the step's output", PATIENCE, || async {
        let log = stage.log(run, step, target).await;
        log.starts_with(b"begun").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_command_in_a_pod_is_let_go_of_and_the_row_says_so() {
    let stage = Stage::set("cancel-exec").await;
    stage.shell("shell").await;
    let job = r#"
targets: {pods: {names: [shell]}}
steps: [{name: long, timeout: 10m, exec: {command: [/bin/sh, -c, "echo begun; sleep 600"]}}]
"#;
    stage.run("exec", job).await;
    prints(&stage, "exec", "long", "shell").await;
    cancelled(&stage, "exec").await;
    let rows = stage.executions("exec").await;
    assert_eq!(state(&rows, "long", "shell"), "Cancelled");
    let message = rows[0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("may still run"), "{rows:#?}");
}

#[tokio::test]
async fn a_pod_step_is_ended_and_its_pod_goes_away() {
    let stage = Stage::set("cancel-pod").await;
    let job = r#"
steps: [{name: long, timeout: 10m, pod: {image: "local/busybox:1", command: [/bin/sh, -c, "echo begun; sleep 600"]}}]
"#;
    stage.run("pod", job).await;
    prints(&stage, "pod", "long", "").await;
    cancelled(&stage, "pod").await;
    let rows = stage.executions("pod").await;
    assert_eq!(rows[0]["state"], "Cancelled", "{rows:#?}");
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), stage.name());
    eventually("the pod's removal", PATIENCE, || async {
        let left = pods.list(&ListParams::default()).await.ok()?;
        left.items.is_empty().then_some(())
    })
    .await;
}

const DEAD: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: dead}
spec: {type: PhysicalMachine, address: 172.31.250.99, credentialsRef: {name: fleet-key}, hostKeys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGeKNsmVUmvdWZ7aiClLcFbrwpSX0HJQGvNO8TzUQnx4"]}
"#;

/// Far less than the delivery timeout, and more than a busy machine needs for a cancel.
const AT_ONCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_search_for_a_dead_host_is_given_up_at_once() {
    let stage = Stage::set("cancel-dead").await;
    stage.apply(DEAD).await;
    let job = r#"
targets: {hosts: {names: [dead]}}
steps: [{name: never, deliveryTimeout: 10m, inline: {content: "true"}}]
"#;
    stage.run("sought", job).await;
    begins(&stage, "sought").await;
    let asked = Instant::now();
    cancelled(&stage, "sought").await;
    assert!(asked.elapsed() < AT_ONCE, "it took {:?}", asked.elapsed());
    let rows = stage.executions("sought").await;
    assert_eq!(state(&rows, "never", "dead"), "Cancelled", "{rows:#?}");
}

#[tokio::test]
async fn deleting_a_run_ends_what_it_started() {
    let stage = Stage::set("cancel-delete").await;
    stage.hosts_seen().await;
    let job = SLOW.replace("vm1", "pm1");
    stage.run("gone", &job).await;
    sleeps(Guest("pm1"), true).await;
    let runs = stage.runs();
    let uid = runs.get("gone").await.expect("it is there").uid();
    runs.delete("gone", &DeleteParams::default())
        .await
        .expect("it can be deleted");
    sleeps(Guest("pm1"), false).await;
    let gone = || async {
        runs.get_opt("gone")
            .await
            .expect("the API answers")
            .is_none_or(|r| r.uid() != uid)
            .then_some(())
    };
    eventually("the run's removal", PATIENCE, gone).await;
}
