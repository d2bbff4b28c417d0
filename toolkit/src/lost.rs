//! Judges a run whose supervisor died without writing an end: ends what is left of it, and writes that it was lost. It is never begun again.

use std::time::{Duration, Instant};

use crds::journal::{End, EndReason};
use nix::sys::signal::Signal;

use crate::error::Error;
use crate::facts::boot_id;
use crate::family::Family;
use crate::journal::{Begun, Held};
use crate::output::Reader;
use crate::supervisor::unended;
use crate::watch::wait_any;

/// How long the remains may take to go.
const REMAINS: Duration = Duration::from_secs(5);
/// How often it is looked whether they are gone.
const LOOK: Duration = Duration::from_millis(10);

/// Writes the end of the run.
pub fn lose(held: &Held, begun: &Begun, digest: &str) -> Result<End, Error> {
    let family = Family::orphaned(digest);
    let patience = Instant::now() + REMAINS;
    while !family.members().is_empty() && Instant::now() < patience {
        family.signal(Signal::SIGKILL);
        wait_any(&mut [], LOOK);
    }
    let cause = if begun.boot_id == boot_id() {
        "the supervisor died, and what was left of the run was ended"
    } else {
        "the host rebooted"
    };
    let end = End {
        message: format!("{cause}; nobody can say how far it got"),
        output_bytes: kept(held)?,
        ..unended(EndReason::Lost, begun.at)
    };
    held.end(&end)?;
    Ok(end)
}

/// How much output is on disk; nobody knows what else there was.
fn kept(held: &Held) -> Result<u64, Error> {
    let mut reader = Reader::new(held.journal.output()?);
    let mut bytes = 0;
    while let Some(frame) = reader.frame()? {
        bytes = frame.offset + frame.data.len() as u64;
    }
    Ok(bytes)
}
