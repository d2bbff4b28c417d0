//! The store, if it can be opened. The API stands whether it can or not: a dead store costs data, never discovery.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use records::{Options, SqliteStore, Store};
use serving::telemetry::chain;
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

    /// Opens the folder, again and again until it can be opened.
    pub async fn open(self, folder: PathBuf, shutdown: CancellationToken) {
        let opening = async {
            loop {
                let folder = folder.clone();
                let open = move || SqliteStore::open(&folder, Options::default(), Timestamp::now());
                match tokio::task::spawn_blocking(open).await {
                    Ok(Ok(store)) => break self.fill(Arc::new(store)),
                    Ok(Err(e)) => tracing::error!(error = chain(&e), "store is not available"),
                    Err(e) => tracing::error!(error = chain(&e), "store is not available"),
                }
                tokio::time::sleep(RETRY).await;
            }
            tracing::info!("store is open");
        };
        shutdown.run_until_cancelled(opening).await;
    }
}
