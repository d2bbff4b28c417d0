//! Story: records are copied while they work, and brought back. What stood in the copy is there, what came later is not, and no name begins twice.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use e2e::{
    Stage,
    cluster::kubeconfig_path,
    stage::{SYSTEM, refusal, state_folder},
};
use kube::api::DeleteParams;

const JOB: &str = "
targets: {hosts: {names: [vm1]}}
steps: [{name: a, inline: {content: echo done}}]";

fn kubectl(words: &[&str], input: Stdio, output: Stdio) {
    let kubectl = Command::new(state_folder().join("bin/kubectl"))
        .arg("--kubeconfig")
        .arg(kubeconfig_path())
        .args(["--namespace", SYSTEM])
        .args(words)
        .stdin(input)
        .stdout(output)
        .status();
    assert!(kubectl.expect("kubectl starts").success(), "{words:?}");
}

#[tokio::test]
async fn records_come_back_as_they_were_copied_and_nothing_begins_twice() {
    let stage = Stage::set("backup").await;
    stage.hosts_seen().await;
    stage.run("kept", JOB).await;
    stage.ends("kept").await;
    let copy = state_folder().join("backup.sqlite");
    let made = File::create(&copy).expect("a file for the copy");
    let backup = ["exec", "pilothouse-server-0", "--", "/server", "backup"];
    kubectl(&backup, Stdio::null(), made.into());
    stage.run("lost", JOB).await;
    stage.ends("lost").await;

    let read = File::open(&copy).expect("the copy is there");
    let restore = [
        "exec",
        "-i",
        "pilothouse-server-0",
        "--",
        "/server",
        "restore",
    ];
    kubectl(&restore, read.into(), Stdio::null());
    assert_eq!(
        stage.executions("lost").await.len(),
        1,
        "in use until it starts again"
    );
    for words in [
        &["rollout", "restart", "statefulset/pilothouse-server"][..],
        &[
            "rollout",
            "status",
            "statefulset/pilothouse-server",
            "--timeout=3m",
        ],
    ] {
        kubectl(words, Stdio::null(), Stdio::null());
    }
    // The front answers for the store once that is open.
    stage.run("today", JOB).await;
    stage.ends("today").await;
    assert_eq!(stage.executions("today").await.len(), 1);
    assert_eq!(stage.executions("kept").await.len(), 1);
    assert_eq!(stage.log("kept", "a", "vm1").await, b"done\n");
    assert_eq!(stage.executions("lost").await.len(), 0);

    let gone = stage.runs().delete("kept", &DeleteParams::default()).await;
    gone.expect("an administrator deletes");
    stage.gone("kept").await;
    stage.run("kept", JOB).await;
    let (reason, _) = refusal(&stage.ends("kept").await);
    assert_eq!(reason, "AlreadyBegun");
}
