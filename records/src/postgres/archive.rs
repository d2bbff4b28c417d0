//! Objects that have finished: kept as they were told of last, listed by name, and forgotten with the rows of their age.

use jiff::Timestamp;

use super::{
    cost,
    failed::Failed,
    read::{self, Snapshot},
    turn::Turn,
};
use crate::{ArchivePage, ArchiveQuery, ArchiveRow, ready::ReadyArchived};

/// Keeps an object; one that is told of again is kept as it is then.
pub async fn keep(
    turn: &mut Turn<'_>,
    ready: &ReadyArchived,
    now: Timestamp,
) -> Result<(), Failed> {
    let archived = &ready.archived;
    let known =
        "SELECT octet_length(body)::bigint FROM archives WHERE namespace_uid = $1 AND name = $2";
    let known = turn
        .query(known, &[&archived.namespace_uid, &ready.name])
        .await?;
    turn.bytes += match known.first() {
        Some(known) => cost::of(0, ready.body.len()) - known.try_get::<_, i64>(0)?,
        None => cost::of(cost::ROW, ready.body.len()),
    };
    turn.execute(
        "INSERT INTO archives (namespace_uid, name, kind, object, archived_at, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (namespace_uid, name) DO UPDATE SET archived_at = excluded.archived_at, body = excluded.body",
        &[
            &archived.namespace_uid,
            &ready.name,
            &archived.kind,
            &archived.name,
            &now.as_millisecond(),
            &ready.body,
        ],
    )
    .await?;
    Ok(())
}

pub async fn list(mut snapshot: Snapshot<'_>, query: &ArchiveQuery) -> Result<ArchivePage, Failed> {
    let asked = [&query.name, &query.kind, &query.object];
    if asked
        .into_iter()
        .flatten()
        .any(|text| !read::possible(text))
    {
        return Ok(ArchivePage::default());
    }
    let with_rows = snapshot.namespaces("archives").await?;
    let namespaces = query.namespaces.iter().enumerate();
    let mut found = Vec::new();
    for (place, uid) in namespaces.filter(|(_, uid)| with_rows.contains(*uid)) {
        // One more than asked tells whether there is a next page.
        let left = query.limit + 1 - found.len();
        found.extend(in_namespace(&mut snapshot, query, (place, uid), left).await?);
        if found.len() > query.limit {
            break;
        }
    }
    Ok(query.page(found))
}

async fn in_namespace(
    snapshot: &mut Snapshot<'_>,
    query: &ArchiveQuery,
    (place, uid): (usize, &str),
    limit: usize,
) -> Result<Vec<ArchiveRow>, Failed> {
    let (from, to) = query.range();
    let after = read::before_nul(query.after(place));
    let found = snapshot
        .query(
            "SELECT archived_at, body FROM archives
             WHERE namespace_uid = $1 AND name > $2 AND name >= $3 AND name < $4
                 AND ($5::text IS NULL OR name = $5) AND ($6::text IS NULL OR kind = $6) AND ($7::text IS NULL OR object = $7)
             ORDER BY name LIMIT $8",
            &[&uid, &after, &from, &to, &query.name, &query.kind, &query.object, &read::as_sql(limit)],
        )
        .await?;
    found.iter().map(row).collect()
}

fn row(found: &tokio_postgres::Row) -> Result<ArchiveRow, Failed> {
    Ok(ArchiveRow {
        archived_at: Timestamp::from_millisecond(found.try_get(0)?)?,
        archived: serde_json::from_str(found.try_get(1)?)?,
    })
}

/// Forgets the oldest of those that are from before a time; how many there were.
pub async fn forget(turn: &mut Turn<'_>, old: i64, most: i64) -> Result<u64, Failed> {
    let gone = turn
        .query(
            "DELETE FROM archives WHERE (namespace_uid, name) IN
                 (SELECT namespace_uid, name FROM archives WHERE archived_at < $1 ORDER BY archived_at LIMIT $2)
             RETURNING $3::bigint + octet_length(body)",
            &[&old, &most, &cost::ROW],
        )
        .await?;
    for archived in &gone {
        turn.bytes -= archived.try_get::<_, i64>(0)?;
    }
    Ok(gone.len() as u64)
}
