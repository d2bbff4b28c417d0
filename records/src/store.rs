//! The promise of a store, kept by every backend and tried by one conformance suite.

use std::{collections::HashSet, pin::Pin, time::Duration};

use crds::{
    archive::Archived,
    audit::{Checkpoint, Head, Link},
    execution::{Batch, Execution},
    receipt::Receipt,
};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{ArchiveQuery, AuditQuery, Cursor, Query, Rejected, Row};

/// What a store answers with, boxed so that a store can be chosen at run time.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Keeps executions and their logs, objects that have finished, and the audit.
///
/// Entries of the audit are chained as they are committed, by whoever has the one turn of all writers; one whose number its source has passed was told before and is not kept twice.
///
/// Rows are identified by the digest of their key and only ever move from Started to one terminal state; every change that is visible gets the
/// next position, in commit order, and a reader who sees a position sees everything before it.
pub trait Store: Send + Sync + 'static {
    /// Returns after the batch is durable. Doing it twice equals doing it once.
    fn append(&self, batch: Batch) -> Reply<'_, ()>;

    /// One page of rows.
    fn list(&self, query: Query) -> Reply<'_, Page>;

    /// The row of this name in the namespace of this UID.
    fn get(&self, namespace_uid: String, name: String) -> Reply<'_, Option<Row>>;

    /// Rows changed or removed after a position, in order, each in its latest state; [`Error::Expired`] when removals since then are forgotten.
    fn changes(
        &self,
        after: i64,
        namespace_uid: Option<String>,
        limit: usize,
    ) -> Reply<'_, Changes>;

    /// Pieces of a log from an offset on, in order, at most about `bytes` of them.
    fn log(&self, digest: String, offset: u64, bytes: usize) -> Reply<'_, Vec<Piece>>;

    /// Every row of a run: the operator's ledger.
    fn run(&self, run_uid: String) -> Reply<'_, Vec<Execution>>;

    /// One page of finished objects.
    fn archived(&self, query: ArchiveQuery) -> Reply<'_, ArchivePage>;

    /// One page of the audit.
    fn audit(&self, query: AuditQuery) -> Reply<'_, AuditPage>;

    /// Where the audit has come to, by what the last commit wrote down and not by what is there.
    fn audit_head(&self) -> Reply<'_, Head>;

    /// Checkpoints of the audit behind a place, in order.
    fn checkpoints(&self, after: i64, limit: usize) -> Reply<'_, Vec<Checkpoint>>;

    /// Keeps a checkpoint, unless there is one of its place.
    fn sign(&self, checkpoint: Checkpoint) -> Reply<'_, ()>;

    /// Keeps the receipt unless its name has one; the receipt that stands, once it is durable. Receipts have no age.
    fn claim(&self, receipt: Receipt) -> Reply<'_, Receipt>;

    /// Takes away what retention no longer covers, a bounded portion a call, and nothing that changed within the last hour.
    fn sweep(&self, retention: Retention, now: Timestamp) -> Reply<'_, Swept>;

    /// Changes after every commit; a reader waits on it for more.
    fn position(&self) -> watch::Receiver<Position>;
}

/// How far the store has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Last position given to a change of a row.
    pub seq: i64,
    /// Counts commits, so that log readers wake too.
    pub commits: u64,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// Absent on the last page.
    pub next: Option<Cursor>,
    /// Position at which the page was read.
    pub seq: i64,
}

/// A page of finished objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivePage {
    pub rows: Vec<ArchiveRow>,
    /// Absent on the last page.
    pub next: Option<Cursor>,
}

/// A finished object, and since when it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRow {
    pub archived: Archived,
    pub archived_at: Timestamp,
}

/// A page of the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    pub links: Vec<Link>,
    /// The place behind which the next page begins; absent on the last one.
    pub next: Option<i64>,
}

/// Changes after a position.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    pub rows: Vec<Row>,
    /// Everything up to here has been told.
    pub upto: i64,
}

/// A stretch of a log; stretches may overlap when they were sent twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub offset: u64,
    pub data: Vec<u8>,
}

/// What may be forgotten, oldest change first.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Counts as an hour when it is less.
    pub age: Duration,
    /// The same for the audit, of which whole stretches between checkpoints go. Size never takes any of it.
    pub audit: Duration,
    /// Bytes on disk that the store may use.
    pub size: u64,
    /// How long a removal stays visible to watches; shorter while the store is over its size.
    pub removals: Duration,
    /// Runs that are not over: their rows are the operator's ledger and are never taken.
    pub protected_runs: HashSet<String>,
}

/// What a sweep took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub rows: u64,
    /// True when another sweep would take more at once.
    pub more: bool,
    /// Bytes in use afterwards.
    pub size: u64,
}

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("batch refused")]
    Rejected(#[source] Rejected),
    #[error("position {asked} is outside of what is kept ({oldest} to {newest})")]
    Expired {
        asked: i64,
        oldest: i64,
        newest: i64,
    },
    #[error("the store is not available: {step}")]
    Unavailable {
        step: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl Error {
    pub(crate) fn unavailable(
        step: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            step,
            source: source.into(),
        }
    }
}
