//! A bounded number of connections for readers, each lent to one at a time and made again when it has ended.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Semaphore;

use super::session::{Connector, Session};
use crate::Error;

pub struct Readers {
    connector: Arc<Connector>,
    idle: Mutex<Vec<Session>>,
    permits: Semaphore,
}

impl Readers {
    pub fn new(connector: Arc<Connector>, count: usize) -> Self {
        Self {
            connector,
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(count),
        }
    }

    /// Runs a query on a connection of its own, waiting for one when all are lent. A connection on which a query came to no end is not used again.
    pub async fn read<T, E>(
        &self,
        step: &'static str,
        query: impl AsyncFnOnce(&mut Session) -> Result<T, E>,
    ) -> Result<T, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|e| Error::unavailable(step, e))?;
        let idle = self.idle().pop().filter(|session| !session.is_closed());
        let mut session = match idle {
            Some(session) => session,
            None => self.connector.connect().await?,
        };
        let answer = query(&mut session).await;
        self.idle().push(session);
        answer.map_err(|e| Error::unavailable(step, e))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle
            .lock()
            .expect("nothing panics while it holds the list")
    }
}
