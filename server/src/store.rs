//! The store's parts: what its listeners answer from, and what runs beside them.

use std::sync::Arc;

use axum::Router;
use kube::Client;
use prometheus_client::registry::Registry;
use serving::{Events, Review};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Api},
    failure::unknown,
    ingest::{self, Ingest},
    metrics::Metrics,
    namespaces::{self, Namespaces},
    options::Options,
    retention::{self, Limits},
    signing::{self, Keys},
    slot::{Keeping, Slot},
    volume::{self, Volume},
};

/// All of them.
pub struct Store {
    client: Client,
    slot: Slot,
    metrics: Metrics,
    volume: Volume,
    keys: Keys,
    namespaces: Namespaces,
    shutdown: CancellationToken,
}

impl Store {
    /// Nothing is kept yet; what has to be heard of is followed from now on.
    pub fn new(
        options: &Options,
        client: Client,
        registry: &mut Registry,
        shutdown: CancellationToken,
    ) -> Self {
        let secret = format!("{}-audit", options.service_name);
        let (namespace, named) = (&options.namespace, options.namespaces.clone());
        let measure = match options.keeping() {
            Keeping::Folder(_) => volume::percent,
            Keeping::Postgres(_) => volume::elsewhere,
        };
        Self {
            slot: Slot::default(),
            metrics: Metrics::new(registry),
            volume: Volume {
                folder: options.data_dir.clone(),
                measure,
            },
            keys: signing::follow(client.clone(), namespace, secret, shutdown.clone()),
            namespaces: namespaces::follow(client.clone(), named, shutdown.clone()),
            client,
            shutdown,
        }
    }

    /// All paths: those of readers, and those of the operator and the webhook.
    pub fn router(&self, options: &Options, review: &Arc<dyn Review>) -> Router {
        let api = Api {
            keys: self.keys.clone(),
            slot: self.slot.clone(),
            namespaces: self.namespaces.clone(),
            review: Arc::clone(review),
            front: options.front().into(),
            shutdown: self.shutdown.clone(),
        };
        let ingest = Ingest {
            slot: self.slot.clone(),
            review: Arc::clone(review),
            operator: options.operator().into(),
            webhook: options.webhook().into(),
            namespaces: self.namespaces.clone(),
            metrics: self.metrics.clone(),
            volume: self.volume.clone(),
        };
        let both = api::router(api).merge(ingest::router(ingest));
        both.fallback(unknown)
    }

    /// Opens what is kept, and keeps it in order until the token is cancelled.
    pub fn tend(self, options: &Options) {
        let Self {
            client,
            slot,
            metrics,
            volume,
            keys,
            shutdown,
            ..
        } = self;
        let limits = Limits {
            age: options.retention_age,
            audit: options.retention_audit_age,
            size: options.retention_size,
        };
        let runs = retention::runs(&client, &options.namespaces);
        let events = Events::new(client, "pilothouse-server", &options.pod);
        let about = options.this_pod();
        tokio::spawn(volume.watch(events, about, metrics.clone(), shutdown.clone()));
        tokio::spawn(slot.clone().open(options.keeping(), shutdown.clone()));
        tokio::spawn(signing::keep(slot.clone(), keys, shutdown.clone()));
        tokio::spawn(retention::keep(runs, slot, limits, metrics, shutdown));
    }
}
