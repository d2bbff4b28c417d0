//! Retention: the oldest changes go first, by age and then by size, never young ones and never those of a run that is not over. A removal is a change
//! with a position of its own, visible to watches for a while; forgetting removals moves the floor below which a watch has to list again. Replicas that sweep at once take turns.

use std::time::Duration;

use jiff::Timestamp;

use super::{archive, audit, cost, failed::Failed, turn::Turn};
use crate::{Retention, Swept};

/// Rows and bytes taken in one sweep, so that writers wait only for a moment.
const PORTION: i64 = 2_000;
const PORTION_BYTES: i64 = 64 << 20;
/// Rows that changed within this time stay: whoever listed the live runs may not have heard of theirs yet.
const YOUNG: Duration = Duration::from_hours(1);
/// Once over its size the store shrinks to this share of it, so that it does not sweep at every write.
const SHRINK_TO_PERCENT: u64 = 90;

pub async fn sweep(
    turn: &mut Turn<'_>,
    retention: &Retention,
    now: Timestamp,
) -> Result<Swept, Failed> {
    forget_removals(turn, before_now(now, retention.removals)).await?;
    if size(turn) > retention.size {
        // What was taken stands in the removals still; counted again, it would cost as much of what is left.
        forget_removals(turn, i64::MAX).await?;
    }
    let old = before_now(now, retention.age.max(YOUNG));
    let wanted = match size(turn) {
        before if before > retention.size => before - retention.size / 100 * SHRINK_TO_PERCENT,
        _ => 0,
    };
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    let mut swept = Swept::default();
    let young = before_now(now, YOUNG);
    let (mut freed, mut gone, mut chosen) = (0, old, Vec::new());
    for candidate in candidates(turn, retention, young).await? {
        if candidate.changed_at >= old && freed >= wanted {
            break;
        }
        freed += candidate.bytes;
        gone = gone.max(candidate.changed_at);
        chosen.push(candidate);
        swept.rows += 1;
        swept.more = swept.rows == PORTION.unsigned_abs() || freed >= PORTION_BYTES;
        if swept.more {
            break;
        }
    }
    remove(turn, &chosen, now).await?;
    orphans(turn, old).await?;
    // Archives go with the rows of their age, and all that are not young where no rows are left that would make room.
    let all = freed < wanted && !swept.more;
    let forgotten = archive::forget(turn, if all { young } else { gone }, PORTION).await?;
    swept.more |= forgotten == PORTION.unsigned_abs();
    swept.more |= audit::forget(turn, retention.audit.max(YOUNG), now).await?;
    swept.size = size(turn);
    Ok(swept)
}

fn size(turn: &Turn<'_>) -> u64 {
    turn.bytes.max(0).unsigned_abs()
}

struct Candidate {
    run_uid: String,
    digest: Vec<u8>,
    changed_at: i64,
    /// What the row and its output take.
    bytes: i64,
}

async fn candidates(
    turn: &mut Turn<'_>,
    retention: &Retention,
    young: i64,
) -> Result<Vec<Candidate>, Failed> {
    let protected: Vec<&str> = retention
        .protected_runs
        .iter()
        .filter(|run| !run.contains('\0'))
        .map(String::as_str)
        .collect();
    let (row, chunk) = (cost::ROW, cost::CHUNK);
    let found = turn
        .query(
            "SELECT e.run_uid, e.digest, e.changed_at, $4::bigint + octet_length(e.body)
                 + (SELECT coalesce(sum($5::bigint + octet_length(l.data)), 0)::bigint FROM logs l WHERE l.digest = e.digest)
             FROM executions e WHERE e.changed_at < $1 AND e.run_uid <> ALL ($2) ORDER BY e.seq LIMIT $3",
            &[&young, &protected, &PORTION, &row, &chunk],
        )
        .await?;
    let mut candidates = Vec::new();
    for row in found {
        candidates.push(Candidate {
            run_uid: row.try_get(0)?,
            digest: row.try_get(1)?,
            changed_at: row.try_get(2)?,
            bytes: row.try_get(3)?,
        });
    }
    Ok(candidates)
}

async fn remove(turn: &mut Turn<'_>, chosen: &[Candidate], now: Timestamp) -> Result<(), Failed> {
    if chosen.is_empty() {
        return Ok(());
    }
    let runs: Vec<&str> = chosen.iter().map(|c| c.run_uid.as_str()).collect();
    let digests: Vec<&[u8]> = chosen.iter().map(|c| c.digest.as_slice()).collect();
    let seqs: Vec<i64> = chosen.iter().map(|_| turn.next()).collect();
    let now = now.as_millisecond();
    let told = turn
        .query(
        "INSERT INTO removals (seq, created_seq, created_at, removed_at, namespace_uid, name, body)
         SELECT taken.seq, e.created_seq, e.created_at, $4, e.namespace_uid, e.name, e.body
         FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS taken (run_uid, digest, seq)
         JOIN executions e ON e.run_uid = taken.run_uid AND e.digest = taken.digest
         RETURNING $5::bigint + octet_length(body)",
        &[&runs, &digests, &seqs, &now, &cost::REMOVAL],
    ).await?;
    for removal in told {
        turn.bytes += removal.try_get::<_, i64>(0)?;
    }
    let delete = "DELETE FROM logs USING unnest($1::bytea[]) AS taken (digest) WHERE logs.digest = taken.digest";
    turn.execute(delete, &[&digests]).await?;
    let delete =
        "DELETE FROM executions e USING unnest($1::text[], $2::bytea[]) AS taken (run_uid, digest)
                  WHERE e.run_uid = taken.run_uid AND e.digest = taken.digest";
    turn.execute(delete, &[&runs, &digests]).await?;
    turn.bytes -= chosen.iter().map(|c| c.bytes).sum::<i64>();
    Ok(())
}

/// Output whose row never came is kept as long as any other. That of a program from before does not know its run, and goes with its row only.
async fn orphans(turn: &mut Turn<'_>, old: i64) -> Result<(), Failed> {
    let gone = turn
        .query(
            "DELETE FROM logs WHERE id IN (
                 SELECT id FROM (SELECT id, run_uid, digest, added_at FROM logs ORDER BY id LIMIT $2) AS oldest
                 WHERE added_at < $1 AND run_uid IS NOT NULL AND NOT EXISTS (
                     SELECT 1 FROM executions e WHERE e.run_uid = oldest.run_uid AND e.digest = oldest.digest))
             RETURNING $3::bigint + octet_length(data)",
            &[&old, &PORTION, &cost::CHUNK],
        )
        .await?;
    for chunk in gone {
        turn.bytes -= chunk.try_get::<_, i64>(0)?;
    }
    Ok(())
}

/// Forgets removals from before a time; a watch from before those has to list again.
pub async fn forget_removals(turn: &mut Turn<'_>, old: i64) -> Result<(), Failed> {
    let last = "SELECT max(seq) FROM removals WHERE removed_at < $1";
    let found = turn.query(last, &[&old]).await?;
    let last: Option<i64> = match found.first() {
        Some(row) => row.try_get(0)?,
        None => None,
    };
    if let Some(seq) = last {
        let forget =
            "DELETE FROM removals WHERE seq <= $1 RETURNING $2::bigint + octet_length(body)";
        for gone in turn.query(forget, &[&seq, &cost::REMOVAL]).await? {
            turn.bytes -= gone.try_get::<_, i64>(0)?;
        }
        turn.floor = seq;
    }
    Ok(())
}

pub fn before_now(now: Timestamp, age: Duration) -> i64 {
    now.as_millisecond()
        .saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}
