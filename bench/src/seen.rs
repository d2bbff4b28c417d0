//! What somebody sees who watches objects of one kind from now on.

use std::{
    collections::HashMap,
    fmt::Debug,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::Result;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// When each name was first told of, and whether it is over.
type Names = HashMap<String, (Timestamp, bool)>;

pub struct Seen {
    names: Arc<Mutex<Names>>,
    watch: AbortHandle,
}

impl Seen {
    /// Watches all namespaces; `told` says as what an object counts, and whether it has come to its end.
    pub fn of<K>(
        client: &Client,
        told: impl Fn(&K) -> Option<(String, bool)> + Send + 'static,
    ) -> Self
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let names = Arc::new(Mutex::new(Names::new()));
        let (written, api) = (names.clone(), Api::<K>::all(client.clone()));
        let watch = tokio::spawn(async move {
            let changes = watcher(api, watcher::Config::default()).default_backoff();
            let mut changes = pin!(changes.applied_objects());
            while let Some(told_of) = changes.next().await {
                // It is watched again from where the watch broke off.
                let Ok(object) = told_of else { continue };
                let now = Timestamp::now();
                if let Some((name, over)) = told(&object) {
                    let mut names = written.lock().expect("no holder panics");
                    names.entry(name).or_insert((now, false)).1 |= over;
                }
            }
        });
        Self {
            names,
            watch: watch.abort_handle(),
        }
    }

    /// Waits until so many have been told of, or are over, and returns when each was first told of.
    pub async fn until(
        &self,
        wanted: usize,
        over: bool,
        patience: Duration,
    ) -> Result<HashMap<String, Timestamp>> {
        let enough = async {
            loop {
                let names = self.names.lock().expect("no holder panics").clone();
                if names.values().filter(|(_, o)| *o || !over).count() >= wanted {
                    return names
                        .into_iter()
                        .map(|(name, (at, _))| (name, at))
                        .collect();
                }
                sleep(BETWEEN_LOOKS).await;
            }
        };
        let waited = timeout(patience, enough).await;
        waited.map_err(|_| {
            let names = self.names.lock().expect("no holder panics");
            let ended = names.values().filter(|(_, over)| *over).count();
            format!(
                "of {wanted} only {} were told of, and {ended} ended",
                names.len()
            )
            .into()
        })
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
