//! How a batch becomes rows: a key is inserted once, then moves from Started to one terminal state and never again; every visible change takes
//! the next position.

use crds::execution::{Execution, LogChunk};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Statement, params};

use super::{archive, audit, read};
use crate::ready::{Ready, ReadyRow};

/// Positions handed out within one transaction.
pub struct Positions {
    pub seq: i64,
}

impl Positions {
    /// Read from the file in each transaction, so that a rolled back group gives its positions back.
    pub fn begin(tx: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: read::position(tx)?,
        })
    }

    pub fn next(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }

    pub fn save(&self, tx: &Connection) -> rusqlite::Result<()> {
        tx.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'seq'")?
            .execute([self.seq])?;
        Ok(())
    }
}

pub fn append(
    tx: &Connection,
    positions: &mut Positions,
    batch: &Ready,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(INSERT)?;
    for ready in &batch.rows {
        upsert(tx, &mut insert, positions, ready, now)?;
    }
    for chunk in &batch.logs {
        add_chunk(tx, chunk, now)?;
    }
    for archived in &batch.archived {
        archive::keep(tx, archived, now)?;
    }
    audit::append(tx, &batch.audit, now)
}

fn upsert(
    tx: &Connection,
    insert: &mut Statement<'_>,
    positions: &mut Positions,
    ready: &ReadyRow,
    now: Timestamp,
) -> rusqlite::Result<()> {
    // Most rows are new, so the insert comes first and only its refusal asks why.
    if add(insert, positions.seq + 1, &ready.name, ready, now)? {
        positions.next();
        return Ok(());
    }
    let (run, digest) = (&ready.row.key.run, &ready.digest);
    let stored: Option<(i64, String)> = tx
        .prepare_cached("SELECT id, body FROM executions WHERE run_uid = ?1 AND digest = ?2")?
        .query_row(params![run, digest], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    let Some((id, body)) = stored else {
        // The name belongs to another key: an earlier run of the same name. The digest tells them apart.
        return add(insert, positions.next(), &ready.second_name(), ready, now).map(drop);
    };
    let known = read::execution(&body, 1)?;
    if known.state.is_terminal() {
        return Ok(());
    }
    let told = ready.told_of(known.clone());
    if told != known {
        change(tx, positions.next(), id, &told, now)?;
    }
    Ok(())
}

const INSERT: &str = "INSERT INTO executions
    (digest, namespace_uid, name, namespace, run_uid, run, job, step, target, state, created_seq, seq, created_at, changed_at, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?12, ?13)
    ON CONFLICT DO NOTHING";

fn add(
    insert: &mut Statement<'_>,
    seq: i64,
    name: &str,
    ready: &ReadyRow,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let row = &ready.row;
    let added = insert.execute(params![
        ready.digest,
        row.namespace_uid,
        name,
        row.namespace,
        row.key.run,
        row.run,
        row.job.as_deref().unwrap_or_default(),
        row.step,
        row.target,
        row.state.as_str(),
        seq,
        now.as_millisecond(),
        ready.body
    ])?;
    Ok(added == 1)
}

fn change(
    tx: &Connection,
    seq: i64,
    id: i64,
    row: &Execution,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let body = serde_json::to_string(row).expect("a row is strings and numbers");
    tx.prepare_cached(
        "UPDATE executions SET state = ?2, seq = ?3, changed_at = ?4, body = ?5 WHERE id = ?1",
    )?
    .execute(params![
        id,
        row.state.as_str(),
        seq,
        now.as_millisecond(),
        body
    ])?;
    Ok(())
}

/// A chunk that comes again is the same chunk; only one that reaches further replaces what is there.
fn add_chunk(tx: &Connection, chunk: &LogChunk, now: Timestamp) -> rusqlite::Result<()> {
    let start = i64::try_from(chunk.offset)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    tx.prepare_cached(
        "INSERT INTO logs (run_uid, digest, start, added_at, data) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (digest, start) DO UPDATE SET data = excluded.data WHERE length(excluded.data) > length(data)",
    )?
    .execute(params![
        chunk.key.run,
        chunk.key.digest_bytes(),
        start,
        now.as_millisecond(),
        chunk.data
    ])?;
    Ok(())
}
