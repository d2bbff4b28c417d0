//! A fixed number of read-only connections, each lent to one blocking task at a time.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

pub struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub fn open(file: &Path, count: usize) -> rusqlite::Result<Self> {
        let idle = (0..count)
            .map(|_| reader(file))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Self {
            idle: Mutex::new(idle),
            permits: Arc::new(Semaphore::new(count)),
        })
    }

    /// Runs a query on a connection of its own, waiting for one when all are lent.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        step: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|e| Error::unavailable(step, e))?;
        // The loan moves into the task: a caller that goes away must not free a connection that is still at work.
        let loan = self.lend(permit);
        tokio::task::spawn_blocking(move || query(loan.connection()))
            .await
            .map_err(|e| Error::unavailable(step, e))?
            .map_err(|e| Error::unavailable(step, e))
    }

    fn lend(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Loan {
        let connection = self.idle().pop();
        Loan {
            connection,
            readers: Arc::clone(self),
            _permit: permit,
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle
            .lock()
            .expect("nothing panics while it holds the list")
    }
}

/// A connection that goes back to the others when its task ends, however it ends.
struct Loan {
    connection: Option<Connection>,
    readers: Arc<Readers>,
    _permit: OwnedSemaphorePermit,
}

impl Loan {
    fn connection(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("there are as many permits as connections")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.readers.idle().push(connection);
        }
    }
}

fn reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.execute_batch(
        "PRAGMA busy_timeout = 5000; PRAGMA cache_size = -4000; PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}
