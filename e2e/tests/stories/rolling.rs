//! Story: a rolling change over hosts pauses itself when one fails, and goes on or ends when somebody says so.

use e2e::{Guest, Stage};

const JOB: &str = r#"
targets: {hosts: {names: [vm1, pm1]}}
strategy: {batches: [1], onThreshold: Pause}
steps:
- name: restart
  inline: {content: 'test "$(hostname)" != vm1 && systemctl restart ssh && echo restarted', env: {}}
"#;

#[tokio::test]
async fn a_failure_pauses_the_run_and_resume_goes_on() {
    let stage = Stage::set("rolling").await;
    stage.hosts_seen().await;
    stage.run("roll", JOB).await;
    let paused = stage
        .becomes("roll", &["Suspended"])
        .await
        .status
        .expect("status");
    assert_eq!(
        (paused.steps[0].failed, paused.steps[0].pending),
        (1, 1),
        "nothing new starts"
    );
    assert_eq!(paused.steps[0].failed_targets, ["vm1"]);
    stage.act("roll", "Resume").await;
    let ended = stage.ends("roll").await.status.expect("status");
    assert_eq!((ended.steps[0].succeeded, ended.steps[0].failed), (1, 1));
    assert_eq!(
        ended.summary.as_deref(),
        Some("Failed"),
        "a failed target stays one"
    );
    assert_eq!(Guest("pm1").sh("systemctl is-active ssh").trim(), "active");
}

#[tokio::test]
async fn a_paused_run_can_be_cancelled() {
    let stage = Stage::set("rolling-cancel").await;
    stage.hosts_seen().await;
    stage.run("roll", JOB).await;
    stage.becomes("roll", &["Suspended"]).await;
    stage.act("roll", "Cancel").await;
    let ended = stage.ends("roll").await.status.expect("status");
    assert_eq!(
        (ended.summary.as_deref(), ended.steps[0].skipped),
        (Some("Cancelled"), 1)
    );
}
