//! The audit: entries are chained in the turn that commits them, one whose number its source has passed was told before, and old stretches go up to a checkpoint that stays.

use std::time::Duration;

use crds::audit::{AuditEntry, Checkpoint, Head, Link, Source};
use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::types::ToSql;

use super::{
    cost,
    failed::Failed,
    read::{self, Snapshot},
    session::Session,
    sweep::before_now,
    turn::Turn,
};
use crate::{
    AuditPage, AuditQuery, Position,
    query::{DAY, SOURCES, STRETCHES},
};

const HEAD: &str = "SELECT sequence, hash FROM audit_head";

/// Chains entries, in order.
pub async fn append(
    turn: &mut Turn<'_>,
    entries: &[&AuditEntry],
    now: Timestamp,
) -> Result<(), Failed> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut end = end(&turn.query(HEAD, &[]).await?)?;
    for entry in entries {
        let follows = told(turn, &entry.source).await?;
        if entry.number <= follows {
            continue;
        }
        let link = Link::after(&end, follows, entry);
        insert(turn, entry, &link, now).await?;
        turn.execute(
            "INSERT INTO audit_sources (replica, told_at, number, start) VALUES ($1, $2, $3, $4)
             ON CONFLICT (replica, start) DO UPDATE SET told_at = excluded.told_at, number = excluded.number",
            &[&entry.source.replica, &now.as_millisecond(), &entry.number, &entry.source.start],
        )
        .await?;
        end = link.head();
    }
    turn.execute(
        "INSERT INTO audit_head (sequence, hash) VALUES ($1, $2)
         ON CONFLICT (one) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
        &[&end.sequence, &end.hash],
    )
    .await?;
    Ok(())
}

/// Where the chain ends.
pub async fn head(mut snapshot: Snapshot<'_>) -> Result<Head, Failed> {
    end(&snapshot.query(HEAD, &[]).await?)
}

fn end(found: &[tokio_postgres::Row]) -> Result<Head, Failed> {
    let Some(row) = found.first() else {
        return Ok(Head::default());
    };
    Ok(Head {
        sequence: row.try_get(0)?,
        hash: row.try_get(1)?,
    })
}

/// The number that a source has come to.
async fn told(turn: &mut Turn<'_>, source: &Source) -> Result<i64, Failed> {
    let told = "SELECT number FROM audit_sources WHERE replica = $1 AND start = $2";
    let found = turn.query(told, &[&source.replica, &source.start]).await?;
    let number = found.first().map(|row| row.try_get(0)).transpose()?;
    Ok(number.unwrap_or(0))
}

async fn insert(
    turn: &mut Turn<'_>,
    entry: &AuditEntry,
    link: &Link,
    now: Timestamp,
) -> Result<(), Failed> {
    let (told, body) = (&entry.statement, crds::audit::canonical(&link.entry));
    turn.execute(
        "INSERT INTO audit_entries (sequence, previous, hash, namespace_uid, decision, actor, kind, subject, policy, rule, committed_at, body, id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &[
            &link.sequence,
            &link.previous,
            &link.hash,
            &told.subject.namespace_uid,
            &told.decision.as_str(),
            &told.actor.user,
            &told.subject.kind,
            &told.subject.name,
            &told.policy,
            &told.rule,
            &now.as_millisecond(),
            &body,
            &entry.id(),
        ],
    )
    .await?;
    turn.bytes += cost::of(cost::ROW, body.len());
    Ok(())
}

pub async fn list(mut snapshot: Snapshot<'_>, query: &AuditQuery) -> Result<AuditPage, Failed> {
    if query.terms.iter().any(|(_, value)| !read::possible(value)) {
        return Ok(AuditPage::default());
    }
    // One more than asked tells whether there is a next page.
    let limit = read::as_sql(query.limit.saturating_add(1));
    let mut sql = "SELECT sequence, previous, hash, body FROM audit_entries
         WHERE sequence > $1 AND ($2::text IS NULL OR namespace_uid = $2) AND ($3::bigint IS NULL OR sequence = $3)"
        .to_owned();
    let mut values: Vec<&(dyn ToSql + Sync)> =
        vec![&query.after, &query.namespace_uid, &query.sequence, &limit];
    for (column, value) in &query.terms {
        values.push(value);
        sql.push_str(&format!(" AND {} = ${}", column.as_str(), values.len()));
    }
    sql.push_str(" ORDER BY sequence LIMIT $4");
    let found = snapshot.query(&sql, &values).await?;
    let links = found.iter().map(link).collect::<Result<_, _>>()?;
    Ok(query.page(links))
}

/// What is no JSON any more was written by somebody else; whoever verifies has to see it.
fn link(found: &tokio_postgres::Row) -> Result<Link, Failed> {
    let body: String = found.try_get(3)?;
    Ok(Link {
        sequence: found.try_get(0)?,
        previous: found.try_get(1)?,
        hash: found.try_get(2)?,
        entry: serde_json::from_str(&body).unwrap_or(Value::String(body)),
    })
}

pub async fn sign(session: &mut Session, checkpoint: &Checkpoint) -> Result<Position, Failed> {
    let mut turn = Turn::begin(session).await?;
    turn.execute(
        "INSERT INTO audit_checkpoints (sequence, at, hash, signature) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        &[
            &checkpoint.sequence,
            &checkpoint.at.as_millisecond(),
            &checkpoint.hash,
            &checkpoint.signature,
        ],
    )
    .await?;
    Ok(turn.commit().await?)
}

pub async fn checkpoints(
    mut snapshot: Snapshot<'_>,
    after: i64,
    limit: usize,
) -> Result<Vec<Checkpoint>, Failed> {
    let sql = "SELECT sequence, at, hash, signature FROM audit_checkpoints WHERE sequence > $1 ORDER BY sequence LIMIT $2";
    let found = snapshot.query(sql, &[&after, &read::as_sql(limit)]).await?;
    let checkpoint = |row: &tokio_postgres::Row| {
        Ok(Checkpoint {
            sequence: row.try_get(0)?,
            at: Timestamp::from_millisecond(row.try_get(1)?)?,
            hash: row.try_get(2)?,
            signature: row.try_get(3)?,
        })
    };
    found.iter().map(checkpoint).collect()
}

/// Takes the oldest stretches whose checkpoint is from before the age, but never what the newest checkpoint covers last: whoever finds nothing behind it knows that something is missing.
/// Whether there is more to take.
pub async fn forget(turn: &mut Turn<'_>, age: Duration, now: Timestamp) -> Result<bool, Failed> {
    let old = before_now(now, age);
    let found = turn
        .query(
            "SELECT max(sequence), count(*) FROM (
                 SELECT sequence FROM audit_checkpoints
                 WHERE at < $1 AND sequence < (SELECT max(sequence) FROM audit_checkpoints)
                     AND sequence >= (SELECT min(sequence) FROM audit_entries)
                 ORDER BY sequence LIMIT $2) AS stretches",
            &[&old, &STRETCHES],
        )
        .await?;
    let (until, stretches): (Option<i64>, i64) = match found.first() {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (None, 0),
    };
    let Some(until) = until else {
        return Ok(false);
    };
    let gone =
        "DELETE FROM audit_entries WHERE sequence <= $1 RETURNING $2::bigint + octet_length(body)";
    for entry in turn.query(gone, &[&until, &cost::ROW]).await? {
        turn.bytes -= entry.try_get::<_, i64>(0)?;
    }
    // Of those that nothing is left of, one a day is enough to be held against what somebody has kept.
    turn.execute(
        "DELETE FROM audit_checkpoints WHERE sequence < $1 AND sequence NOT IN
             (SELECT max(sequence) FROM audit_checkpoints WHERE sequence <= $1 GROUP BY at / $2)",
        &[&until, &DAY],
    )
    .await?;
    let silent = before_now(now, age.max(SOURCES));
    let forget = "DELETE FROM audit_sources WHERE told_at < $1";
    turn.execute(forget, &[&silent]).await?;
    Ok(stretches == STRETCHES)
}
