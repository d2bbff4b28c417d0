//! `bench-schedule`: how late runs begin when 10,000 ScheduledTasks are due within a minute, in each of its seconds or by their jitter, and when all of them are due at
//! the same second. Prints a table and, as its last line, JSON.
//!
//! Lateness is what somebody sees who watches: from the time of the firing until the run is told of. The runs do what they are for meanwhile: each waits for an
//! object that is there, and is recorded. The peer is measured first, while nothing else is at work, and each round begins when the runs of the one before have ended.

mod bare;
mod cron;
mod tasks;

use std::time::Duration;

use bench::{Report, Result, Row};
use kube::Client;
use tasks::Round;

const BURST: Round = Round {
    name: "burst",
    second: |_| 0,
    jitter: "0s",
};
/// In each second of a minute as many.
const SPREAD: Round = Round {
    name: "spread",
    second: |n| n % 60,
    jitter: "0s",
};
/// Over a minute as users spread them.
const JITTERED: Round = Round {
    name: "jittered",
    second: |_| 0,
    jitter: "1m",
};

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::try_default().await?;
    let mut report = Report::of("schedule");
    tasks::stage(&client).await?;
    let cron = cron::fired(&client).await?;
    let bare = bare::rate(&client).await?;
    let ahead = tasks::ahead(&client).await?;
    let burst = BURST.fired(&client, ahead).await?;
    let last = burst.late.last().copied().unwrap_or_default();
    report.push(at_once(burst.late.len(), last, bare));
    report.push(last_start(last, &cron));
    burst.ended().await?;
    let spread = SPREAD.fired(&client, ahead).await?;
    let metric = "10,000 over a minute, in whole seconds, lateness, p99";
    report.push(over_a_minute(metric, &spread.late));
    spread.ended().await?;
    let jittered = JITTERED.fired(&client, ahead).await?;
    let metric = "10,000 over a minute, by jitter, lateness, p99";
    report.push(over_a_minute(metric, &jittered.late));
    report.finish()
}

/// The lateness that so many in a hundred stay under.
fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    let at = (sorted.len() * hundredths).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

fn over_a_minute(metric: &'static str, sorted: &[Duration]) -> Row {
    let [half, most] = [50, 99].map(|part| percentile(sorted, part).as_secs_f64() * 1000.0);
    println!("{metric}: p50 {half:.1} ms");
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
