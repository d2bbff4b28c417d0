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
    steps::{Log, Steps},
};

const NAMESPACE: &str = "first-run";
const JOB: &str = "first-run";
const FOLDER: &str = "examples/first-run";

/// Gives the example its credential, applies it, and returns the table of its run once that is complete.
pub fn carry_out(steps: &Steps, cluster: &Cluster, guests: &Guests) -> Result<String> {
    let example = Example::read(&cluster.checkout.root)?;
    steps.run("example first-run", |log| {
        let carried_out = example.carry_out(log, cluster, guests);
        carried_out.inspect_err(|_| look_around(log, cluster))?;
        log.read(
            cluster
                .kubectl()
                .args(["get", "executions", "--namespace", NAMESPACE]),
        )
    })
}

/// The lines that do the same once more, by hand.
pub fn repeat() -> String {
    format!(
        "  kubectl pilothouse run {JOB} --namespace {NAMESPACE} --watch\n  \
         kubectl get executions --namespace {NAMESPACE}"
    )
}

/// The example's manifests, in their order.
struct Example {
    namespace: PathBuf,
    objects: Vec<PathBuf>,
    run: PathBuf,
}

impl Example {
    fn read(root: &Path) -> Result<Self> {
        let folder = root.join(FOLDER);
        let entries = fs::read_dir(&folder).about("read", &folder)?.flatten();
        let yaml = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        };
        let mut objects: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(yaml).collect();
        objects.sort();
        let mut take = |kind: &str| {
            let line = format!("kind: {kind}");
            let has = |file: &PathBuf| {
                fs::read_to_string(file).is_ok_and(|text| text.lines().any(|found| found == line))
            };
            let place = objects.iter().position(has);
            place
                .map(|place| objects.remove(place))
                .ok_or_else(|| Error::Refused(format!("{FOLDER} holds no {kind}")))
        };
        let (namespace, run) = (take("Namespace")?, take("JobRun")?);
        Ok(Self {
            namespace,
            objects,
            run,
        })
    }

    /// The run comes last: it takes the pods that are ready when its plan is frozen.
    fn carry_out(&self, log: &Log, cluster: &Cluster, guests: &Guests) -> Result<()> {
        cluster.apply(log, &self.namespace)?;
        cluster.apply_secret(
            log,
            &write(&cluster.checkout.local(), &credential(guests)?)?,
        )?;
        for object in &self.objects {
            cluster.apply(log, object)?;
        }
        let wait = |what: &str, condition: &str| {
            let condition = format!("--for=condition={condition}");
            let words = [
                "wait",
                what,
                "--all",
                "--namespace",
                NAMESPACE,
                "--timeout=180s",
                &condition,
            ];
            log.run(cluster.kubectl().args(words))
        };
        wait("deployment", "Available")?;
        cluster.apply(log, &self.run)?;
        wait("jobrun", "Complete")
    }
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
