//! `bench-schedule`: how late runs begin when 10,000 ScheduledTasks are due within a minute, and when all of them are due at the same second. Prints a table and, as
//! its last line, JSON.
//!
//! Lateness is what somebody sees who watches: from the time of the firing until the run is told of. The runs do what they are for meanwhile: each waits for an
//! object that is there, and is recorded.

mod bare;
mod cron;
mod tasks;

use std::time::Duration;

use bench::{Report, Result, Row};
use kube::Client;

/// Due in the second of a minute that the number of a task gives.
const SPREAD: usize = 60;

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::try_default().await?;
    let mut report = Report::of("schedule");
    tasks::stage(&client).await?;
    let bare = bare::rate(&client).await?;
    let spread = tasks::fired(&client, "spread", |n| n % SPREAD).await?;
    report.push(over_a_minute(&spread.late));
    spread.ended().await?;
    let burst = tasks::fired(&client, "burst", |_| 0).await?;
    let last = burst.late.last().copied().unwrap_or_default();
    report.push(at_once(burst.late.len(), last, bare));
    burst.ended().await?;
    let cron = cron::fired(&client).await?;
    report.push(last_start(last, &cron));
    report.finish()
}

/// The lateness that so many in a hundred stay under.
fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    let at = (sorted.len() * hundredths).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

fn over_a_minute(sorted: &[Duration]) -> Row {
    let [half, most] = [50, 99].map(|part| percentile(sorted, part).as_secs_f64() * 1000.0);
    println!("over a minute: p50 {half:.1} ms, p99 {most:.1} ms");
    let metric = "10,000 over a minute, lateness, p99";
    Row::alone(metric, "ms", most, "< 250", most < 250.0)
}

#[allow(clippy::cast_precision_loss)] // Thousands.
fn at_once(runs: usize, last: Duration, bare: f64) -> Row {
    let ours = runs as f64 / last.as_secs_f64();
    Row {
        metric: "10,000 at once, runs created",
        unit: "/s",
        ours,
        peer: Some("bare client".into()),
        peer_value: Some(bare),
        goal: ">= 80 % of the peer".into(),
        met: ours >= 0.8 * bare,
    }
}

fn last_start(last: Duration, cron: &[Duration]) -> Row {
    let [half, most] = [50, 99].map(|part| percentile(cron, part).as_secs_f64());
    println!(
        "CronJob, {} at once: p50 {half:.1} s, p99 {most:.1} s",
        cron.len()
    );
    let last = last.as_secs_f64();
    Row {
        metric: "10,000 at once, last start",
        unit: "s",
        ours: last,
        peer: Some(format!("CronJob, {} p99", cron.len())),
        peer_value: Some(most),
        goal: "<= 15".into(),
        met: last <= 15.0,
    }
}
