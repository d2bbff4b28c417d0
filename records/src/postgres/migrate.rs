//! The way from SQLite: all records of a folder that nobody has open, copied into an empty database in one transaction, with their positions, so that watches go on where they were.
//! It is there as a whole or not at all; after an interruption it is typed again.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, types::Value};
use tokio_postgres::{
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::{
    Settings, cost, schema,
    session::{Connector, Session},
    turn::Turn,
};
use crate::{Error, sqlite};

/// A copy takes as long as it takes.
const PATIENT: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;";

/// A table that both have, by its columns; the last one is what is weighed.
struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Type)],
    order: &'static str,
    /// What one takes beside what is weighed.
    beside: i64,
}

const TABLES: [Table; 9] = [
    Table {
        name: "executions",
        columns: &[
            ("digest", Type::BYTEA),
            ("namespace_uid", Type::TEXT),
            ("name", Type::TEXT),
            ("namespace", Type::TEXT),
            ("run_uid", Type::TEXT),
            ("run", Type::TEXT),
            ("job", Type::TEXT),
            ("step", Type::TEXT),
            ("target", Type::TEXT),
            ("state", Type::TEXT),
            ("created_seq", Type::INT8),
            ("seq", Type::INT8),
            ("created_at", Type::INT8),
            ("changed_at", Type::INT8),
            ("body", Type::TEXT),
        ],
        order: "seq",
        beside: cost::ROW,
    },
    Table {
        name: "removals",
        columns: &[
            ("seq", Type::INT8),
            ("created_seq", Type::INT8),
            ("created_at", Type::INT8),
            ("removed_at", Type::INT8),
            ("namespace_uid", Type::TEXT),
            ("name", Type::TEXT),
            ("body", Type::TEXT),
        ],
        order: "seq",
        beside: cost::REMOVAL,
    },
    Table {
        name: "logs",
        columns: &[
            ("digest", Type::BYTEA),
            ("start", Type::INT8),
            ("added_at", Type::INT8),
            ("run_uid", Type::TEXT),
            ("data", Type::BYTEA),
        ],
        order: "id",
        beside: cost::CHUNK,
    },
    Table {
        name: "receipts",
        columns: &[
            ("namespace", Type::TEXT),
            ("run", Type::TEXT),
            ("namespace_uid", Type::TEXT),
            ("body", Type::TEXT),
        ],
        order: "namespace, run, namespace_uid",
        beside: 0,
    },
    Table {
        name: "archives",
        columns: &[
            ("namespace_uid", Type::TEXT),
            ("name", Type::TEXT),
            ("kind", Type::TEXT),
            ("object", Type::TEXT),
            ("archived_at", Type::INT8),
            ("body", Type::TEXT),
        ],
        order: "id",
        beside: cost::ROW,
    },
    Table {
        name: "audit_entries",
        columns: &[
            ("sequence", Type::INT8),
            ("previous", Type::TEXT),
            ("hash", Type::TEXT),
            ("namespace_uid", Type::TEXT),
            ("decision", Type::TEXT),
            ("actor", Type::TEXT),
            ("kind", Type::TEXT),
            ("subject", Type::TEXT),
            ("policy", Type::TEXT),
            ("rule", Type::TEXT),
            ("id", Type::TEXT),
            ("committed_at", Type::INT8),
            ("body", Type::TEXT),
        ],
        order: "sequence",
        beside: cost::ROW,
    },
    Table {
        name: "audit_checkpoints",
        columns: &[
            ("sequence", Type::INT8),
            ("at", Type::INT8),
            ("hash", Type::TEXT),
            ("signature", Type::TEXT),
        ],
        order: "sequence",
        beside: 0,
    },
    Table {
        name: "audit_sources",
        columns: &[
            ("replica", Type::TEXT),
            ("told_at", Type::INT8),
            ("number", Type::INT8),
            ("start", Type::TEXT),
        ],
        order: "replica, start",
        beside: 0,
    },
    Table {
        name: "audit_head",
        columns: &[("sequence", Type::INT8), ("hash", Type::TEXT)],
        order: "sequence",
        beside: 0,
    },
];

/// How much of a table there is: how many, and the bytes of what is weighed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub count: i64,
    pub bytes: i64,
}

/// Why records were not copied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("there are no records in {}", .0.display())]
    Nothing(PathBuf),
    #[error("the records of the folder cannot be opened")]
    Folder(#[source] Error),
    #[error("the records of the folder cannot be read")]
    Read(#[from] rusqlite::Error),
    #[error("PostgreSQL cannot be used")]
    Away(#[source] Error),
    #[error("PostgreSQL did not take the records")]
    Write(#[from] tokio_postgres::Error),
    #[error("the database holds {0} already, and only an empty one is filled")]
    NotEmpty(&'static str),
    #[error("{table}: {sent:?} was sent and {found:?} is there")]
    Differs {
        table: &'static str,
        sent: Amount,
        found: Amount,
    },
}

/// Copies everything; how much of each table.
pub async fn migrate(
    folder: &Path,
    settings: Settings,
    now: Timestamp,
) -> Result<Vec<(&'static str, Amount)>, MigrateError> {
    if !sqlite::is_there(folder) {
        return Err(MigrateError::Nothing(folder.to_owned()));
    }
    let (from, _lock) = sqlite::alone(folder, now).map_err(MigrateError::Folder)?;
    let mut session = ready(settings, now).await?;
    let mut turn = Turn::begin(&mut session).await?;
    for table in &TABLES {
        if amount(&mut turn, table).await?.count > 0 {
            return Err(MigrateError::NotEmpty(table.name));
        }
    }
    let mut copied = Vec::new();
    for table in &TABLES {
        let sent = copy(&from, &mut turn, table).await?;
        let found = amount(&mut turn, table).await?;
        if sent != found {
            let table = table.name;
            return Err(MigrateError::Differs { table, sent, found });
        }
        if table.beside > 0 {
            turn.bytes += sent.bytes + table.beside * sent.count;
        }
        copied.push((table.name, sent));
    }
    let meta = "SELECT value FROM meta WHERE name = ?1";
    turn.seq = from.query_one(meta, ["seq"], |r| r.get(0))?;
    turn.floor = from.query_one(meta, ["floor"], |r| r.get(0))?;
    turn.commit().await?;
    Ok(copied)
}

async fn ready(settings: Settings, now: Timestamp) -> Result<Session, MigrateError> {
    let connected = Connector::new(settings).connect().await;
    let mut session = connected.map_err(MigrateError::Away)?;
    let migrated = schema::migrate(&mut session, now).await;
    migrated
        .map_err(|e| Error::unavailable("bring the schema up to date", e))
        .map_err(MigrateError::Away)?;
    session.client.batch_execute(PATIENT).await?;
    Ok(session)
}

async fn copy(
    from: &Connection,
    turn: &mut Turn<'_>,
    table: &Table,
) -> Result<Amount, MigrateError> {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let types: Vec<Type> = table.columns.iter().map(|(_, kind)| kind.clone()).collect();
    let (columns, name, order) = (names.join(", "), table.name, table.order);
    let mut select = from.prepare(&format!("SELECT {columns} FROM {name} ORDER BY {order}"))?;
    let mut rows = select.query([])?;
    let statement = turn
        .prepared(&format!("COPY {name} ({columns}) FROM STDIN BINARY"))
        .await?;
    let sink = turn.transaction().copy_in(&statement).await?;
    let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, &types));
    let mut sent = Amount::default();
    while let Some(row) = rows.next()? {
        let values: Vec<Value> = (0..types.len())
            .map(|column| row.get(column))
            .collect::<rusqlite::Result<_>>()?;
        let all: Vec<&(dyn ToSql + Sync)> = values.iter().map(as_sql).collect();
        writer.as_mut().write(&all).await?;
        sent.count += 1;
        sent.bytes += values.last().map_or(0, weight);
    }
    writer.finish().await?;
    Ok(sent)
}

fn as_sql(value: &Value) -> &(dyn ToSql + Sync) {
    match value {
        Value::Null => &None::<&str>,
        Value::Integer(number) => number,
        Value::Real(number) => number,
        Value::Text(text) => text,
        Value::Blob(bytes) => bytes,
    }
}

fn weight(value: &Value) -> i64 {
    match value {
        Value::Text(text) => cost::of(0, text.len()),
        Value::Blob(bytes) => cost::of(0, bytes.len()),
        _ => 0,
    }
}

/// What the database has of a table.
async fn amount(turn: &mut Turn<'_>, table: &Table) -> Result<Amount, tokio_postgres::Error> {
    let weighed = table.columns.last().map_or("", |(name, _)| name);
    let sql = format!(
        "SELECT count(*), coalesce(sum(octet_length({weighed})), 0)::bigint FROM {}",
        table.name
    );
    let mut found = Amount::default();
    for row in turn.query(&sql, &[]).await? {
        found = Amount {
            count: row.try_get(0)?,
            bytes: row.try_get(1)?,
        };
    }
    Ok(found)
}
