//! Story: a rolling change over hosts pauses itself when one fails, and goes on or ends when somebody says so.

use e2e::{Guest, Manifest, Stage, Terminal, stage::refusal};
use serde_json::json;

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

/// Fails on vm1 until somebody has mended it; over its threshold a run of it ends.
const STOPPING: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: stopping}
spec:
  parameters: [{name: word, required: true}]
  targets: {hosts: {names: [pm1, vm1]}}
  strategy: {batches: [1]}
  steps: [{name: change, inline: {content: 'test "$(hostname)" != vm1 || test -e /var/tmp/NAMESPACE-mended || exit 1; echo "$WORD" >> /var/tmp/NAMESPACE', env: {WORD: "{{ params.word }}"}}}]
"#;

#[tokio::test]
async fn what_a_run_that_has_ended_has_left_is_done_by_another() {
    let stage = Stage::set("left").await;
    stage.hosts_seen().await;
    stage.apply(STOPPING).await;
    let start = async |name: &str, spec| {
        let run = Manifest::of("JobRun", name, &spec).within(stage.name());
        run.create(&stage.client).await.expect("a run is accepted");
    };
    let spec = json!({"jobRef": {"name": "stopping"}, "parameters": {"word": "changed"}});
    start("first", spec).await;
    let first = stage.ends("first").await.status.expect("a status");
    let counts = first.targets.expect("counts");
    assert_eq!((counts.succeeded, counts.failed), (1, 1));

    Guest("vm1").sh(&format!("touch /var/tmp/{}-mended", stage.name()));
    let terminal = Terminal::of_the_administrator(stage.name());
    let retried = terminal
        .pilothouse(&["retry", "first", "--watch", "-o", "json"])
        .await;
    assert_eq!(retried.code, Some(0), "{retried:#?}");
    let second: crds::v1alpha1::JobRun = serde_json::from_str(&retried.out).expect("a run");
    let status = second.status.expect("a status");
    assert_eq!(status.targets.map(|t| t.total), Some(1));
    let changed = format!("cat /var/tmp/{}", stage.name());
    for host in ["vm1", "pm1"] {
        assert_eq!(Guest(host).sh(&changed), "changed\n", "{host}");
    }

    let name = second.metadata.name.expect("a name");
    let of = |job: &str| json!({"jobRef": {"name": job}, "onlyFailedOf": {"name": name}, "parameters": {"word": "again"}});
    start("nothing", of("stopping")).await;
    let nothing = stage.ends("nothing").await.status.expect("a status");
    assert_eq!(nothing.summary.as_deref(), Some("Skipped"));
    stage
        .apply(&STOPPING.replace("name: stopping", "name: other"))
        .await;
    start("other", of("other")).await;
    let (reason, _) = refusal(&stage.ends("other").await);
    assert_eq!(reason, "EarlierRunOfAnotherJob");
}
