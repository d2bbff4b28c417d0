//! Story: a run can be cancelled in every state, and what it started is gone.

use e2e::{Guest, Stage, eventually, stage::PATIENCE};
use kube::{Api, ResourceExt as _, api::DeleteParams};

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
    let waiting = stage.becomes("behind", &["Waiting"]).await;
    assert!(
        waiting
            .status
            .and_then(|s| s.message)
            .is_some_and(|m| m.contains("slow")),
        "the wait names the run"
    );
    cancelled(&stage, "behind").await;
    cancelled(&stage, "slow").await;
    sleeps(Guest("vm1"), false).await;
    let rows = stage.executions("slow").await;
    assert_eq!(e2e::stage::state(&rows, "slow", "vm1"), "Cancelled");
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
