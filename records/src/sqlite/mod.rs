//! The store in one SQLite file: one writer thread commits in groups and acknowledges after the sync, readers have connections of their own.
//! One process at a time holds the folder; a second one is refused until the first has ended.

mod archive;
mod audit;
mod backup;
mod checkpoints;
mod read;
mod readers;
mod receipt;
mod schema;
mod sweep;
mod write;
mod writer;

use std::{fs::File, io, path::Path, sync::Arc};

use crds::{
    audit::{Checkpoint, Head},
    execution::{Batch, Execution},
    receipt::Receipt,
};
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::{
    ArchivePage, ArchiveQuery, AuditPage, AuditQuery, Changes, Error, Options, Page, Piece,
    Position, Query, Reply, Retention, Row, Store, Swept, check,
    queue::{Command, Queue},
    ready::Ready,
};
pub use backup::{BackupError, backup, restore};
use checkpoints::Copier;
use readers::Readers;

/// Name of the database in its folder.
const FILE: &str = "records.sqlite";

/// A store in a folder.
#[derive(Clone)]
pub struct SqliteStore {
    queue: Arc<Queue>,
    position: watch::Receiver<Position>,
    readers: Arc<Readers>,
}

impl SqliteStore {
    /// Opens or creates the store in a folder, and brings its schema up to date.
    pub fn open(folder: &Path, options: Options, now: Timestamp) -> Result<Self, Error> {
        let (mut connection, lock) = alone(folder, now)?;
        let file = folder.join(FILE);
        let seq =
            read::position(&connection).map_err(|e| Error::unavailable("read the position", e))?;
        let copier = Copier::beside(&mut connection, &file)?;
        let (queue, position) = writer::start(connection, copier, lock, options, seq)?;
        let readers = Readers::open(&file, options.readers)
            .map_err(|e| Error::unavailable("open a reader", e))?;
        Ok(Self {
            queue: Arc::new(queue),
            position,
            readers: Arc::new(readers),
        })
    }
}

/// The database of a folder that nobody else has open, in its latest schema, and the lock that keeps it so.
pub(crate) fn alone(folder: &Path, now: Timestamp) -> Result<(Connection, File), Error> {
    let lock = lock(folder).map_err(|e| Error::unavailable("lock the data folder", e))?;
    backup::settle(folder).map_err(|e| Error::unavailable("bring back a backup", e))?;
    let connection = schema::open(&folder.join(FILE), now);
    let connection = connection.map_err(|e| Error::unavailable("open the database", e))?;
    Ok((connection, lock))
}

/// Whether a folder has a store, or a backup that becomes one.
#[cfg(feature = "postgres")]
pub(crate) fn is_there(folder: &Path) -> bool {
    folder.join(FILE).exists() || folder.join(backup::RESTORED).exists()
}

/// Two writers on one file would give positions that no watcher of the other hears of.
fn lock(folder: &Path) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("records.lock"))?;
    file.try_lock()?;
    Ok(file)
}

impl Store for SqliteStore {
    fn append(&self, batch: Batch) -> Reply<'_, ()> {
        Box::pin(async move {
            check(&batch).map_err(Error::Rejected)?;
            let batch = Ready::new(batch);
            self.queue
                .ask(|reply| Command::Append { batch, reply })
                .await
        })
    }

    fn sweep(&self, retention: Retention, now: Timestamp) -> Reply<'_, Swept> {
        Box::pin(self.queue.ask(move |reply| Command::Sweep {
            retention,
            now,
            reply,
        }))
    }

    fn list(&self, query: Query) -> Reply<'_, Page> {
        Box::pin(
            self.readers
                .read("list rows", move |c| read::list(c, &query)),
        )
    }

    fn get(&self, namespace_uid: String, name: String) -> Reply<'_, Option<Row>> {
        Box::pin(
            self.readers
                .read("get a row", move |c| read::get(c, &namespace_uid, &name)),
        )
    }

    fn changes(
        &self,
        after: i64,
        namespace_uid: Option<String>,
        limit: usize,
    ) -> Reply<'_, Changes> {
        Box::pin(async move {
            let found = self
                .readers
                .read("read changes", move |c| {
                    read::changes(c, after, namespace_uid.as_deref(), limit)
                })
                .await?;
            found.map_err(|kept| Error::Expired {
                asked: after,
                oldest: kept.oldest,
                newest: kept.newest,
            })
        })
    }

    fn log(&self, digest: String, offset: u64, bytes: usize) -> Reply<'_, Vec<Piece>> {
        Box::pin(
            self.readers
                .read("read a log", move |c| read::log(c, &digest, offset, bytes)),
        )
    }

    fn run(&self, run_uid: String) -> Reply<'_, Vec<Execution>> {
        Box::pin(
            self.readers
                .read("read a run", move |c| read::run(c, &run_uid)),
        )
    }

    fn archived(&self, query: ArchiveQuery) -> Reply<'_, ArchivePage> {
        Box::pin(
            self.readers
                .read("list archives", move |c| archive::list(c, &query)),
        )
    }

    fn audit(&self, query: AuditQuery) -> Reply<'_, AuditPage> {
        Box::pin(
            self.readers
                .read("list the audit", move |c| audit::list(c, &query)),
        )
    }

    fn audit_head(&self) -> Reply<'_, Head> {
        Box::pin(self.readers.read("read where the audit ends", audit::head))
    }

    fn checkpoints(&self, after: i64, limit: usize) -> Reply<'_, Vec<Checkpoint>> {
        Box::pin(self.readers.read("list checkpoints", move |c| {
            audit::checkpoints(c, after, limit)
        }))
    }

    fn sign(&self, checkpoint: Checkpoint) -> Reply<'_, ()> {
        Box::pin(
            self.queue
                .ask(move |reply| Command::Sign { checkpoint, reply }),
        )
    }

    fn claim(&self, receipt: Receipt) -> Reply<'_, Receipt> {
        Box::pin(
            self.queue
                .ask(move |reply| Command::Claim { receipt, reply }),
        )
    }

    fn position(&self) -> watch::Receiver<Position> {
        self.position.clone()
    }
}
