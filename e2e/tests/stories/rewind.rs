//! Story: etcd is set back to what it was before runs ended and before others were created, and what is gone is applied anew. No effect happens a second time, and
//! each run ends or says why it did not begin.

use std::{fs, process::Command};

use crds::v1alpha1::ScheduledTask;
use e2e::{
    Away, Part, Stage, etcd, eventually,
    guest::HOSTS,
    stage::{PATIENCE, refusal, state, state_folder},
};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, api::DeleteParams};

/// Appends the run's name on both hosts.
fn manifest(stage: &Stage, run: &str, more: &str, rest: &str) -> String {
    let file = stage.name();
    format!(
        "
apiVersion: pilothouse.dev/v1alpha1
kind: JobRun
metadata: {{name: {run}}}
spec:
  job:
    targets: {{hosts: {{names: [vm1, pm1]}}}}
    sharing: Shared
    steps: [{{name: a, retries: 1, inline: {{content: 'echo {run} >> /var/tmp/{file}; {rest} echo done'}}}}]
{more}"
    )
}

/// A Job that appends a word on both hosts.
fn job(stage: &Stage, word: &str, rest: &str) -> String {
    let file = stage.name();
    format!(
        "
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {{name: {word}}}
spec:
  targets: {{hosts: {{names: [vm1, pm1]}}}}
  sharing: Shared
  steps: [{{name: a, retries: 1, inline: {{content: 'echo {word} >> /var/tmp/{file}; {rest} echo done'}}}}]
"
    )
}

/// A run of which the last step is that Job.
fn running(job: &str, before: &str) -> String {
    format!(
        "
apiVersion: pilothouse.dev/v1alpha1
kind: JobRun
metadata: {{name: has-{job}}}
spec:
  job:
    steps:
    - {{name: rest, pause: {{duration: {before}}}}}
    - {{name: part, needs: [rest], job: {{name: {job}}}}}
"
    )
}

/// A task that fires once, soon.
fn task(job: &str, seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    format!(
        "
apiVersion: pilothouse.dev/v1alpha1
kind: ScheduledTask
metadata: {{name: {job}}}
spec: {{jobRef: {{name: {job}}}, schedule: {{at: '{at:.0}'}}, misfire: {{policy: RunOnce, deadline: 1h}}}}
"
    )
}

/// Waits until a word was appended on both hosts.
async fn written(stage: &Stage, word: &str) {
    for host in HOSTS {
        let look = format!("cat /var/tmp/{}; true", stage.name());
        eventually(word, PATIENCE, || async {
            host.sh(&look)
                .lines()
                .any(|line| line == word)
                .then_some(())
        })
        .await;
    }
}

async fn succeeds(stage: &Stage, run: &str) {
    let status = stage.ends(run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
}

async fn is_refused(stage: &Stage, run: &str, wanted: &str) {
    let (reason, message) = refusal(&stage.ends(run).await);
    assert_eq!(reason, wanted, "{message}");
}

/// How often a run has done its work on each host.
fn happened(stage: &Stage, run: &str, times: usize) {
    for host in HOSTS {
        let lines = host.sh(&format!("cat /var/tmp/{}", stage.name()));
        let count = lines.lines().filter(|line| *line == run).count();
        assert_eq!(count, times, "{run} on {}: {lines}", host.0);
    }
}

/// Ends the control plane, gives etcd the data of the snapshot, and starts all of it. Revisions go on where they were, as they must for who watches.
async fn set_back(snapshot: &std::path::Path) {
    for part in ["apiserver", "controller-manager", "scheduler", "etcd"] {
        Part(part).cut_off().await;
    }
    let data = state_folder().join("etcd");
    fs::remove_dir_all(&data).expect("etcd has ended");
    let restored = Command::new(state_folder().join("bin/etcdutl"))
        .args([
            "snapshot",
            "restore",
            "--bump-revision=1000000",
            "--mark-compacted",
        ])
        .arg("--data-dir")
        .arg(&data)
        .arg(snapshot)
        .output()
        .expect("etcdutl starts");
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{said}");
    Part::all_started();
}

#[tokio::test]
async fn nothing_happens_twice_when_etcd_is_set_back_and_all_is_applied_anew() {
    let stage = Stage::set("rewind").await;
    stage.hosts_seen().await;
    let names = |run: &str| manifest(&stage, run, "", "");
    stage.apply(&names("ended")).await;
    succeeds(&stage, "ended").await;
    stage
        .apply(&manifest(&stage, "going", "", "sleep 20;"))
        .await;
    // The part of one run goes on when etcd is copied; that of the other and what is scheduled come after.
    stage.apply(&job(&stage, "early", "sleep 20;")).await;
    stage.apply(&job(&stage, "later", "")).await;
    stage.apply(&job(&stage, "fired", "")).await;
    stage.apply(&running("early", "1s")).await;
    stage.apply(&running("later", "25s")).await;
    for word in ["going", "early"] {
        written(&stage, word).await;
    }
    stage.becomes("has-later", &["Running"]).await;

    let away = Away::operator(&stage).await;
    stage.apply(&names("unseen")).await;
    stage.apply(&task("fired", 10)).await;
    stage
        .apply(&manifest(&stage, "late", "  startDeadline: 1s", ""))
        .await;
    let snapshot = state_folder().join("rewind.snapshot");
    etcd::snapshot(&snapshot);
    drop(away);
    for run in ["going", "unseen", "has-early", "has-later"] {
        succeeds(&stage, run).await;
    }
    written(&stage, "fired").await;
    is_refused(&stage, "late", "StartDeadlineExceeded").await;
    stage.apply(&names("after")).await;
    succeeds(&stage, "after").await;

    // Git brings back a run that was deleted.
    let gone = stage.runs().delete("ended", &DeleteParams::default()).await;
    gone.expect("an administrator deletes");
    stage.gone("ended").await;
    stage.apply(&names("ended")).await;
    is_refused(&stage, "ended", "AlreadyBegun").await;

    let away = Away::operator(&stage).await;
    set_back(&snapshot).await;
    drop(away);
    for run in ["going", "ended", "has-early", "has-later"] {
        succeeds(&stage, run).await;
    }
    fired_again(&stage).await;
    // Planned anew, but its rows say that all of it is done.
    succeeds(&stage, "unseen").await;
    is_refused(&stage, "late", "StartDeadlineExceeded").await;
    let after = stage.runs().get_opt("after").await;
    assert!(
        after.expect("an answer").is_none(),
        "etcd knows nothing of it"
    );
    stage.apply(&names("after")).await;
    is_refused(&stage, "after", "AlreadyBegun").await;
    // Hosts take the leader of today for one that came later.
    stage.apply(&names("today")).await;
    succeeds(&stage, "today").await;

    for run in ["ended", "going", "unseen", "after", "today"] {
        happened(&stage, run, 1);
        let rows = stage.executions(run).await;
        assert_eq!(rows.len(), HOSTS.len(), "{rows:#?}");
        for host in HOSTS {
            assert_eq!(state(&rows, "a", host.0), "Succeeded");
        }
    }
    for word in ["early", "later", "fired"] {
        happened(&stage, word, 1);
    }
    happened(&stage, "late", 0);
}

/// The task knows no more of its firing; the run that it creates has the name of the one that is gone, and does nothing.
async fn fired_again(stage: &Stage) {
    let tasks = Api::<ScheduledTask>::namespaced(stage.client.clone(), stage.name());
    let run = eventually("its run", PATIENCE, || async {
        tasks.get("fired").await.ok()?.status?.last_run
    })
    .await;
    is_refused(stage, &run, "AlreadyBegun").await;
}
