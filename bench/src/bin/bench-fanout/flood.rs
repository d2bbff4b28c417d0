//! How much another team's flood delays a run: many runs over 200 hosts are created at once, and meanwhile one on a host of the other team again and again.

use std::time::Duration;

use bench::stage;

use crate::{FEW, Result, operated, team::Team};

/// Runs of the flood, of 200 hosts each.
const RUNS: usize = 200;
/// Runs of the other team before the flood and in it.
const TRIES: usize = 9;

/// How long the slowest run of the quiet team took in the flood, and the median one before it.
pub async fn delayed(loud: &Team, quiet: &Team) -> Result<(Duration, Duration)> {
    let before = tries(quiet, "before").await?;
    let names = (0..RUNS).map(|n| format!("flood-{n}"));
    stage::all(names.map(|name| async move { loud.run(&name, FEW).await })).await?;
    let meanwhile = tries(quiet, "meanwhile").await?;
    let left = loud.going_on().await?;
    println!("{left} of {RUNS} runs of the flood are left");
    // A flood that has ended delays nobody.
    if left == 0 {
        return Err("the flood ended before the other team's runs did".into());
    }
    Ok((meanwhile[TRIES - 1], before[TRIES / 2]))
}

/// The least first.
async fn tries(team: &Team, name: &str) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    for n in 0..TRIES {
        took.push(operated::once(team, &format!("{name}-{n}"), 1).await?);
    }
    println!("  {name}: {took:.2?}");
    took.sort();
    Ok(took)
}
