//! The operator's side of the bench: a JobRun over 200 Hosts from its creation until it is Complete and its records are read back.

use std::time::{Duration, Instant};

use crate::{FEW, REPETITIONS, Result, fixture::Fixture, light, process::Server, team::Team};

/// The best wall time of a run, with new connections each time, since those that the looks at hosts have left are closed before.
pub async fn run(team: &Team, fixture: &Fixture, mut server: Server) -> Result<(Duration, Server)> {
    let port = server.port;
    let mut best = Duration::MAX;
    for n in 0..REPETITIONS {
        drop(server);
        server = light::start_at(fixture, port).await?;
        let name = format!("run-{n}");
        best = best.min(once(team, &name, FEW).await?);
    }
    Ok((best, server))
}

/// How long a run takes on so many hosts, each of which succeeds.
pub async fn once(team: &Team, name: &str, hosts: usize) -> Result<Duration> {
    let began = Instant::now();
    team.run(name, hosts).await?;
    team.ended(name).await?;
    let took = began.elapsed();
    match team.succeeded(name).await? {
        all if all == hosts => Ok(took),
        other => Err(format!("{other} of {hosts} hosts succeeded in {name}").into()),
    }
}
