//! Reads a journal that somebody else writes, and prints it as it grows. It needs nothing but the folder, so it can be cut off and taken up again anywhere.

use std::io::Write as _;

use crds::journal::{Line, Output, Started};

use crate::error::Error;
use crate::journal::{Claim, Journal, Stage};
use crate::output::Reader;
use crate::watch::Watch;

/// How following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The end is told.
    ToEnd,
    /// Nobody holds the journal any more, and it has no end.
    Orphaned,
}

/// Prints one line at once.
pub fn tell(line: &Line) -> Result<(), Error> {
    print(line)
}

/// Prints plain data as one line of JSON.
pub fn print<T: serde::Serialize>(data: &T) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec(data).expect("plain data");
    bytes.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(&bytes)
        .and_then(|()| stdout.flush())
        .map_err(Error::Tell)
}

/// Tells one run to one asker, each thing once.
pub struct Follower {
    from: u64,
    /// What is read on; there once the beginning is told.
    output: Option<Reader>,
}

impl Follower {
    /// Tells output from an offset on.
    pub const fn new(from: u64) -> Self {
        Self { from, output: None }
    }

    /// Prints what a run puts out until it is over, or until nobody holds it.
    pub fn follow(&mut self, journal: &Journal, attached: bool) -> Result<Followed, Error> {
        let watch = Watch::new(journal.folder());
        loop {
            let looked = self.look(journal, attached);
            // A refusal says that nothing was started, so it is too late for one.
            let looked = looked.map_err(|error| {
                if self.output.is_some() {
                    Error::Cut(Box::new(error))
                } else {
                    error
                }
            });
            match looked? {
                Some(followed) => return Ok(followed),
                None if watch.wait() => {}
                None => return Err(Error::Tell(std::io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn look(&mut self, journal: &Journal, attached: bool) -> Result<Option<Followed>, Error> {
        // The holder is looked for first: what it has written by the time it goes is all there will be.
        let orphaned = !matches!(journal.claim()?, Claim::Busy);
        let stage = journal.stage()?;
        let begun = match &stage {
            Stage::Begun(begun) | Stage::Ended(Some(begun), _) => Some(begun),
            Stage::Fresh => None,
            Stage::Ended(None, _) => return Err(Error::Cancelled),
        };
        if let (None, Some(begun)) = (&self.output, begun) {
            let reader = Reader::new(journal.output()?);
            tell(&Line::Started(Started {
                at: begun.at,
                attached,
            }))?;
            self.output = Some(reader);
        }
        if let Some(output) = &mut self.output {
            tell_output(output, self.from)?;
        }
        match stage {
            Stage::Ended(_, end) => tell(&Line::End(end)).map(|()| Some(Followed::ToEnd)),
            _ if orphaned => Ok(Some(Followed::Orphaned)),
            _ => Ok(None),
        }
    }
}

/// Prints the output that is there, from an offset on.
fn tell_output(output: &mut Reader, from: u64) -> Result<(), Error> {
    while let Some(Output {
        offset,
        stream,
        mut data,
    }) = output.frame()?
    {
        let known = usize::try_from(from.saturating_sub(offset)).unwrap_or(usize::MAX);
        if known >= data.len() {
            continue;
        }
        data.drain(..known);
        tell(&Line::Output(Output {
            offset: offset + known as u64,
            stream,
            data,
        }))?;
    }
    Ok(())
}
