//! Checkpoints beside the commits: a thread of its own copies what the log holds into the database, so that acknowledgements do not wait for it.

use std::{
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, hooks::Wal};

use crate::Error;

/// Pages that the log grows by before they are copied.
const PORTION: i32 = 4_000;
/// Pages at which the writer copies what is left, after which the log begins anew: it stays bounded whatever comes in.
const BOUND: i32 = 16_000;

/// The thread, which ends once the writer's connection is closed.
pub struct Copier(Option<JoinHandle<()>>);

impl Drop for Copier {
    /// Whoever has the folder next must not find this one in it: closing the last connection removes the log.
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            thread.join().expect("the copier does not panic");
        }
    }
}

impl Copier {
    pub fn beside(writer: &mut Connection, file: &Path) -> Result<Self, Error> {
        let failed = |e| Error::unavailable("prepare checkpoints", e);
        let copier = Connection::open(file).map_err(failed)?;
        let (tell, told) = mpsc::sync_channel(1);
        let copy = move || {
            while told.recv().is_ok() {
                // What could not be copied now stays in the log, where readers find it too.
                let _ = copier.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            }
        };
        let thread = thread::Builder::new()
            .name("records-copier".into())
            .spawn(copy);
        let mut asked = 0;
        let hook = move |log: &mut Wal, pages| {
            asked = asked.min(pages);
            if pages >= BOUND {
                let _ = log.checkpoint();
            } else if pages - asked >= PORTION && tell.try_send(()).is_ok() {
                asked = pages;
            }
            Ok(())
        };
        writer.wal_hook(Some(hook)).map_err(failed)?;
        let thread = thread.map_err(|e| Error::unavailable("start the copier", e))?;
        Ok(Self(Some(thread)))
    }
}
