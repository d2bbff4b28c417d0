//! What is heard of a kind: all objects of it, and then every change, until the token is cancelled.

use std::{fmt::Debug, pin::pin};

use futures::StreamExt as _;
use kube::{
    Api, Client, Resource,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use serving::telemetry::chain;
use tokio_util::sync::CancellationToken;

/// What is new; an object that cannot be read is heard of too, since nobody knows what it says.
pub type News<K> = Event<DeserializeGuard<K>>;

/// Hears of every object of the cluster.
pub fn follow<K>(
    client: &Client,
    shutdown: &CancellationToken,
    mut hear: impl FnMut(News<K>) + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let objects = Api::<DeserializeGuard<K>>::all(client.clone());
    let events = watcher(objects, Config::default()).default_backoff();
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(async move {
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(news) => hear(news),
                Err(e) => {
                    let kind = K::kind(&());
                    tracing::warn!(%kind, error = chain(&e), "objects are not readable");
                }
            }
        }
    }));
}
