//! The tables and how they came to be: numbered migrations, each applied once, recorded in the file itself.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

/// Migrations in order; a released one is never changed, a new one is appended. Stores of the time before the first release have an index of digests by themselves
/// in place of the one below each run; it answers the same questions.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (
        name  TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE executions (
        id            INTEGER PRIMARY KEY,
        digest        BLOB NOT NULL,
        namespace_uid TEXT NOT NULL,
        name          TEXT NOT NULL,
        namespace     TEXT NOT NULL,
        run_uid       TEXT NOT NULL,
        run           TEXT NOT NULL,
        job           TEXT NOT NULL,
        step          TEXT NOT NULL,
        target        TEXT NOT NULL,
        state         TEXT NOT NULL,
        created_seq   INTEGER NOT NULL,
        seq           INTEGER NOT NULL,
        created_at    INTEGER NOT NULL,
        changed_at    INTEGER NOT NULL,
        body          TEXT NOT NULL
    );
    CREATE UNIQUE INDEX executions_by_name ON executions (namespace_uid, name);
    CREATE UNIQUE INDEX executions_by_seq ON executions (seq);
    -- Digests are random: an index of them alone has each new row touch another page of it, one below each run touches few.
    CREATE UNIQUE INDEX executions_by_run ON executions (run_uid, digest);

    CREATE TABLE removals (
        seq           INTEGER PRIMARY KEY,
        created_seq   INTEGER NOT NULL,
        created_at    INTEGER NOT NULL,
        removed_at    INTEGER NOT NULL,
        namespace_uid TEXT NOT NULL,
        name          TEXT NOT NULL,
        body          TEXT NOT NULL
    );

    CREATE TABLE logs (
        id       INTEGER PRIMARY KEY,
        digest   BLOB NOT NULL,
        start    INTEGER NOT NULL,
        added_at INTEGER NOT NULL,
        data     BLOB NOT NULL,
        run_uid  TEXT
    );
    CREATE UNIQUE INDEX logs_by_start ON logs (digest, start);
"];

/// What programs of the versions before need not know, and must be able to come back to: added, not migrated.
const ADDITIONS: &str = "
    CREATE TABLE IF NOT EXISTS receipts (
        namespace     TEXT NOT NULL,
        run           TEXT NOT NULL,
        namespace_uid TEXT NOT NULL,
        body          TEXT NOT NULL,
        PRIMARY KEY (namespace, run, namespace_uid)
    ) WITHOUT ROWID;

    CREATE TABLE IF NOT EXISTS archives (
        id            INTEGER PRIMARY KEY,
        namespace_uid TEXT NOT NULL,
        name          TEXT NOT NULL,
        kind          TEXT NOT NULL,
        object        TEXT NOT NULL,
        archived_at   INTEGER NOT NULL,
        body          TEXT NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS archives_by_name ON archives (namespace_uid, name);
    CREATE INDEX IF NOT EXISTS archives_by_age ON archives (archived_at);

    CREATE TABLE IF NOT EXISTS audit_head (
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        sequence INTEGER NOT NULL,
        hash     TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS audit_sources (
        replica TEXT NOT NULL,
        told_at INTEGER NOT NULL,
        number  INTEGER NOT NULL,
        start   TEXT NOT NULL,
        PRIMARY KEY (replica, start)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS audit_entries (
        sequence      INTEGER PRIMARY KEY,
        previous      TEXT NOT NULL,
        hash          TEXT NOT NULL,
        namespace_uid TEXT NOT NULL,
        decision      TEXT NOT NULL,
        actor         TEXT NOT NULL,
        kind          TEXT NOT NULL,
        subject       TEXT NOT NULL,
        policy        TEXT NOT NULL,
        rule          TEXT NOT NULL,
        committed_at  INTEGER NOT NULL,
        body          TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS audit_by_namespace ON audit_entries (namespace_uid, sequence);
    CREATE TABLE IF NOT EXISTS audit_checkpoints (
        sequence  INTEGER PRIMARY KEY,
        at        INTEGER NOT NULL,
        hash      TEXT NOT NULL,
        signature TEXT NOT NULL
    );
";

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("database refused a statement")]
    Sqlite(#[from] rusqlite::Error),
    #[error(
        "database has schema version {found}, this program knows {known}: use the newer program"
    )]
    Newer { found: i64, known: i64 },
}

/// Opens the writer's connection.
pub fn open(file: &Path, now: Timestamp) -> Result<Connection, SchemaError> {
    let mut connection = Connection::open(file)?;
    // Incremental vacuum can only be chosen before the first table exists.
    connection.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -32000;
         PRAGMA temp_store = MEMORY;
         PRAGMA busy_timeout = 5000;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    migrate(&mut connection, now)?;
    Ok(connection)
}

pub fn migrate(connection: &mut Connection, now: Timestamp) -> Result<(), SchemaError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)",
    )?;
    let found: i64 = tx.query_one("SELECT count(*) FROM schema_version", [], |r| r.get(0))?;
    let mut known = 0;
    for (version, migration) in (1..).zip(MIGRATIONS) {
        known = version;
        if version > found {
            tx.execute_batch(migration)?;
            tx.execute(
                "INSERT INTO schema_version VALUES (?1, ?2)",
                params![version, now.as_millisecond()],
            )?;
        }
    }
    if found > known {
        return Err(SchemaError::Newer { found, known });
    }
    tx.execute_batch(ADDITIONS)?;
    if !tx.column_exists(None, "logs", "run_uid")? {
        tx.execute_batch("ALTER TABLE logs ADD COLUMN run_uid TEXT")?;
    }
    if !tx.column_exists(None, "audit_entries", "id")? {
        tx.execute_batch("ALTER TABLE audit_entries ADD COLUMN id TEXT NOT NULL DEFAULT ''")?;
    }
    tx.execute_batch("CREATE INDEX IF NOT EXISTS audit_by_id ON audit_entries (id)")?;
    if found == 0 {
        begin_positions(&tx, now)?;
    }
    tx.commit()?;
    Ok(())
}

/// Positions start at the time of creation, so that a store made anew on an empty volume never repeats positions that clients still hold.
fn begin_positions(tx: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let first = now.as_microsecond();
    for name in ["seq", "floor"] {
        tx.execute("INSERT INTO meta VALUES (?1, ?2)", params![name, first])?;
    }
    Ok(())
}
