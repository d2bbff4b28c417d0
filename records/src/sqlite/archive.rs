//! Objects that have finished: kept as they were told of last, listed by name, and forgotten with the rows of their age.

use jiff::Timestamp;
use rusqlite::{Connection, params, types::Type};

use super::read;
use crate::{ArchivePage, ArchiveQuery, ArchiveRow, ready::ReadyArchived};

/// Keeps an object; one that is told of again is kept as it is then.
pub fn keep(tx: &Connection, ready: &ReadyArchived, now: Timestamp) -> rusqlite::Result<()> {
    let archived = &ready.archived;
    tx.prepare_cached(
        "INSERT INTO archives (namespace_uid, name, kind, object, archived_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (namespace_uid, name) DO UPDATE SET archived_at = excluded.archived_at, body = excluded.body",
    )?
    .execute(params![
        archived.namespace_uid,
        ready.name,
        archived.kind,
        archived.name,
        now.as_millisecond(),
        ready.body
    ])?;
    Ok(())
}

pub fn list(connection: &Connection, query: &ArchiveQuery) -> rusqlite::Result<ArchivePage> {
    let snapshot = connection.unchecked_transaction()?;
    let with_rows = read::namespaces(&snapshot, "archives")?;
    let asked = query.namespaces.iter().enumerate();
    let mut found = Vec::new();
    for (place, uid) in asked.filter(|(_, uid)| with_rows.binary_search(uid).is_ok()) {
        // One more than asked tells whether there is a next page.
        let left = query.limit + 1 - found.len();
        found.extend(in_namespace(&snapshot, query, (place, uid), left)?);
        if found.len() > query.limit {
            break;
        }
    }
    Ok(query.page(found))
}

fn in_namespace(
    connection: &Connection,
    query: &ArchiveQuery,
    (place, uid): (usize, &str),
    limit: usize,
) -> rusqlite::Result<Vec<ArchiveRow>> {
    let (from, to) = query.range();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT archived_at, body FROM archives
             WHERE namespace_uid = ?1 AND name > ?2 AND name >= ?3 AND name < ?4
                 AND (?5 IS NULL OR name = ?5) AND (?6 IS NULL OR kind = ?6) AND (?7 IS NULL OR object = ?7)
             ORDER BY name LIMIT ?8",
        )?
        .query_map(
            params![uid, query.after(place), from, to, query.name, query.kind, query.object, limit],
            row,
        )?
        .collect()
}

fn row(found: &rusqlite::Row<'_>) -> rusqlite::Result<ArchiveRow> {
    let unread = |column, kind| move |e| rusqlite::Error::FromSqlConversionFailure(column, kind, e);
    let archived_at = Timestamp::from_millisecond(found.get(0)?);
    let archived = serde_json::from_str(&found.get::<_, String>(1)?);
    Ok(ArchiveRow {
        archived_at: archived_at.map_err(|e| unread(0, Type::Integer)(Box::new(e)))?,
        archived: archived.map_err(|e| unread(1, Type::Text)(Box::new(e)))?,
    })
}

/// Forgets the oldest of those that are from before a time; how many there were.
pub fn forget(tx: &Connection, old: i64, most: i64) -> rusqlite::Result<u64> {
    let gone = tx
        .prepare_cached(
            "DELETE FROM archives WHERE id IN
             (SELECT id FROM archives WHERE archived_at < ?1 ORDER BY archived_at LIMIT ?2)",
        )?
        .execute([old, most])?;
    Ok(gone as u64)
}
