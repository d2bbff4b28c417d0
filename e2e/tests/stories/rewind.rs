//! Story: etcd is set back to what it was before runs ended and before others were created, and what is gone is applied anew. No effect happens a second time, and
//! each run ends or says why it did not begin.

use std::{fs, process::Command};

use e2e::{
    Away, Part, Stage, etcd, eventually,
    guest::HOSTS,
    stage::{PATIENCE, refusal, state, state_folder},
};
use kube::api::DeleteParams;

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
    for host in HOSTS {
        let begun = format!("grep going /var/tmp/{}; true", stage.name());
        eventually("the effect", PATIENCE, || async {
            host.sh(&begun).contains("going").then_some(())
        })
        .await;
    }

    let away = Away::operator(&stage).await;
    stage.apply(&names("unseen")).await;
    stage
        .apply(&manifest(&stage, "late", "  startDeadline: 1s", ""))
        .await;
    let snapshot = state_folder().join("rewind.snapshot");
    etcd::snapshot(&snapshot);
    drop(away);
    for run in ["going", "unseen"] {
        succeeds(&stage, run).await;
    }
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
    succeeds(&stage, "going").await;
    succeeds(&stage, "ended").await;
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
    happened(&stage, "late", 0);
}
