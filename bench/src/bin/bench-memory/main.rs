//! `bench-memory`: how soon the operator is ready, and what it holds when it is idle, when there are 5,000 pods on 500 nodes, and when 10,000 runs
//! have ended. Prints a table and, as its last line, JSON.
//!
//! Its arguments are the operator's own command line. Pods and nodes are objects written straight into the API server; no kubelet stands behind them.

mod crowd;
mod past;
mod subject;

use bench::{Report, Result, Row};
use crds::v1alpha1::JobRun;
use kube::Client;
use subject::Subject;

/// How often the start is measured; the median counts.
const STARTS: usize = 9;

#[tokio::main]
async fn main() -> Result<()> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let client = Client::try_default().await?;
    let mut report = Report::of("memory");
    report.push(start(&command).await?);
    let operator = Subject::start(&command).await?;
    operator.leads(&client).await?;
    let idle = operator.settled().await?;
    report.push(Row::at_most("idle, resident", "MiB", idle, 40.0));
    crowd::gather(&client).await?;
    let crowded = operator.settled().await?;
    report.push(Row::at_most(
        "5,000 pods and 500 nodes, resident",
        "MiB",
        crowded,
        120.0,
    ));
    crowd::refused(&client).await?;
    crowd::carried_out(&client).await?;
    let runs = "a run that selects 5,000 and one that selects 200, peak";
    report.push(Row::at_most(runs, "MiB", operator.peak()?, 120.0));
    let ended = past::sample(&client).await?;
    operator.end()?;
    past_rows(&command, &client, &ended, &mut report).await?;
    report.finish()
}

/// What runs that have ended cost an operator that starts after them.
#[allow(clippy::cast_precision_loss)] // Thousands.
async fn past_rows(
    command: &[String],
    client: &Client,
    ended: &JobRun,
    report: &mut Report,
) -> Result<()> {
    let before = Subject::start(command).await?;
    before.leads(client).await?;
    let without = before.settled().await?;
    before.end()?;
    past::fill(client, ended).await?;
    let operator = Subject::start(command).await?;
    let ready = operator.ready.as_secs_f64();
    operator.leads(client).await?;
    let with = operator.settled().await?;
    println!("{without:.1} MiB without them, {with:.1} with them");
    let each = (with - without) * 1024.0 / past::RUNS as f64;
    let metrics = [
        "10,000 ended runs, resident, each",
        "10,000 ended runs, exec to ready",
    ];
    report.push(Row::at_most(metrics[0], "KiB", each, 4.0));
    report.push(Row::at_most(metrics[1], "s", ready, 1.5));
    operator.end()
}

/// From the start of the process to its first ready answer, where there is nothing to do.
async fn start(command: &[String]) -> Result<Row> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let operator = Subject::start(command).await?;
        starts.push(operator.ready.as_secs_f64() * 1000.0);
        operator.end()?;
    }
    starts.sort_by(f64::total_cmp);
    println!("starts: {starts:.0?} ms");
    Ok(Row::at_most(
        "exec to ready, median",
        "ms",
        starts[STARTS / 2],
        150.0,
    ))
}
