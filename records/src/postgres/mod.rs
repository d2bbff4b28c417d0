//! The store in PostgreSQL, behind any number of processes: each commits in groups and acknowledges after the commit, one turn after the other over all of them, and hears of what the
//! others commit. While PostgreSQL is away every call says so; nothing is kept for it in memory.

mod archive;
mod audit;
mod cost;
mod failed;
mod hear;
#[cfg(feature = "sqlite")]
mod migrate;
mod output;
mod read;
mod readers;
mod receipt;
mod restored;
mod schema;
mod session;
mod settings;
mod sweep;
mod tls;
mod turn;
mod write;
mod writer;

use std::sync::Arc;

use crds::{
    audit::{Checkpoint, Head},
    execution::{Batch, Execution},
    receipt::Receipt,
};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    ArchivePage, ArchiveQuery, AuditPage, AuditQuery, Changes, Error, Options, Page, Piece,
    Position, Query, Reply, Retention, Row, Store, Swept, check,
    queue::{Command, Queue},
    ready::Ready,
};
#[cfg(feature = "sqlite")]
pub use migrate::{Amount, MigrateError, migrate};
use read::Snapshot;
use readers::Readers;
pub use restored::restored;
use session::Connector;
pub use settings::{Settings, SettingsError};

/// A store in a database. Cloning shares its connections.
#[derive(Clone)]
pub struct PostgresStore {
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    position: watch::Receiver<Position>,
}

impl PostgresStore {
    /// Connects, and brings the schema up to date.
    pub async fn open(settings: Settings, options: Options, now: Timestamp) -> Result<Self, Error> {
        let connector = Arc::new(Connector::new(settings));
        let mut session = connector.connect().await?;
        let migrated = schema::migrate(&mut session, now).await;
        migrated.map_err(|e| Error::unavailable("bring the schema up to date", e))?;
        let first = hear::position(&mut session).await;
        let first = first.map_err(|e| Error::unavailable("read the position", e))?;
        let (tell, position) = watch::channel(first);
        let tell = Arc::new(tell);
        tokio::spawn(hear::follow(Arc::clone(&connector), Arc::clone(&tell)));
        let readers = Readers::new(Arc::clone(&connector), options.readers);
        let queue = writer::start(connector, session, options, tell);
        Ok(Self {
            queue: Arc::new(queue),
            readers: Arc::new(readers),
            position,
        })
    }
}

impl Store for PostgresStore {
    fn append(&self, batch: Batch) -> Reply<'_, ()> {
        Box::pin(async move {
            check(&batch).map_err(Error::Rejected)?;
            let batch = Ready::new(batch);
            self.queue
                .ask(|reply| Command::Append { batch, reply })
                .await
        })
    }

    fn list(&self, query: Query) -> Reply<'_, Page> {
        Box::pin(async move {
            let list = async |s: &mut _| Snapshot::take(s).await?.list(&query).await;
            self.readers.read("list rows", list).await
        })
    }

    fn get(&self, namespace_uid: String, name: String) -> Reply<'_, Option<Row>> {
        Box::pin(async move {
            let get = async |s: &mut _| Snapshot::take(s).await?.get(&namespace_uid, &name).await;
            self.readers.read("get a row", get).await
        })
    }

    fn changes(
        &self,
        after: i64,
        namespace_uid: Option<String>,
        limit: usize,
    ) -> Reply<'_, Changes> {
        Box::pin(async move {
            let uid = namespace_uid.as_deref();
            let changes =
                async |s: &mut _| Snapshot::take(s).await?.changes(after, uid, limit).await;
            let found = self.readers.read("read changes", changes).await?;
            found.map_err(|kept| Error::Expired {
                asked: after,
                oldest: kept.oldest,
                newest: kept.newest,
            })
        })
    }

    fn log(&self, digest: String, offset: u64, bytes: usize) -> Reply<'_, Vec<Piece>> {
        Box::pin(async move {
            let log = async |s: &mut _| Snapshot::take(s).await?.log(&digest, offset, bytes).await;
            self.readers.read("read a log", log).await
        })
    }

    fn run(&self, run_uid: String) -> Reply<'_, Vec<Execution>> {
        Box::pin(async move {
            let run = async |s: &mut _| Snapshot::take(s).await?.run(&run_uid).await;
            self.readers.read("read a run", run).await
        })
    }

    fn archived(&self, query: ArchiveQuery) -> Reply<'_, ArchivePage> {
        Box::pin(async move {
            let list = async |s: &mut _| archive::list(Snapshot::take(s).await?, &query).await;
            self.readers.read("list archives", list).await
        })
    }

    fn audit(&self, query: AuditQuery) -> Reply<'_, AuditPage> {
        Box::pin(async move {
            let list = async |s: &mut _| audit::list(Snapshot::take(s).await?, &query).await;
            self.readers.read("list the audit", list).await
        })
    }

    fn audit_head(&self) -> Reply<'_, Head> {
        Box::pin(async move {
            let head = async |s: &mut _| audit::head(Snapshot::take(s).await?).await;
            self.readers.read("read where the audit ends", head).await
        })
    }

    fn checkpoints(&self, after: i64, limit: usize) -> Reply<'_, Vec<Checkpoint>> {
        Box::pin(async move {
            let list =
                async |s: &mut _| audit::checkpoints(Snapshot::take(s).await?, after, limit).await;
            self.readers.read("list checkpoints", list).await
        })
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

    fn sweep(&self, retention: Retention, now: Timestamp) -> Reply<'_, Swept> {
        Box::pin(self.queue.ask(move |reply| Command::Sweep {
            retention,
            now,
            reply,
        }))
    }

    fn position(&self) -> watch::Receiver<Position> {
        self.position.clone()
    }
}
