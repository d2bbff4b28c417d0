//! Retention: the oldest changes go first, by age and then by size, never young ones and never those of a run that is not over. A removal is a change
//! with a position of its own, visible to watches for a while; forgetting removals moves the floor below which a watch has to list again.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{archive, audit, write::Positions};
use crate::{Retention, Swept};

/// Rows and bytes taken in one sweep, so that writers wait only for a moment.
const PORTION: i64 = 2_000;
const PORTION_BYTES: u64 = 64 << 20;
/// Rows that changed within this time stay: whoever listed the live runs may not have heard of theirs yet.
const YOUNG: Duration = Duration::from_hours(1);
/// Once over its size the store shrinks to this share of it, so that it does not sweep at every write.
const SHRINK_TO_PERCENT: u64 = 90;

pub fn sweep(
    tx: &Connection,
    positions: &mut Positions,
    retention: &Retention,
    now: Timestamp,
) -> rusqlite::Result<Swept> {
    forget_removals(tx, before_now(now, retention.removals))?;
    if size(tx)? > retention.size {
        // What was taken stands in the removals still; counted again, it would cost as much of what is left.
        forget_removals(tx, i64::MAX)?;
    }
    let before = size(tx)?;
    let old = before_now(now, retention.age.max(YOUNG));
    let wanted = if before > retention.size {
        before - retention.size / 100 * SHRINK_TO_PERCENT
    } else {
        0
    };
    let young = before_now(now, YOUNG);
    let mut swept = Swept::default();
    let (mut freed, mut gone) = (0, old);
    for candidate in candidates(tx, retention, young)? {
        if candidate.changed_at >= old && freed >= wanted {
            break;
        }
        freed += remove(tx, positions, &candidate, now)?;
        gone = gone.max(candidate.changed_at);
        swept.rows += 1;
        swept.more = swept.rows == PORTION.unsigned_abs() || freed >= PORTION_BYTES;
        if swept.more {
            break;
        }
    }
    orphans(tx, old)?;
    // Archives go with the rows of their age, and all that are not young where no rows are left that would make room.
    let all = freed < wanted && !swept.more;
    let forgotten = archive::forget(tx, if all { young } else { gone }, PORTION)?;
    swept.more |= forgotten == PORTION.unsigned_abs();
    swept.more |= audit::forget(tx, retention.audit.max(YOUNG), now)?;
    swept.size = size(tx)?;
    Ok(swept)
}

struct Candidate {
    id: i64,
    digest: Vec<u8>,
    changed_at: i64,
}

fn candidates(
    tx: &Connection,
    retention: &Retention,
    young: i64,
) -> rusqlite::Result<Vec<Candidate>> {
    let protected = serde_json::json!(retention.protected_runs).to_string();
    tx.prepare_cached(
        "SELECT id, digest, changed_at FROM executions
         WHERE changed_at < ?3 AND run_uid NOT IN (SELECT value FROM json_each(?1)) ORDER BY seq LIMIT ?2",
    )?
    .query_map(params![protected, PORTION, young], |r| {
        Ok(Candidate {
            id: r.get(0)?,
            digest: r.get(1)?,
            changed_at: r.get(2)?,
        })
    })?
    .collect()
}

fn remove(
    tx: &Connection,
    positions: &mut Positions,
    row: &Candidate,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let logs: i64 = tx
        .prepare_cached("SELECT coalesce(sum(length(data)), 0) FROM logs WHERE digest = ?1")?
        .query_one([&row.digest], |r| r.get(0))?;
    let body: i64 = tx
        .prepare_cached("SELECT length(body) FROM executions WHERE id = ?1")?
        .query_one([row.id], |r| r.get(0))?;
    tx.prepare_cached(
        "INSERT INTO removals
         SELECT ?2, created_seq, created_at, ?3, namespace_uid, name, body FROM executions WHERE id = ?1",
    )?
    .execute(params![row.id, positions.next(), now.as_millisecond()])?;
    tx.prepare_cached("DELETE FROM logs WHERE digest = ?1")?
        .execute([&row.digest])?;
    tx.prepare_cached("DELETE FROM executions WHERE id = ?1")?
        .execute([row.id])?;
    Ok((logs + body).unsigned_abs())
}

/// Output whose row never came is kept as long as any other. That of a program from before does not know its run, and goes with its row only.
fn orphans(tx: &Connection, old: i64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "DELETE FROM logs WHERE id IN (
             SELECT id FROM (SELECT id, run_uid, digest, added_at FROM logs ORDER BY id LIMIT ?2) AS oldest
             WHERE added_at < ?1 AND run_uid IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM executions WHERE executions.run_uid = oldest.run_uid AND executions.digest = oldest.digest))",
    )?
    .execute(params![old, PORTION])?;
    Ok(())
}

fn forget_removals(tx: &Connection, old: i64) -> rusqlite::Result<()> {
    let forgotten: Option<i64> = tx
        .prepare_cached("SELECT max(seq) FROM removals WHERE removed_at < ?1")?
        .query_one([old], |r| r.get(0))?;
    if let Some(seq) = forgotten {
        tx.execute("DELETE FROM removals WHERE seq <= ?1", [seq])?;
        tx.execute("UPDATE meta SET value = ?1 WHERE name = 'floor'", [seq])?;
    }
    Ok(())
}

/// Bytes in use: pages of the file without those that are free for new rows.
fn size(tx: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| tx.query_one(&format!("PRAGMA {name}"), [], |r| r.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages * pragma("page_size")?).unsigned_abs())
}

/// Gives free pages back to the file system; outside of any transaction.
pub fn shrink(connection: &Connection) -> rusqlite::Result<()> {
    let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum(4096)")?;
    let mut pages = vacuum.query([])?;
    // Each step frees one page.
    while pages.next()?.is_some() {}
    Ok(())
}

pub fn before_now(now: Timestamp, age: Duration) -> i64 {
    now.as_millisecond()
        .saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}
