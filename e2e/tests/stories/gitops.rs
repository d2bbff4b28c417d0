//! Story: a run that was deleted some time after its end still stands in Git; synced again it does nothing, and stays.

use e2e::{Guest, Manifest, Stage, stage::refusal};
use serde_json::json;

#[tokio::test]
async fn a_run_that_went_by_its_age_and_is_applied_again_does_nothing() {
    let stage = Stage::set("gitops").await;
    stage.hosts_seen().await;
    let line = format!("echo once >> /var/tmp/{}", stage.name());
    let spec = json!({"ttlAfterFinished": "2s", "job": {"sharing": "Shared", "targets": {"hosts": {"names": ["vm1"]}},
        "steps": [{"name": "a", "inline": {"content": line}}]}});
    let run = Manifest::of("JobRun", "synced", &spec).within(stage.name());
    run.apply(&stage.client).await.expect("a run is accepted");
    stage.gone("synced").await;
    assert_eq!(stage.executions("synced").await.len(), 1, "records stay");

    run.apply(&stage.client).await.expect("a run is accepted");
    let again = stage.ends("synced").await;
    assert_eq!(refusal(&again).0, "AlreadyBegun");
    // Longer than its age: Git is content with what there is.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let still = stage.runs().get("synced").await.expect("it stays");
    assert_eq!(still.metadata.uid, again.metadata.uid);
    let lines = Guest("vm1").sh(&format!("cat /var/tmp/{}", stage.name()));
    assert_eq!(lines, "once\n");
}
