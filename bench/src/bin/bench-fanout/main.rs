//! `bench-fanout`: one `true` on many hosts, against pssh and Ansible on the same machine in the same run; and a JobRun on them, against `reach` alone. Prints a table and, as its last line, JSON.
//!
//! All traffic stays on 127/8. `serve` as first argument is the light server, which the bench starts as a process of its own.

mod fixture;
mod flood;
mod journal;
mod journaled;
mod light;
mod operated;
mod ours;
mod peers;
mod process;
mod real;
mod team;
mod usage;

use std::time::Duration;

use bench::{Report, Result, Row};
use fixture::Fixture;
use peers::{Best, Peers};
use process::Server;
use team::Team;

/// Targets of the small rows and of the large one.
const FEW: usize = 200;
const MANY: usize = 10_000;
/// How often both sides are measured where they are compared; the best counts.
const REPETITIONS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    usage::raise_file_limit()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, folder] = arguments.as_slice()
        && verb == "serve"
    {
        return light::serve(folder).await;
    }
    let fixture = Fixture::new()?;
    Peers::find()?;
    let mut report = Report::of("fanout");
    light_rows(&fixture, &mut report).await?;
    real_rows(&fixture, &mut report).await?;
    let server = light::start(&fixture).await?;
    let team = Team::with_hosts("bench", &fixture, server.port, 0..FEW).await?;
    let server = journal_row(&fixture, &team, server, &mut report).await?;
    flood_row(&fixture, &team, &server, &mut report).await?;
    report.finish()
}

/// 200 and 10,000 targets of a server that costs nearly nothing, so that the client is what is measured.
async fn light_rows(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let server = light::start(fixture).await?;
    let run = best_of(fixture, server.port).await?;
    run.require_all(FEW)?;
    let theirs = Peers::light(fixture, server.port, FEW)?;
    let wall = run.usage.wall.as_secs_f64();
    report.push(Row {
        metric: "200 light targets, wall",
        unit: "s",
        ours: wall,
        peer: theirs.name(),
        peer_value: theirs.wall(),
        goal: "< 0.3 and >= 10x ahead".into(),
        met: wall < 0.3 && theirs.is_behind(|theirs| wall * 10.0 <= theirs),
    });
    usage::forget_peak()?;
    let run = ours::run(fixture, server.port, MANY, 512).await?;
    run.require_all(MANY)?;
    let (wall, peak) = (run.usage.wall.as_secs_f64(), usage::peak_mib()?);
    report.push(Row::alone(
        "10,000 light targets, wall",
        "s",
        wall,
        "< 20",
        wall < 20.0,
    ));
    report.push(Row::alone(
        "10,000 light targets, peak RSS",
        "MiB",
        peak,
        "< 400",
        peak < 400.0,
    ));
    Ok(())
}

/// 200 hosts with a journal, by a JobRun and by `reach` alone: what plans, rights, statuses and records cost.
async fn journal_row(
    fixture: &Fixture,
    team: &Team,
    server: Server,
    report: &mut Report,
) -> Result<Server> {
    let alone = journaled::alone(fixture, server.port).await?.as_secs_f64();
    let (wall, server) = operated::run(team, fixture, server).await?;
    let wall = wall.as_secs_f64();
    report.push(Row {
        metric: "200 hosts with a journal, JobRun to Complete",
        unit: "s",
        ours: wall,
        peer: Some("reach alone".into()),
        peer_value: Some(alone),
        goal: "<= 3x reach alone".into(),
        met: wall <= 3.0 * alone,
    });
    Ok(server)
}

/// A run on a host of its own while another team has 40,000 executions waiting.
async fn flood_row(
    fixture: &Fixture,
    team: &Team,
    server: &Server,
    report: &mut Report,
) -> Result<()> {
    let quiet = Team::with_hosts("quiet", fixture, server.port, FEW..=FEW).await?;
    let (slowest, usual) = flood::delayed(team, &quiet).await?;
    let (slowest, usual) = (slowest.as_secs_f64(), usual.as_secs_f64());
    report.push(Row {
        metric: "one host while another team floods, slowest",
        unit: "s",
        ours: slowest,
        peer: Some("without the flood, median".into()),
        peer_value: Some(usual),
        goal: "delayed by < 1".into(),
        met: slowest - usual < 1.0,
    });
    Ok(())
}

/// 200 targets of a real sshd: the server is the limit, so what counts is that all succeed, sooner and with less work of ours.
async fn real_rows(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let server = real::start(fixture, "1000").await?;
    let run = best_of(fixture, server.port).await?;
    let theirs = Peers::real(fixture, server.port, FEW)?;
    drop(server);
    push_real(report, &run, &theirs);
    // With sshd's own MaxStartups most handshakes are dropped at first, and the limiter has to find the rate that is served.
    let server = real::start(fixture, "10:30:100").await?;
    let adapted = ours::run(fixture, server.port, FEW, FEW).await?;
    drop(server);
    let (done, wall) = (count(adapted.done), adapted.usage.wall.as_secs_f64());
    report.push(Row::alone(
        "200 sshd targets, default MaxStartups, succeeded",
        "hosts",
        done,
        "200",
        adapted.done == FEW,
    ));
    report.push(Row::alone(
        "200 sshd targets, default MaxStartups, wall",
        "s",
        wall,
        "< 120",
        wall < 120.0,
    ));
    Ok(())
}

/// Our fastest run that lost no host, or else the one that lost fewest.
async fn best_of(fixture: &Fixture, port: u16) -> Result<ours::Run> {
    let mut best = ours::run(fixture, port, FEW, FEW).await?;
    for _ in 1..REPETITIONS {
        let run = ours::run(fixture, port, FEW, FEW).await?;
        let lost = |run: &ours::Run| (FEW - run.done, run.usage.wall);
        if lost(&run) < lost(&best) {
            best = run;
        }
    }
    Ok(best)
}

fn push_real(report: &mut Report, run: &ours::Run, theirs: &Best) {
    let (wall, cpu) = (run.usage.wall.as_secs_f64(), run.usage.cpu.as_secs_f64());
    report.push(Row::alone(
        "200 sshd targets, succeeded",
        "hosts",
        count(run.done),
        "200",
        run.done == FEW,
    ));
    report.push(Row {
        metric: "200 sshd targets, wall",
        unit: "s",
        ours: wall,
        peer: theirs.name(),
        peer_value: theirs.wall(),
        goal: "faster than the best peer".into(),
        met: run.done == FEW && theirs.is_behind(|theirs| wall < theirs),
    });
    report.push(Row {
        metric: "200 sshd targets, client CPU",
        unit: "s",
        ours: cpu,
        peer: theirs.least_cpu_name(),
        peer_value: theirs.least_cpu(),
        goal: "<= 1/10 of the leanest peer".into(),
        met: run.done == FEW && theirs.is_fatter(|theirs| cpu * 10.0 <= theirs),
    });
}

fn count(hosts: usize) -> f64 {
    f64::from(u32::try_from(hosts).unwrap_or(u32::MAX))
}

/// How long a server may take to come up.
const COME_UP: Duration = Duration::from_secs(20);
