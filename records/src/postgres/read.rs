//! Queries. Each reads one snapshot, so that rows and the position that is told with them belong together. A name with a NUL has no row: none such is taken in.

use std::collections::HashSet;

use crds::execution::Execution;
use jiff::Timestamp;
use tokio_postgres::{IsolationLevel, Transaction, types::ToSql};

use super::{
    failed::Failed,
    session::{Session, Statements},
};
use crate::{Changes, Column, Cursor, MAX_CHUNK_BYTES, Page, Piece, Query, Row, Selector};

/// Columns that [`row`] reads, in its order; a live row is not removed.
const LIVE: &str = "name, created_seq, seq, created_at, false, body";
/// Chunks read at once.
const CHUNKS: i32 = 8;

/// Positions that can be asked for.
pub struct Kept {
    pub oldest: i64,
    pub newest: i64,
}

/// The present, which stays as it is while it is read.
pub struct Snapshot<'a> {
    tx: Transaction<'a>,
    statements: &'a mut Statements,
}

impl<'a> Snapshot<'a> {
    pub async fn take(session: &'a mut Session) -> Result<Self, Failed> {
        let Session {
            client, statements, ..
        } = session;
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true);
        Ok(Self {
            tx: transaction.start().await?,
            statements,
        })
    }

    pub async fn query(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Failed> {
        let statement = self.statements.get(self.tx.client(), sql).await?;
        Ok(self.tx.query(&statement, values).await?)
    }

    async fn kept(&mut self) -> Result<Kept, Failed> {
        let statement = self
            .statements
            .get(self.tx.client(), "SELECT floor, seq FROM meta")
            .await?;
        let meta = self.tx.query_one(&statement, &[]).await?;
        Ok(Kept {
            oldest: meta.try_get(0)?,
            newest: meta.try_get(1)?,
        })
    }

    pub async fn list(mut self, query: &Query) -> Result<Page, Failed> {
        let seq = self.kept().await?.newest;
        // One row more than asked tells whether there is a next page.
        let wanted = query.limit.saturating_add(1);
        let mut rows = Vec::new();
        // Asked in the same snapshot: a namespace that gets its first row meanwhile is not passed over.
        let with_rows = self.namespaces("executions").await?;
        let asked = query.namespaces.iter().enumerate();
        for (index, uid) in asked.filter(|(_, uid)| with_rows.contains(*uid)) {
            let after = match &query.after {
                Some(cursor) if index == 0 && cursor.namespace_uid == *uid => cursor.name.as_str(),
                _ => "",
            };
            let left = wanted - rows.len();
            let found = self.in_namespace(uid, &query.selector, after, left);
            rows.extend(found.await?);
            if rows.len() == wanted {
                break;
            }
        }
        let more = rows.len() > query.limit;
        rows.truncate(query.limit);
        let next = rows.last().filter(|_| more).map(|last: &Row| Cursor {
            namespace_uid: last.execution.namespace_uid.clone(),
            name: last.name.clone(),
        });
        Ok(Page { rows, next, seq })
    }

    async fn in_namespace(
        &mut self,
        uid: &str,
        selector: &Selector,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Row>, Failed> {
        let after = before_nul(after);
        let limit = as_sql(limit);
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&uid, &after, &limit];
        let mut sql =
            format!("SELECT {LIVE} FROM executions WHERE namespace_uid = $1 AND name > $2");
        // Names begin with the run's, so a pinned run is a range of the index.
        let run = selector
            .pinned(Column::Run)
            .filter(|run| possible(run))
            .map(|run| (format!("{run}."), format!("{run}/")));
        if let Some((from, to)) = &run {
            sql.push_str(" AND name >= $4 AND name < $5");
            values.extend([from as &(dyn ToSql + Sync), to]);
        }
        let terms: Vec<(&str, &str, Vec<&str>)> = selector.0.iter().map(as_condition).collect();
        for (column, not, among) in &terms {
            values.push(among);
            let n = values.len();
            sql.push_str(&format!(" AND {not} {column} = ANY (${n})"));
        }
        sql.push_str(" ORDER BY name LIMIT $3");
        self.query(&sql, &values).await?.iter().map(row).collect()
    }

    pub async fn get(mut self, namespace_uid: &str, name: &str) -> Result<Option<Row>, Failed> {
        if !possible(name) || !possible(namespace_uid) {
            return Ok(None);
        }
        let sql = format!("SELECT {LIVE} FROM executions WHERE namespace_uid = $1 AND name = $2");
        let found = self.query(&sql, &[&namespace_uid, &name]).await?;
        found.first().map(row).transpose()
    }

    pub async fn changes(
        mut self,
        after: i64,
        namespace_uid: Option<&str>,
        limit: usize,
    ) -> Result<Result<Changes, Kept>, Failed> {
        let kept = self.kept().await?;
        if after < kept.oldest || after > kept.newest {
            return Ok(Err(kept));
        }
        let of_namespace =
            "seq > $1 AND ($2::text IS NULL OR namespace_uid = $2) ORDER BY seq LIMIT $3";
        let sql = format!(
            "(SELECT {LIVE} FROM executions WHERE {of_namespace})
             UNION ALL
             (SELECT name, created_seq, seq, created_at, true, body FROM removals WHERE {of_namespace})
             ORDER BY seq LIMIT $3"
        );
        let values: [&(dyn ToSql + Sync); 3] = [&after, &namespace_uid, &as_sql(limit)];
        let found = self.query(&sql, &values).await?;
        let rows: Vec<Row> = found.iter().map(row).collect::<Result<_, _>>()?;
        let upto = match rows.last() {
            Some(last) if rows.len() == limit => last.seq,
            _ => kept.newest,
        };
        Ok(Ok(Changes { rows, upto }))
    }

    pub async fn log(self, digest: &str, offset: u64, bytes: usize) -> Result<Vec<Piece>, Failed> {
        let Ok(digest) = hex::decode(digest) else {
            return Ok(Vec::new());
        };
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        // Chunks are bounded, so the one that covers the offset starts at most that much earlier.
        let earliest = offset.saturating_sub(as_sql(MAX_CHUNK_BYTES));
        let sql = "SELECT start, data FROM logs
             WHERE digest = $1 AND start > $2 AND start + octet_length(data) > $3 ORDER BY start";
        let statement = self.statements.get(self.tx.client(), sql).await?;
        let portal = self
            .tx
            .bind(&statement, &[&digest, &earliest, &offset])
            .await?;
        let mut pieces = Vec::new();
        let mut read = 0;
        loop {
            let found = self.tx.query_portal(&portal, CHUNKS).await?;
            for chunk in &found {
                let data: Vec<u8> = chunk.try_get(1)?;
                read += data.len();
                pieces.push(Piece {
                    offset: chunk.try_get::<_, i64>(0)?.unsigned_abs(),
                    data,
                });
                if read >= bytes {
                    return Ok(pieces);
                }
            }
            if found.is_empty() {
                return Ok(pieces);
            }
        }
    }

    pub async fn run(mut self, run_uid: &str) -> Result<Vec<Execution>, Failed> {
        if !possible(run_uid) {
            return Ok(Vec::new());
        }
        let sql = "SELECT body FROM executions WHERE run_uid = $1 ORDER BY seq";
        let found = self.query(sql, &[&run_uid]).await?;
        found
            .iter()
            .map(|row| Ok(serde_json::from_str(row.try_get(0)?)?))
            .collect()
    }

    /// UIDs of namespaces that have rows of a table; steps from one to the next along the index instead of reading every row.
    pub async fn namespaces(&mut self, table: &str) -> Result<HashSet<String>, Failed> {
        let sql = format!(
            "WITH RECURSIVE found (uid) AS (
                 SELECT min(namespace_uid) FROM {table}
                 UNION ALL
                 SELECT (SELECT min(namespace_uid) FROM {table} WHERE namespace_uid > uid)
                 FROM found WHERE uid IS NOT NULL
             )
             SELECT uid FROM found WHERE uid IS NOT NULL"
        );
        let found = self.query(&sql, &[]).await?;
        found.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

/// What is before a NUL is followed by the same names.
pub fn before_nul(name: &str) -> &str {
    name.split('\0').next().unwrap_or_default()
}

/// Whether a row may have this name.
pub fn possible(name: &str) -> bool {
    !name.contains('\0')
}

/// A term as SQL: its column, a negation, and the values that a row may have.
fn as_condition(term: &crate::Term) -> (&'static str, &'static str, Vec<&str>) {
    let not = if term.among { "" } else { "NOT" };
    let values = term.values.iter().map(String::as_str);
    (
        term.column.as_str(),
        not,
        values.filter(|value| possible(value)).collect(),
    )
}

fn row(found: &tokio_postgres::Row) -> Result<Row, Failed> {
    Ok(Row {
        name: found.try_get(0)?,
        created: found.try_get(1)?,
        seq: found.try_get(2)?,
        created_at: Timestamp::from_millisecond(found.try_get(3)?)?,
        removed: found.try_get(4)?,
        execution: serde_json::from_str(found.try_get(5)?)?,
    })
}

pub fn as_sql(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
