//! How a batch becomes rows: a key is inserted once, then moves from Started to one terminal state and never again; every visible change takes
//! the next position.

use crds::execution::{Batch, Execution, LogChunk, State};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

/// Positions handed out within one transaction.
pub struct Positions {
    pub seq: i64,
}

impl Positions {
    /// Read from the file in each transaction, so that a rolled back group gives its positions back.
    pub fn begin(tx: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: super::read::position(tx)?,
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
    batch: &Batch,
    now: Timestamp,
) -> rusqlite::Result<()> {
    for row in &batch.rows {
        upsert(tx, positions, row, now)?;
    }
    for chunk in &batch.logs {
        add_chunk(tx, chunk, now)?;
    }
    Ok(())
}

fn upsert(
    tx: &Connection,
    positions: &mut Positions,
    row: &Execution,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let digest = row.key.digest();
    let key = bytes_of(&digest);
    let body = serde_json::to_string(row)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    // Most rows are new, so the insert comes first and only its refusal asks why.
    // A name is one segment of a URL; a container's target has two parts.
    let name = row.name().replace('/', ".");
    if insert(tx, positions.seq + 1, &key, &name, row, &body, now)? {
        positions.next();
        return Ok(());
    }
    let stored: Option<(i64, String, String)> = tx
        .prepare_cached("SELECT id, state, body FROM executions WHERE digest = ?1")?
        .query_row([&key], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .optional()?;
    match stored {
        Some((id, state, old)) if state == State::Started.as_str() && old != body => {
            change(tx, positions.next(), id, row, &body, now)
        }
        Some(_) => Ok(()),
        // The name belongs to another key: an earlier run of the same name. The digest tells them apart.
        None => {
            let name = format!("{name}.{}", &digest[..8]);
            insert(tx, positions.next(), &key, &name, row, &body, now).map(drop)
        }
    }
}

fn insert(
    tx: &Connection,
    seq: i64,
    key: &[u8],
    name: &str,
    row: &Execution,
    body: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let added = tx
        .prepare_cached(
            "INSERT INTO executions
             (digest, namespace_uid, name, namespace, run_uid, run, job, step, target, state, created_seq, seq, created_at, changed_at, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?12, ?13)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            key,
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
            body
        ])?;
    Ok(added == 1)
}

fn change(
    tx: &Connection,
    seq: i64,
    id: i64,
    row: &Execution,
    body: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
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
        "INSERT INTO logs (digest, start, added_at, data) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (digest, start) DO UPDATE SET data = excluded.data WHERE length(excluded.data) > length(data)",
    )?
    .execute(params![bytes_of(&chunk.key.digest()), start, now.as_millisecond(), chunk.data])?;
    Ok(())
}

fn bytes_of(digest: &str) -> Vec<u8> {
    hex::decode(digest).expect("a digest is written in hex")
}
