//! Queries. Each reads one snapshot, so that rows and the position that is told with them belong together.

use crds::execution::Execution;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, ToSql, params, params_from_iter, types::Type};

use crate::{Changes, Column, Cursor, MAX_CHUNK_BYTES, Page, Piece, Query, Row, Selector};

/// Columns that [`row`] reads, in its order; a live row is not removed.
const LIVE: &str = "name, created_seq, seq, created_at, 0, body";

/// Positions that can be asked for.
pub struct Kept {
    pub oldest: i64,
    pub newest: i64,
}

pub fn position(connection: &Connection) -> rusqlite::Result<i64> {
    meta(connection, "seq")
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_one([name], |r| r.get(0))
}

pub fn list(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    let snapshot = connection.unchecked_transaction()?;
    let seq = position(&snapshot)?;
    // One row more than asked tells whether there is a next page.
    let wanted = query.limit.saturating_add(1);
    let mut rows = Vec::new();
    // Asked in the same snapshot: a namespace that gets its first row meanwhile is not passed over.
    let with_rows = namespaces(&snapshot, "executions")?;
    let asked = query.namespaces.iter().enumerate();
    for (index, uid) in asked.filter(|(_, uid)| with_rows.binary_search(uid).is_ok()) {
        let after = match &query.after {
            Some(cursor) if index == 0 && cursor.namespace_uid == *uid => cursor.name.as_str(),
            _ => "",
        };
        rows.extend(in_namespace(
            &snapshot,
            uid,
            &query.selector,
            after,
            wanted - rows.len(),
        )?);
        if rows.len() == wanted {
            break;
        }
    }
    let more = rows.len() > query.limit;
    rows.truncate(query.limit);
    let next = rows.last().filter(|_| more).map(|last| Cursor {
        namespace_uid: last.execution.namespace_uid.clone(),
        name: last.name.clone(),
    });
    Ok(Page { rows, next, seq })
}

fn in_namespace(
    connection: &Connection,
    uid: &str,
    selector: &Selector,
    after: &str,
    limit: usize,
) -> rusqlite::Result<Vec<Row>> {
    let mut values: Vec<&dyn ToSql> = vec![&uid, &after];
    let mut sql = format!("SELECT {LIVE} FROM executions WHERE namespace_uid = ? AND name > ?");
    // Names begin with the run's, so a pinned run is a range of the index.
    let run = selector
        .pinned(Column::Run)
        .map(|run| (format!("{run}."), format!("{run}/")));
    if let Some((from, to)) = &run {
        sql.push_str(" AND name >= ? AND name < ?");
        values.extend([from as &dyn ToSql, to]);
    }
    for term in &selector.0 {
        let marks = vec!["?"; term.values.len()].join(", ");
        let not = if term.among { "" } else { " NOT" };
        let name = term.column.as_str();
        for part in [" AND ", name, not, " IN (", &marks, ")"] {
            sql.push_str(part);
        }
        values.extend(term.values.iter().map(|v| v as &dyn ToSql));
    }
    let limit = as_sql(limit);
    sql.push_str(" ORDER BY name LIMIT ?");
    values.push(&limit);
    connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), row)?
        .collect()
}

pub fn get(
    connection: &Connection,
    namespace_uid: &str,
    name: &str,
) -> rusqlite::Result<Option<Row>> {
    connection
        .prepare_cached(&format!(
            "SELECT {LIVE} FROM executions WHERE namespace_uid = ?1 AND name = ?2"
        ))?
        .query_row([namespace_uid, name], row)
        .optional()
}

pub fn changes(
    connection: &Connection,
    after: i64,
    namespace_uid: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Result<Changes, Kept>> {
    let snapshot = connection.unchecked_transaction()?;
    let kept = Kept {
        oldest: meta(&snapshot, "floor")?,
        newest: position(&snapshot)?,
    };
    if after < kept.oldest || after > kept.newest {
        return Ok(Err(kept));
    }
    let rows: Vec<Row> = snapshot
        .prepare_cached(&format!(
            "SELECT {LIVE} FROM executions WHERE seq > ?1 AND (?2 IS NULL OR namespace_uid = ?2)
             UNION ALL
             SELECT name, created_seq, seq, created_at, 1, body FROM removals
             WHERE seq > ?1 AND (?2 IS NULL OR namespace_uid = ?2)
             ORDER BY seq LIMIT ?3"
        ))?
        .query_map(params![after, namespace_uid, as_sql(limit)], row)?
        .collect::<rusqlite::Result<_>>()?;
    let upto = match rows.last() {
        Some(last) if rows.len() == limit => last.seq,
        _ => kept.newest,
    };
    Ok(Ok(Changes { rows, upto }))
}

pub fn log(
    connection: &Connection,
    digest: &str,
    offset: u64,
    bytes: usize,
) -> rusqlite::Result<Vec<Piece>> {
    let Ok(digest) = hex::decode(digest) else {
        return Ok(Vec::new());
    };
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    // Chunks are bounded, so the one that covers the offset starts at most that much earlier.
    let earliest = offset.saturating_sub(as_sql(MAX_CHUNK_BYTES));
    let mut statement = connection.prepare_cached(
        "SELECT start, data FROM logs
         WHERE digest = ?1 AND start > ?2 AND start + length(data) > ?3 ORDER BY start",
    )?;
    let mut found = statement.query(params![digest, earliest, offset])?;
    let mut pieces = Vec::new();
    let mut read = 0;
    while let Some(next) = found.next()? {
        let data: Vec<u8> = next.get(1)?;
        read += data.len();
        pieces.push(Piece {
            offset: next.get::<_, i64>(0)?.unsigned_abs(),
            data,
        });
        if read >= bytes {
            break;
        }
    }
    Ok(pieces)
}

pub fn run(connection: &Connection, run_uid: &str) -> rusqlite::Result<Vec<Execution>> {
    connection
        .prepare_cached("SELECT body FROM executions WHERE run_uid = ?1 ORDER BY seq")?
        .query_map([run_uid], |r| execution(&r.get::<_, String>(0)?, 0))?
        .collect()
}

/// UIDs of namespaces that have rows of a table, in order; steps from one to the next along the index instead of reading every row.
pub fn namespaces(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(&format!(
            "WITH RECURSIVE found(uid) AS (
                 SELECT min(namespace_uid) FROM {table}
                 UNION ALL
                 SELECT (SELECT min(namespace_uid) FROM {table} WHERE namespace_uid > uid)
                 FROM found WHERE uid IS NOT NULL
             )
             SELECT uid FROM found WHERE uid IS NOT NULL"
        ))?
        .query_map([], |r| r.get(0))?
        .collect()
}

fn row(found: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let created_at = Timestamp::from_millisecond(found.get(3)?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(3, Type::Integer, Box::new(e)))?;
    Ok(Row {
        name: found.get(0)?,
        created: found.get(1)?,
        seq: found.get(2)?,
        created_at,
        removed: found.get(4)?,
        execution: execution(&found.get::<_, String>(5)?, 5)?,
    })
}

pub fn execution(body: &str, column: usize) -> rusqlite::Result<Execution> {
    serde_json::from_str(body)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

fn as_sql(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
