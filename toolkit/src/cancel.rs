//! `toolkit cancel` and `toolkit forget`: the two things that can be said about an effect besides starting it.

use std::path::Path;

use crds::journal::{End, Forgotten, KeyRequest, Line};
use jiff::Timestamp;

use crate::epoch::Epoch;
use crate::error::Error;
use crate::follow::tell;
use crate::journal::{Claim, Held, Journal, Stage};
use crate::lost::lose;
use crate::request;
use crate::root::Root;
use crate::watch::Watch;

/// Ends the effect, or keeps it from ever beginning, and prints its end.
pub fn cancel(root: &Path) -> Result<(), Error> {
    let request: KeyRequest = request::read()?;
    request::check_key(&request.key, request.epoch)?;
    let root = Root::open(root)?;
    let journals = root.folder("journal")?;
    let digest = request.key.digest();
    let epoch = Epoch::hold(&root, &request.key, request.epoch)?;
    drop(epoch);
    loop {
        let journal = Journal::open(&journals, &digest)?;
        let watch = Watch::new(journal.folder());
        loop {
            match journal.claim()? {
                Claim::Gone => break,
                Claim::Held(held) => return settle(&held, &digest),
                Claim::Busy => {
                    if let Some(end) = insist(&journal)? {
                        return tell(&Line::End(end));
                    }
                }
            }
            if !watch.wait() {
                return Err(Error::Tell(std::io::ErrorKind::BrokenPipe.into()));
            }
        }
    }
}

/// Nobody is at work on the run: tells its end, and writes one where it has none.
fn settle(held: &Held, digest: &str) -> Result<(), Error> {
    let end = match held.journal.stage()? {
        Stage::Ended(_, end) => end,
        Stage::Begun(begun) => lose(held, &begun, digest)?,
        Stage::Fresh => held.bury(Timestamp::now())?,
    };
    tell(&Line::End(end))
}

/// Asks the supervisor to end the run; again, where a start that was just being prepared has overwritten it. What is over is only being told to somebody else.
fn insist(journal: &Journal) -> Result<Option<End>, Error> {
    match journal.stage()? {
        Stage::Ended(_, end) => return Ok(Some(end)),
        Stage::Begun(_) if !journal.cancel_wanted()? => journal.want_cancel(Timestamp::now())?,
        _ => {}
    }
    Ok(None)
}

/// Allows the journal to be swept.
pub fn forget(root: &Path) -> Result<(), Error> {
    let request: KeyRequest = request::read()?;
    request::check_key(&request.key, request.epoch)?;
    let journals = Root::open(root)?.folder("journal")?;
    let known = match Journal::existing(&journals, request.key.digest().as_ref())? {
        Some(journal) => journal.forget(Timestamp::now())?,
        None => false,
    };
    tell(&Line::Forgotten(Forgotten { known }))
}
