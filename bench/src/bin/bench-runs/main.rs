//! `bench-runs AUDIT MANAGER...`: how many runs of one step come to their end in a second, and what each costs the API server in writes; beside it the Jobs of Kubernetes,
//! at the defaults of its controller manager and with its rate limits lifted. Prints a table and, as its last line, JSON.
//!
//! The audit log and the command line of a controller manager are handed in. Pods end as soon as they are there: a stand-in for kubelets tells their ends.

mod audit;
mod jobs;
mod kubelet;
mod manager;
mod runs;
mod site;

use std::time::Duration;

use audit::Audit;
use bench::{Report, Result, Row};
use kube::Client;
use manager::Manager;

/// Runs, or Jobs, that are created at once.
const MANY: usize = 500;
/// Longest wait for all of them; Jobs at the defaults take two and a half minutes.
const PATIENCE: Duration = Duration::from_mins(10);

/// What so many came to.
struct Measured {
    per_second: f64,
    /// Writes of those who carried them out, each.
    writes: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [audit, manager @ ..] = arguments.as_slice() else {
        return Err("what is wanted: AUDIT MANAGER...".into());
    };
    let (client, audit) = (Client::try_default().await?, Audit::at(audit));
    let mut report = Report::of("runs");
    runs::stage(&client).await?;
    let address = site::open().await?;
    let asking = runs::ended(&client, &audit, "http", &runs::http(&address)).await?;
    let _kubelet = kubelet::stand_in(&client, runs::NAMESPACE);
    let in_pods = runs::ended(&client, &audit, "pod", &runs::pod()).await?;
    let usual = Manager::start(manager, &[])?;
    let jobs = jobs::ended(&client, &audit, "usual").await?;
    drop(usual);
    let _lifted = Manager::start(manager, &["--kube-api-qps=5000", "--kube-api-burst=5000"])?;
    let lifted = jobs::ended(&client, &audit, "lifted").await?;
    report.push(rate("an http step, runs a second", &asking, None));
    report.push(writes("an http step, writes a run", &asking, None));
    report.push(rate(
        "a step pod, runs a second",
        &in_pods,
        Some(("Jobs at defaults", &jobs)),
    ));
    report.push(rate(
        "a step pod, runs a second beside lifted limits",
        &in_pods,
        Some(("Jobs, limits lifted", &lifted)),
    ));
    report.push(writes(
        "a step pod, writes a run",
        &in_pods,
        Some(("Jobs", &lifted)),
    ));
    report.finish()
}

fn rate(metric: &'static str, ours: &Measured, peer: Option<(&str, &Measured)>) -> Row {
    Row {
        metric,
        unit: "/s",
        ours: ours.per_second,
        peer: peer.map(|(name, _)| name.to_owned()),
        peer_value: peer.map(|(_, peer)| peer.per_second),
        goal: ">= 20".into(),
        met: ours.per_second >= 20.0,
    }
}

fn writes(metric: &'static str, ours: &Measured, peer: Option<(&str, &Measured)>) -> Row {
    Row {
        metric,
        unit: "",
        ours: ours.writes,
        peer: peer.map(|(name, _)| name.to_owned()),
        peer_value: peer.map(|(_, peer)| peer.writes),
        goal: "<= 6".into(),
        met: ours.writes <= 6.0,
    }
}
