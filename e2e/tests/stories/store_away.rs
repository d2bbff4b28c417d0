//! Story: the store of records is gone for a while. The rest of the cluster does not notice, runs wait and say so, and nothing is lost.

use std::time::Duration;

use e2e::{Away, Stage, TestNamespace, stage::state};
use kube::ResourceExt as _;

/// An unrelated namespace is gone well within this, store or no store.
const GONE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_cluster_does_not_notice_and_runs_wait() {
    let stage = Stage::set("away").await;
    stage.hosts_seen().await;
    let away = Away::store(&stage).await;

    let unrelated = TestNamespace::create(&stage.cluster, "unrelated").await;
    unrelated.removed(GONE).await;

    let groups = stage
        .client
        .list_api_group_resources("records.pilothouse.dev/v1alpha1");
    let served = groups.await.expect("what is served is told by a front");
    assert_eq!(served.resources[0].name, "executions");

    let job = "targets: {hosts: {names: [vm1]}}\nsteps: [{name: a, inline: {content: echo done}}]";
    stage.run("patient", job).await;
    stage.waits("patient", "WaitingForRecords").await;
    stage.run("given-up", job).await;
    stage.waits("given-up", "WaitingForRecords").await;
    stage.act("given-up", "Cancel").await;
    let ended = stage.ends("given-up").await;
    assert!(
        !ended.finalizers().is_empty(),
        "it waits for its place in the archive"
    );
    drop(away);
    let ended = stage.ends("patient").await.status.expect("status");
    assert_eq!(ended.summary.as_deref(), Some("Succeeded"), "{ended:#?}");
    let rows = stage.executions("patient").await;
    assert_eq!(state(&rows, "a", "vm1"), "Succeeded");
    assert_eq!(stage.log("patient", "a", "vm1").await, b"done\n");
    stage.archived("JobRun", "given-up", "Cancelled").await;
    stage.archived("RunAction", "given-up-", "Applied").await;
}
