//! `examples/first-run` on the cluster that `up` has made: what a newcomer sees at the end.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    error::{About, Error, Result},
    guests::{GUESTS, Guests, Kind},
    install::Cluster,
    steps::{Log, Outcome, Steps},
};

const NAMESPACE: &str = "first-run";
const FOLDER: &str = "examples/first-run";

/// Gives the example its credential, applies it, and returns the table of its run once that is complete.
pub fn carry_out(steps: &Steps, cluster: &Cluster, guests: &Guests) -> Result<String> {
    steps.step("example first-run", |log| {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let material =
            json!({"apiVersion": "v1", "kind": "List", "items": [namespace, credential(guests)?]});
        cluster.apply(log, &write(&cluster.checkout.local(), &material)?)?;
        cluster.apply(log, &cluster.checkout.root.join(FOLDER))?;
        let wait = [
            "wait",
            "jobrun",
            "--all",
            "--namespace",
            NAMESPACE,
            "--for=condition=Complete",
            "--timeout=180s",
        ];
        log.run(cluster.kubectl().args(wait))
            .inspect_err(|_| look_around(log, cluster))?;
        let table =
            log.read(
                cluster
                    .kubectl()
                    .args(["get", "executions", "--namespace", NAMESPACE]),
            )?;
        Ok((table, Outcome::Done))
    })
}

/// The lines that do the same once more, by hand.
pub fn repeat(root: &Path) -> Result<String> {
    let folder = root.join(FOLDER);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .about("read", &folder)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let run = files
        .iter()
        .rfind(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("kind: JobRun")));
    let run = run
        .ok_or_else(|| Error::Refused(format!("{FOLDER} holds no JobRun")))?
        .strip_prefix(root)
        .expect("it is in the tree")
        .display();
    Ok(format!(
        "  kubectl delete --filename {run}\n  kubectl create --filename {run}\n  kubectl wait jobrun --all --namespace {NAMESPACE} --for=condition=Complete\n  kubectl get executions --namespace {NAMESPACE}"
    ))
}

/// The key of the hosts, and the only addresses that it may be used with.
fn credential(guests: &Guests) -> Result<Value> {
    let hosts = || {
        GUESTS
            .iter()
            .filter(|guest| matches!(guest.kind, Kind::Host))
    };
    let keys = hosts()
        .map(|guest| guests.host_key(guest.name))
        .collect::<Result<Vec<_>>>()?;
    let addresses: Vec<&str> = hosts().map(|guest| guest.address).collect();
    let key = fs::read_to_string(guests.key()).about("read", guests.key())?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "fleet-key", "namespace": NAMESPACE},
        "type": "pilothouse.dev/ssh",
        "stringData": {"ssh-privatekey": key, "addresses": addresses.join("\n"), "hostKeys": keys.join("\n")},
    }))
}

fn write(local: &Path, objects: &Value) -> Result<PathBuf> {
    let path = local.join("first-run.json");
    fs::write(&path, objects.to_string()).about("write", &path)?;
    Ok(path)
}

fn look_around(log: &Log, cluster: &Cluster) {
    let questions = [
        &[
            "get",
            "jobruns,hosts,pods",
            "--namespace",
            NAMESPACE,
            "-o",
            "yaml",
        ][..],
        &["get", "events", "--namespace", NAMESPACE],
        &[
            "logs",
            "--namespace",
            "pilothouse-system",
            "--selector",
            "app.kubernetes.io/name=pilothouse",
            "--all-containers",
            "--tail=200",
            "--prefix",
        ],
    ];
    for question in questions {
        let _best_effort = log.run(cluster.kubectl().args(question));
    }
}
