//! The store, if it can be opened. The API stands whether it can or not: a dead store costs data, never discovery.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use records::{Options, PostgresStore, Settings, SqliteStore, Store};
use serving::telemetry::chain;
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Time between attempts to open.
const RETRY: Duration = Duration::from_secs(2);

/// A place for the store, empty until it is open.
#[derive(Clone, Default)]
pub struct Slot {
    store: Arc<OnceLock<Arc<dyn Store>>>,
}

impl Slot {
    /// The store, or why there is no answer.
    pub fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        self.store
            .get()
            .cloned()
            .ok_or(Failure::Waiting("the store is"))
    }

    /// Puts a store in; the first one stays.
    pub fn fill(&self, store: Arc<dyn Store>) {
        // Only `open` fills it, once.
        let _ = self.store.set(store);
    }

    /// Opens the store, again and again until it can be opened.
    pub async fn open(self, keeping: Keeping, shutdown: CancellationToken) {
        let opening = async {
            loop {
                match keeping.open().await {
                    Ok(store) => break self.fill(store),
                    Err(e) => tracing::error!(error = chain(&e), "store is not available"),
                }
                tokio::time::sleep(RETRY).await;
            }
            tracing::info!("store is open");
        };
        shutdown.run_until_cancelled(opening).await;
    }
}

/// Where records are kept.
#[derive(Clone, Debug)]
pub enum Keeping {
    /// In SQLite, by one process.
    Folder(PathBuf),
    /// In PostgreSQL, by any number of them.
    Postgres(Settings),
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("the store cannot be opened")]
    Store(#[from] records::Error),
    #[error("opening the store came to no end")]
    Task(#[from] JoinError),
}

impl Keeping {
    async fn open(&self) -> Result<Arc<dyn Store>, OpenError> {
        let options = Options::default();
        match self.clone() {
            Self::Folder(folder) => {
                let open = move || SqliteStore::open(&folder, options, Timestamp::now());
                Ok(Arc::new(spawn_blocking(open).await??))
            }
            Self::Postgres(settings) => {
                let store = PostgresStore::open(settings, options, Timestamp::now()).await?;
                Ok(Arc::new(store))
            }
        }
    }
}
