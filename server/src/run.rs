//! Puts the server together: binds, starts what runs beside the listeners, serves until the first signal, then ends within a bound.

use std::{io, sync::Arc, time::Duration};

use kube::Client;
use prometheus_client::registry::Registry;
use serving::{
    ApiReview, Certificates, Events, Health, Identity, ListenError, Listeners, Publication,
    Published, Remembered, Review, Source, follow_front_proxy, shutdown,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Api},
    failure::unknown,
    front::{self, Front},
    ingest::{self, Ingest},
    metrics::Metrics,
    namespaces,
    object::{GROUP, VERSION},
    options::{Options, TlsMode},
    retention::{self, Limits},
    signing,
    slot::{Keeping, Slot},
    volume::{self, Volume},
};

/// Time for which reviews are remembered.
const REMEMBER: Duration = Duration::from_secs(10);

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("signals cannot be heard")]
    Signals(#[source] io::Error),
    #[error("no way to the API server")]
    Client(#[source] Box<kube::Error>),
    #[error("no way to the store")]
    Store(#[source] records::client::Error),
    #[error(transparent)]
    Listen(#[from] ListenError),
}

pub async fn run(options: Options) -> Result<(), RunError> {
    let shutdown = shutdown::on_signal().map_err(RunError::Signals)?;
    let client = Client::try_default()
        .await
        .map_err(|e| RunError::Client(Box::new(e)))?;
    let ground = Ground {
        review: Arc::new(Remembered::new(ApiReview::new(client.clone()), REMEMBER)),
        identity: certificates(&options, client.clone()).keep(shutdown.clone()),
        client,
        shutdown,
    };
    match options.store_url.clone() {
        Some(url) => as_front(&options, ground, url).await,
        None => as_store(options, ground).await,
    }
}

/// What both kinds of process stand on.
struct Ground {
    client: Client,
    review: Arc<dyn Review>,
    identity: watch::Receiver<Option<Arc<Identity>>>,
    shutdown: CancellationToken,
}

async fn as_front(options: &Options, ground: Ground, url: String) -> Result<(), RunError> {
    let proxy = follow_front_proxy(ground.client.clone(), ground.shutdown.clone());
    let front = Front {
        store: store_client(options, &ground, url).await?,
        review: Arc::clone(&ground.review),
        proxy: proxy.clone(),
        shutdown: ground.shutdown.clone(),
    };
    let mut listeners = Listeners::new(ground.identity, ground.shutdown);
    let router = front::router(front);
    listeners.tls(options.api_addr, Some(proxy), router).await?;
    // The store has no part in readiness: a front whose store is dead must stay in the Service, or the APIService goes down with it.
    listeners
        .health(options.health_addr, Health::default(), Registry::default())
        .await?;
    Ok(listeners.until_ended().await?)
}

async fn as_store(options: Options, ground: Ground) -> Result<(), RunError> {
    let mut registry = Registry::default();
    let (metrics, slot) = (Metrics::new(&mut registry), Slot::default());
    let shutdown = &ground.shutdown;
    let keeping = options.keeping();
    let volume = Volume {
        folder: options.data_dir.clone(),
        measure: match keeping {
            Keeping::Folder(_) => volume::percent,
            Keeping::Postgres(_) => volume::elsewhere,
        },
    };
    let secret = format!("{}-audit", options.service_name);
    let client = ground.client.clone();
    let keys = signing::follow(client, &options.namespace, secret, shutdown.clone());
    let known = namespaces::follow(
        ground.client.clone(),
        options.namespaces.clone(),
        shutdown.clone(),
    );
    let api = Api {
        keys: keys.clone(),
        slot: slot.clone(),
        namespaces: known.clone(),
        review: Arc::clone(&ground.review),
        front: options.front().into(),
        shutdown: shutdown.clone(),
    };
    let ingest = Ingest {
        slot: slot.clone(),
        review: Arc::clone(&ground.review),
        operator: options.operator().into(),
        webhook: options.webhook().into(),
        namespaces: known,
        metrics: metrics.clone(),
        volume: volume.clone(),
    };
    let limits = Limits {
        age: options.retention_age,
        audit: options.retention_audit_age,
        size: options.retention_size,
    };
    let mut listeners = Listeners::new(ground.identity.clone(), shutdown.clone());
    let both = api::router(api).merge(ingest::router(ingest));
    let router = both.fallback(unknown);
    listeners.tls(options.store_addr, None, router).await?;
    listeners
        .health(options.health_addr, Health::default(), registry)
        .await?;
    let events = Events::new(ground.client.clone(), "pilothouse-server", &options.pod);
    let about = options.this_pod();
    tokio::spawn(volume.watch(events, about, metrics.clone(), shutdown.clone()));
    tokio::spawn(slot.clone().open(keeping, shutdown.clone()));
    let runs = retention::runs(&ground.client, &options.namespaces);
    tokio::spawn(signing::keep(slot.clone(), keys, shutdown.clone()));
    let sweeping = retention::keep(runs, slot, limits, metrics, shutdown.clone());
    tokio::spawn(sweeping);
    Ok(listeners.until_ended().await?)
}

/// The way from a front to its store, which shows the certificate that fronts show.
async fn store_client(
    options: &Options,
    ground: &Ground,
    url: String,
) -> Result<records::client::Client, RunError> {
    let config_map = format!("{}-ca", options.service_name);
    let published = Published::new(ground.client.clone(), &options.namespace, &config_map);
    let pem = published.first().await;
    let today = move || {
        let published = published.clone();
        async move { published.today().await }
    };
    records::client::Client::new(url, pem.as_bytes(), &options.store_token)
        .map(|client| client.following(today))
        .map_err(RunError::Store)
}

fn certificates(options: &Options, client: Client) -> Certificates {
    let service = &options.service_name;
    Certificates {
        client,
        namespace: options.namespace.clone(),
        names: options.dns_names(),
        source: match options.tls_mode {
            TlsMode::SelfManaged => Source::SelfManaged {
                secret: format!("{service}-tls"),
            },
            TlsMode::Files => Source::Folder(options.tls_dir.clone()),
        },
        publication: Publication {
            config_map: format!("{service}-ca"),
            api_services: if options.namespaces.is_empty() {
                vec![format!("{VERSION}.{GROUP}")]
            } else {
                Vec::new()
            },
            manager: service.clone(),
        },
    }
}
