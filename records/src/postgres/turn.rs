//! The turn of a writer, of which there is one at a time over all replicas: a transaction that holds the lock of the one row with the positions until it has committed. So the order of positions
//! is the order of commits, and whoever sees a position sees everything before it.

use tokio_postgres::{Error, Row, Statement, Transaction, types::ToSql};

use super::session::{Session, Statements};
use crate::Position;

/// Where commits are told of.
pub const CHANNEL: &str = "pilothouse_records";

/// A transaction that nobody else writes beside.
pub struct Turn<'a> {
    tx: Transaction<'a>,
    statements: &'a mut Statements,
    pub seq: i64,
    /// Removals up to here are forgotten.
    pub floor: i64,
    /// What rows, removals and output take, as `cost` counts it.
    pub bytes: i64,
    commits: i64,
}

impl<'a> Turn<'a> {
    /// Waits for the turns before it; what they committed is seen.
    pub async fn begin(session: &'a mut Session) -> Result<Self, Error> {
        let Session {
            client, statements, ..
        } = session;
        let lock = "SELECT seq, floor, bytes, commits FROM meta FOR UPDATE";
        let lock = statements.get(client, lock).await?;
        let tx = client.transaction().await?;
        let meta = tx.query_one(&lock, &[]).await?;
        Ok(Self {
            seq: meta.try_get(0)?,
            floor: meta.try_get(1)?,
            bytes: meta.try_get(2)?,
            commits: meta.try_get(3)?,
            tx,
            statements,
        })
    }

    /// The next position.
    pub fn next(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }

    pub async fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        self.statements.get(self.tx.client(), sql).await
    }

    pub async fn query(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.prepared(sql).await?;
        self.tx.query(&statement, values).await
    }

    pub async fn execute(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        let statement = self.prepared(sql).await?;
        self.tx.execute(&statement, values).await
    }

    /// The transaction, for what is more than one statement.
    pub const fn transaction(&self) -> &Transaction<'a> {
        &self.tx
    }

    /// Makes what was done durable and tells every replica; where that leaves the store.
    pub async fn commit(mut self) -> Result<Position, Error> {
        let (seq, floor, bytes) = (self.seq, self.floor, self.bytes);
        let save = format!(
            "WITH saved AS (UPDATE meta SET seq = $1, floor = $2, bytes = $3, commits = commits + 1)
             SELECT pg_notify('{CHANNEL}', '')"
        );
        self.execute(&save, &[&seq, &floor, &bytes]).await?;
        self.tx.commit().await?;
        Ok(Position {
            seq,
            commits: self.commits.unsigned_abs() + 1,
        })
    }
}
