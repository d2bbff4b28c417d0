//! Story: an upgrade from the version before, and a roll-back to it, each in the middle of a run. No attempt is lost and none is made twice.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{
    Replica, Stage,
    cluster::kubeconfig_path,
    eventually,
    guest::HOSTS,
    stage::{PATIENCE, SYSTEM, state_folder},
};

const STEPS: usize = 15;

fn helm(words: &[&str], more: &[PathBuf]) -> String {
    let helm = Command::new(state_folder().join("bin/helm"))
        .args(words)
        .args(["--namespace", SYSTEM, "--kubeconfig"])
        .arg(kubeconfig_path())
        .args(more)
        .output()
        .expect("helm starts");
    let said = String::from_utf8_lossy(&helm.stderr);
    assert!(helm.status.success(), "{words:?}: {said}");
    String::from_utf8_lossy(&helm.stdout).into_owned()
}

/// One version of Pilothouse, as `helm` installs it.
struct Version {
    charts: PathBuf,
    values: PathBuf,
    tag: Option<&'static str>,
}

impl Version {
    /// What `cargo xtask test` has made of the commit of First light.
    fn before() -> Self {
        let folder = state_folder().join("before");
        Self {
            charts: folder.join("charts"),
            values: folder.join("values.yaml"),
            tag: Some("image.tag=0.1.0"),
        }
    }

    /// What is installed.
    fn today() -> Self {
        let values = state_folder().join("today.yaml");
        let said = helm(&["get", "values", "pilothouse", "--output", "yaml"], &[]);
        fs::write(&values, said).expect("a file for the values");
        Self {
            charts: Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts"),
            values,
            tag: None,
        }
    }

    fn install(&self) {
        let chart = |name: &str| self.charts.join(name);
        let upgrade = ["upgrade", "--wait", "--timeout", "5m"];
        helm(
            &[&upgrade[..], &["pilothouse-crds"]].concat(),
            &[chart("pilothouse-crds")],
        );
        let mut words = [&upgrade[..], &["pilothouse", "--reset-values"]].concat();
        words.extend(self.tag.iter().flat_map(|tag| ["--set", tag]));
        let more = [chart("pilothouse"), "--values".into(), self.values.clone()];
        helm(&words, &more);
    }
}

/// Whatever becomes of the story, the others find today's version.
struct Back(Version);

impl Drop for Back {
    fn drop(&mut self) {
        self.0.install();
    }
}

/// Many short steps on both hosts, and one in a pod.
fn job(run: &str) -> String {
    let step = |i: usize| {
        let needs = match i {
            0 => String::new(),
            i => format!("needs: [s{}], ", i - 1),
        };
        format!(
            "- {{name: s{i}, {needs}retries: 1, inline: {{content: 'echo s{i} >> /var/tmp/{run}; sleep 2; echo done'}}}}"
        )
    };
    let steps: Vec<_> = (0..STEPS).map(step).collect();
    format!(
        "targets: {{hosts: {{names: [vm1, pm1]}}}}
steps:
- {{name: pod, pod: {{image: 'local/busybox:1', command: [/bin/sh, -c, 'sleep 20; echo done']}}}}
{}",
        steps.join("\n")
    )
}

async fn begun(stage: &Stage, run: &str) {
    stage.run(run, &job(run)).await;
    eventually("the first effects", PATIENCE, || async {
        (stage.executions(run).await.len() >= 3).then_some(())
    })
    .await;
}

async fn is_whole(stage: &Stage, run: &str) {
    let status = stage.ends(run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    let rows = stage.executions(run).await;
    assert_eq!(rows.len(), STEPS * HOSTS.len() + 1, "{rows:#?}");
    assert!(
        rows.iter().all(|row| row["state"] == "Succeeded"),
        "{rows:#?}"
    );
    let wanted: String = (0..STEPS).map(|i| format!("s{i}\n")).collect();
    for host in HOSTS {
        assert_eq!(
            host.sh(&format!("cat /var/tmp/{run}")),
            wanted,
            "{}",
            host.0
        );
    }
}

#[tokio::test]
async fn runs_go_on_over_an_upgrade_and_a_roll_back() {
    let stage = Stage::set("upgrade").await;
    stage.hosts_seen().await;
    let (before, today) = (Version::before(), Back(Version::today()));
    before.install();
    Replica::leader(&stage.client).await;

    let run = format!("{}-up", stage.name());
    begun(&stage, &run).await;
    today.0.install();
    is_whole(&stage, &run).await;

    let run = format!("{}-back", stage.name());
    begun(&stage, &run).await;
    before.install();
    is_whole(&stage, &run).await;

    drop(today);
    Replica::leader(&stage.client).await;
}
