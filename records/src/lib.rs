//! What is too numerous for etcd. A [`Store`] acknowledges a batch after it is durable, never forgets an acknowledged row before its
//! retention, and numbers every change in commit order; the [`client`] half is what the operator uses to write and to read back its ledger.

mod batch;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod options;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(all(feature = "postgres", feature = "conformance"))]
pub mod private;
mod query;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod queue;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod ready;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
#[cfg(feature = "client")]
pub mod trail;

pub use batch::{
    MAX_BATCH_AUDIT, MAX_BATCH_BYTES, MAX_BATCH_LOGS, MAX_BATCH_ROWS, MAX_BATCHES, MAX_CHUNK_BYTES,
    Rejected, check, shortened,
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use options::Options;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
pub use postgres::{Amount, MigrateError, migrate};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresStore, Settings, SettingsError, restored};
pub use query::{
    ArchiveQuery, AuditColumn, AuditQuery, Column, Cursor, Query, Row, Selector, Term,
};
#[cfg(feature = "sqlite")]
pub use sqlite::{BackupError, SqliteStore, backup, restore};
pub use store::{
    ArchivePage, ArchiveRow, AuditPage, Changes, Error, Page, Piece, Position, Reply, Retention,
    Store, Swept,
};
