//! The operator's side of the bench: a JobRun from its creation until it is Complete, on 200 hosts, and beside the flood of another team.

use std::time::Duration;

use crate::{FEW, REPETITIONS, Result, fixture::Fixture, light, process::Server, team::Team};

/// The best wall time of a run on 200 hosts, with new connections each time, since those that the looks at hosts have left are closed before.
pub async fn run(fixture: &Fixture, mut server: Server) -> Result<Duration> {
    let port = server.port;
    let team = Team::set(fixture, port, "bench", 0..FEW).await?;
    let mut best = Duration::MAX;
    for n in 0..REPETITIONS {
        drop(server);
        server = light::start_at(fixture, port).await?;
        let name = format!("run-{n}");
        best = best.min(team.carry_out(&name).await?);
        let succeeded = team.succeeded(&name).await?;
        if succeeded != FEW {
            return Err(format!("{succeeded} of {FEW} hosts succeeded in {name}").into());
        }
    }
    Ok(best)
}

/// Runs of the flood, each on 100 hosts.
const FLOOD: usize = 100;
const FLOODED_HOSTS: usize = 100;
/// Runs of the other team, with and without the flood.
const QUIET: usize = 9;

/// Median of a run on one host while nobody else is there, and the slowest of as many while another team floods the operator.
pub async fn flooded(fixture: &Fixture, port: u16) -> Result<(Duration, Duration)> {
    let loud = Team::set(fixture, port, "loud", FEW..FEW + FLOODED_HOSTS).await?;
    let first = FEW + FLOODED_HOSTS;
    let quiet = Team::set(fixture, port, "quiet", first..first + 1).await?;
    let alone = walls(&quiet, "alone").await?[QUIET / 2];
    for n in 0..FLOOD {
        loud.start(&format!("flood-{n}")).await?;
    }
    let beside = walls(&quiet, "beside").await?[QUIET - 1];
    match loud.live_runs().await? {
        0 => Err("the flood ended before what it was to hold up".into()),
        _ => Ok((alone, beside)),
    }
}

/// Sorted wall times.
async fn walls(team: &Team, name: &str) -> Result<Vec<Duration>> {
    let mut walls = Vec::new();
    for n in 0..QUIET {
        walls.push(team.carry_out(&format!("{name}-{n}")).await?);
    }
    walls.sort_unstable();
    Ok(walls)
}
