//! What a piece of work cost: wall time, processor time of this process or of its children, peak memory.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};

use crate::Result;

/// Cost of a piece of work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub wall: Duration,
    pub cpu: Duration,
}

/// A running measurement.
pub struct Meter {
    who: UsageWho,
    began: Instant,
    cpu: Duration,
}

impl Meter {
    pub fn start(who: UsageWho) -> Result<Self> {
        Ok(Self {
            who,
            began: Instant::now(),
            cpu: cpu(who)?,
        })
    }

    pub fn stop(self) -> Result<Usage> {
        Ok(Usage {
            wall: self.began.elapsed(),
            cpu: cpu(self.who)?.saturating_sub(self.cpu),
        })
    }
}

fn cpu(who: UsageWho) -> Result<Duration> {
    let used = getrusage(who)?;
    let times = [used.user_time(), used.system_time()];
    Ok(times
        .iter()
        .map(|time| {
            Duration::from_micros(
                time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs(),
            )
        })
        .sum())
}

/// Ten thousand hosts need more descriptors than a login gets.
pub fn raise_file_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Lets the peak of memory be that of what follows.
pub fn forget_peak() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// Highest resident memory since the start or `forget_peak`.
pub fn peak_mib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak
        .and_then(|value| value.trim().split(' ').next())
        .ok_or("no VmHWM")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
