//! The audit: entries are chained in the transaction that commits them, one whose number its source has passed was told before, and old stretches go up to a checkpoint that stays.

use std::time::Duration;

use crds::audit::{AuditEntry, Checkpoint, Head, Link, Source};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, ToSql, params, params_from_iter, types::Type};
use serde_json::Value;

use super::sweep::before_now;
use crate::{
    AuditPage, AuditQuery,
    query::{DAY, SOURCES, STRETCHES},
};

/// Chains entries, in order.
pub fn append(tx: &Connection, entries: &[AuditEntry], now: Timestamp) -> rusqlite::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut end = head(tx)?;
    for entry in entries {
        let follows = told(tx, &entry.source)?;
        if entry.number <= follows {
            continue;
        }
        let link = Link::after(&end, follows, entry);
        insert(tx, entry, &link, now)?;
        tx.prepare_cached("INSERT OR REPLACE INTO audit_sources VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                entry.source.replica,
                now.as_millisecond(),
                entry.number,
                entry.source.start
            ])?;
        end = link.head();
    }
    tx.prepare_cached("INSERT OR REPLACE INTO audit_head VALUES (1, ?1, ?2)")?
        .execute(params![end.sequence, end.hash])?;
    Ok(())
}

/// Where the chain ends.
pub fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let head = connection
        .prepare_cached("SELECT sequence, hash FROM audit_head")?
        .query_row([], |r| {
            Ok(Head {
                sequence: r.get(0)?,
                hash: r.get(1)?,
            })
        })
        .optional()?;
    Ok(head.unwrap_or_default())
}

/// The number that a source has come to.
fn told(tx: &Connection, source: &Source) -> rusqlite::Result<i64> {
    let number = tx
        .prepare_cached("SELECT number FROM audit_sources WHERE replica = ?1 AND start = ?2")?
        .query_row([&source.replica, &source.start], |r| r.get(0))
        .optional()?;
    Ok(number.unwrap_or(0))
}

fn insert(
    tx: &Connection,
    entry: &AuditEntry,
    link: &Link,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let told = &entry.statement;
    tx.prepare_cached(
        "INSERT INTO audit_entries (sequence, previous, hash, namespace_uid, decision, actor, kind, subject, policy, rule, committed_at, body, id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        link.sequence,
        link.previous,
        link.hash,
        told.subject.namespace_uid,
        told.decision.as_str(),
        told.actor.user,
        told.subject.kind,
        told.subject.name,
        told.policy,
        told.rule,
        now.as_millisecond(),
        crds::audit::canonical(&link.entry),
        entry.id()
    ])?;
    Ok(())
}

pub fn list(connection: &Connection, query: &AuditQuery) -> rusqlite::Result<AuditPage> {
    // One more than asked tells whether there is a next page.
    let limit = i64::try_from(query.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut sql = "SELECT sequence, previous, hash, body FROM audit_entries
         WHERE sequence > ?1 AND (?2 IS NULL OR namespace_uid = ?2) AND (?3 IS NULL OR sequence = ?3)"
        .to_owned();
    let mut values: Vec<&dyn ToSql> =
        vec![&query.after, &query.namespace_uid, &query.sequence, &limit];
    for (column, value) in &query.terms {
        values.push(value);
        sql.push_str(&format!(" AND {} = ?{}", column.as_str(), values.len()));
    }
    sql.push_str(" ORDER BY sequence LIMIT ?4");
    let links = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), link)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(query.page(links))
}

/// What is no JSON any more was written by somebody else; whoever verifies has to see it.
fn link(found: &rusqlite::Row<'_>) -> rusqlite::Result<Link> {
    let body: String = found.get(3)?;
    Ok(Link {
        sequence: found.get(0)?,
        previous: found.get(1)?,
        hash: found.get(2)?,
        entry: serde_json::from_str(&body).unwrap_or(Value::String(body)),
    })
}

pub fn sign(tx: &Connection, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR IGNORE INTO audit_checkpoints VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            checkpoint.sequence,
            checkpoint.at.as_millisecond(),
            checkpoint.hash,
            checkpoint.signature
        ])?;
    Ok(())
}

pub fn checkpoints(
    connection: &Connection,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Checkpoint>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT sequence, at, hash, signature FROM audit_checkpoints WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        )?
        .query_map([after, limit], |r| {
            let at = Timestamp::from_millisecond(r.get(1)?);
            Ok(Checkpoint {
                sequence: r.get(0)?,
                at: at.map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Integer, Box::new(e)))?,
                hash: r.get(2)?,
                signature: r.get(3)?,
            })
        })?
        .collect()
}

/// Takes the oldest stretches whose checkpoint is from before the age, but never what the newest checkpoint covers last: whoever finds nothing behind it knows that something is missing.
/// Whether there is more to take.
pub fn forget(tx: &Connection, age: Duration, now: Timestamp) -> rusqlite::Result<bool> {
    let old = before_now(now, age);
    let (until, stretches): (Option<i64>, i64) = tx
        .prepare_cached(
            "SELECT max(sequence), count(*) FROM (
                 SELECT sequence FROM audit_checkpoints
                 WHERE at < ?1 AND sequence < (SELECT max(sequence) FROM audit_checkpoints)
                     AND sequence >= (SELECT min(sequence) FROM audit_entries)
                 ORDER BY sequence LIMIT ?2)",
        )?
        .query_one([old, STRETCHES], |r| Ok((r.get(0)?, r.get(1)?)))?;
    let Some(until) = until else {
        return Ok(false);
    };
    tx.execute("DELETE FROM audit_entries WHERE sequence <= ?1", [until])?;
    // Of those that nothing is left of, one a day is enough to be held against what somebody has kept.
    tx.execute(
        "DELETE FROM audit_checkpoints WHERE sequence < ?1 AND sequence NOT IN
             (SELECT max(sequence) FROM audit_checkpoints WHERE sequence <= ?1 GROUP BY at / ?2)",
        [until, DAY],
    )?;
    let silent = before_now(now, age.max(SOURCES));
    tx.execute("DELETE FROM audit_sources WHERE told_at < ?1", [silent])?;
    Ok(stretches == STRETCHES)
}
