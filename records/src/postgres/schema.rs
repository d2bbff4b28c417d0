//! The tables and how they came to be: numbered migrations, each applied once, recorded in the database itself. They mirror those of SQLite; text is compared by its bytes, as it is there and in memory.

use jiff::Timestamp;
use tokio_postgres::Transaction;

use super::session::Session;

/// Migrations in order; a released one is never changed, a new one is appended.
const MIGRATIONS: &[&str] = &[r#"
    -- One row, whose lock is the turn of whoever writes.
    CREATE TABLE meta (
        one     boolean PRIMARY KEY DEFAULT true CHECK (one),
        seq     bigint NOT NULL,
        floor   bigint NOT NULL,
        commits bigint NOT NULL,
        bytes   bigint NOT NULL
    );

    CREATE TABLE executions (
        run_uid       text COLLATE "C" NOT NULL,
        digest        bytea NOT NULL,
        namespace_uid text COLLATE "C" NOT NULL,
        name          text COLLATE "C" NOT NULL,
        namespace     text COLLATE "C" NOT NULL,
        run           text COLLATE "C" NOT NULL,
        job           text COLLATE "C" NOT NULL,
        step          text COLLATE "C" NOT NULL,
        target        text COLLATE "C" NOT NULL,
        state         text COLLATE "C" NOT NULL,
        created_seq   bigint NOT NULL,
        seq           bigint NOT NULL,
        created_at    bigint NOT NULL,
        changed_at    bigint NOT NULL,
        body          text NOT NULL,
        PRIMARY KEY (run_uid, digest)
    );
    CREATE UNIQUE INDEX executions_by_name ON executions (namespace_uid, name);
    CREATE UNIQUE INDEX executions_by_seq ON executions (seq);

    CREATE TABLE removals (
        seq           bigint PRIMARY KEY,
        created_seq   bigint NOT NULL,
        created_at    bigint NOT NULL,
        removed_at    bigint NOT NULL,
        namespace_uid text COLLATE "C" NOT NULL,
        name          text COLLATE "C" NOT NULL,
        body          text NOT NULL
    );

    CREATE TABLE logs (
        id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        digest   bytea NOT NULL,
        start    bigint NOT NULL,
        added_at bigint NOT NULL,
        run_uid  text COLLATE "C",
        data     bytea NOT NULL
    );
    CREATE UNIQUE INDEX logs_by_start ON logs (digest, start);

    CREATE TABLE receipts (
        namespace     text COLLATE "C" NOT NULL,
        run           text COLLATE "C" NOT NULL,
        namespace_uid text COLLATE "C" NOT NULL,
        body          text NOT NULL,
        PRIMARY KEY (namespace, run, namespace_uid)
    );
"#];

/// What programs of the versions before need not know, and must be able to come back to: added, not migrated.
const ADDITIONS: &str = r#"
    CREATE TABLE IF NOT EXISTS archives (
        namespace_uid text COLLATE "C" NOT NULL,
        name          text COLLATE "C" NOT NULL,
        kind          text COLLATE "C" NOT NULL,
        object        text COLLATE "C" NOT NULL,
        archived_at   bigint NOT NULL,
        body          text NOT NULL,
        PRIMARY KEY (namespace_uid, name)
    );
    CREATE INDEX IF NOT EXISTS archives_by_age ON archives (archived_at);

    CREATE TABLE IF NOT EXISTS audit_head (
        one      boolean PRIMARY KEY DEFAULT true CHECK (one),
        sequence bigint NOT NULL,
        hash     text COLLATE "C" NOT NULL
    );
    CREATE TABLE IF NOT EXISTS audit_sources (
        replica text COLLATE "C" NOT NULL,
        told_at bigint NOT NULL,
        number  bigint NOT NULL,
        start   text COLLATE "C" NOT NULL,
        PRIMARY KEY (replica, start)
    );
    CREATE TABLE IF NOT EXISTS audit_entries (
        sequence      bigint PRIMARY KEY,
        previous      text COLLATE "C" NOT NULL,
        hash          text COLLATE "C" NOT NULL,
        namespace_uid text COLLATE "C" NOT NULL,
        decision      text COLLATE "C" NOT NULL,
        actor         text COLLATE "C" NOT NULL,
        kind          text COLLATE "C" NOT NULL,
        subject       text COLLATE "C" NOT NULL,
        policy        text COLLATE "C" NOT NULL,
        rule          text COLLATE "C" NOT NULL,
        committed_at  bigint NOT NULL,
        body          text NOT NULL
    );
    CREATE INDEX IF NOT EXISTS audit_by_namespace ON audit_entries (namespace_uid, sequence);
    ALTER TABLE audit_entries ADD COLUMN IF NOT EXISTS id text COLLATE "C" NOT NULL DEFAULT '';
    CREATE INDEX IF NOT EXISTS audit_by_id ON audit_entries (id);
    CREATE TABLE IF NOT EXISTS audit_checkpoints (
        sequence  bigint PRIMARY KEY,
        at        bigint NOT NULL,
        hash      text COLLATE "C" NOT NULL,
        signature text COLLATE "C" NOT NULL
    );
"#;

/// Held while migrations are applied, so that replicas that start together do so one after the other.
const MIGRATING: i64 = 0x0070_696c_6f74;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("database refused a statement")]
    Postgres(#[from] tokio_postgres::Error),
    #[error("database keeps text as {0}, not as UTF8")]
    Encoding(String),
    #[error(
        "database has schema version {found}, this program knows {known}: use the newer program"
    )]
    Newer { found: i64, known: i64 },
}

/// Brings the tables up to date.
pub async fn migrate(session: &mut Session, now: Timestamp) -> Result<(), SchemaError> {
    let encoding: String = session
        .client
        .query_one_scalar("SHOW server_encoding", &[])
        .await?;
    if encoding != "UTF8" {
        return Err(SchemaError::Encoding(encoding));
    }
    let tx = session.client.transaction().await?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATING])
        .await?;
    apply(&tx, now).await?;
    tx.commit().await?;
    Ok(())
}

async fn apply(tx: &Transaction<'_>, now: Timestamp) -> Result<(), SchemaError> {
    tx.batch_execute(
        "SET LOCAL client_min_messages = warning;
         CREATE TABLE IF NOT EXISTS schema_version (version bigint PRIMARY KEY, applied_at bigint NOT NULL)",
    )
    .await?;
    let found = tx.query_one("SELECT count(*) FROM schema_version", &[]);
    let found: i64 = found.await?.try_get(0)?;
    let mut known = 0;
    for (version, migration) in (1..).zip(MIGRATIONS) {
        known = version;
        if version > found {
            tx.batch_execute(migration).await?;
            let applied = "INSERT INTO schema_version VALUES ($1, $2)";
            tx.execute(applied, &[&version, &now.as_millisecond()])
                .await?;
        }
    }
    if found > known {
        return Err(SchemaError::Newer { found, known });
    }
    tx.batch_execute(ADDITIONS).await?;
    if found == 0 {
        begin_positions(tx, now).await?;
    }
    Ok(())
}

/// Positions start at the time of creation, so that a store made anew in an empty database never repeats positions that clients still hold.
async fn begin_positions(
    tx: &Transaction<'_>,
    now: Timestamp,
) -> Result<(), tokio_postgres::Error> {
    let first = now.as_microsecond();
    let begin = "INSERT INTO meta (seq, floor, commits, bytes) VALUES ($1, $1, 0, 0)";
    tx.execute(begin, &[&first]).await?;
    Ok(())
}
