//! Our side: a new fleet, one session and one `true` on each host.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use nix::sys::resource::UsageWho;
use reach::ssh::{Credentials, Error, Fleet, HostKeys, Limits, Target};
use tokio::time::Instant;

use crate::{
    Result,
    fixture::Fixture,
    usage::{Meter, Usage},
};

/// How a run went.
pub struct Run {
    pub done: usize,
    pub failed: Option<Error>,
    pub usage: Usage,
}

impl Run {
    pub fn require_all(&self, hosts: usize) -> Result<()> {
        match &self.failed {
            None if self.done == hosts => Ok(()),
            failure => Err(format!("{} of {hosts} succeeded: {failure:?}", self.done).into()),
        }
    }
}

/// How long a host may take to be reached: as long as the peers wait.
const DELIVERY: Duration = Duration::from_mins(2);

/// So many hosts of a server of this bench.
pub fn targets(fixture: &Fixture, port: u16, hosts: usize) -> Result<Vec<Target>> {
    let fields = [
        ("ssh-privatekey", fixture.user_key.as_str()),
        ("addresses", "127.0.0.0/8"),
    ];
    let data = fields.map(|(name, value)| (name.to_owned(), k8s_openapi::ByteString(value.into())));
    let credentials = Credentials::from_secret(&data.into())?;
    let (host_keys, user) = (
        HostKeys::pinned([fixture.host_key.as_str()])?,
        Fixture::user()?,
    );
    let target = |n| Target {
        team: "team".into(),
        name: Fixture::host(n),
        address: Fixture::host(n),
        port,
        user: user.clone(),
        credentials: credentials.clone(),
        host_keys: host_keys.clone(),
        sudo: false,
        jump: None,
        node: None,
    };
    Ok((0..hosts).map(target).collect())
}

/// Runs `true` on so many hosts, so many at once.
pub async fn run(fixture: &Fixture, port: u16, hosts: usize, at_once: usize) -> Result<Run> {
    let targets = targets(fixture, port, hosts)?;
    let fleet = Fleet::new(Limits {
        max_idle: 64,
        ..Limits::default()
    });
    let meter = Meter::start(UsageWho::RUSAGE_SELF)?;
    let mut results = stream::iter(targets)
        .map(|target| tokio::spawn(one(fleet.clone(), target)))
        .buffer_unordered(at_once);
    let (mut done, mut failed) = (0, None);
    while let Some(result) = results.next().await {
        match result? {
            Ok(()) => done += 1,
            Err(error) => failed = Some(error),
        }
    }
    let usage = meter.stop()?;
    Ok(Run {
        done,
        failed,
        usage,
    })
}

async fn one(fleet: Fleet, target: Target) -> std::result::Result<(), Error> {
    let session = fleet.session(&target, Instant::now() + DELIVERY).await?;
    let finished = session.exec("true", "").await?.finish(4096).await?;
    if finished.succeeded() {
        Ok(())
    } else {
        Err(Error::ExecRefused {
            address: target.address,
        })
    }
}
