//! Puts the server together: binds, starts what runs beside the listeners, serves until the first signal, then ends within a bound.

use std::{io, sync::Arc, time::Duration};

use kube::Client;
use prometheus_client::registry::Registry;
use serving::{
    ApiReview, Certificates, Health, Identity, ListenError, Listeners, Publication, Published,
    Remembered, Review, Source, follow_front_proxy, shutdown,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    front::{self, Front},
    object::{GROUP, VERSION},
    options::{Options, TlsMode},
    store::Store,
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
        None => as_store(&options, ground).await,
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

async fn as_store(options: &Options, ground: Ground) -> Result<(), RunError> {
    let mut registry = Registry::default();
    let shutdown = ground.shutdown.clone();
    let store = Store::new(options, ground.client, &mut registry, shutdown);
    let mut listeners = Listeners::new(ground.identity, ground.shutdown);
    let router = store.router(options, &ground.review);
    listeners.tls(options.store_addr, None, router).await?;
    listeners
        .health(options.health_addr, Health::default(), registry)
        .await?;
    store.tend(options);
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
