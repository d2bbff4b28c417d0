//! Puts the server together: binds, starts what runs beside the listeners, serves until the first signal, then ends within a bound.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use kube::Client;
use prometheus_client::registry::Registry;
use serving::{
    ApiReview, Certificates, Events, FrontProxy, Gate, Health, Identity, Peer, Publication,
    Published, Remembered, Review, Source, TlsListener, follow_front_proxy, serve_health, shutdown,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time};
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
    slot::{Keeping, Slot},
    volume::{self, Volume},
};

/// Time for which reviews are remembered.
const REMEMBER: Duration = Duration::from_secs(10);
/// Time for open requests to end after the signal.
const GRACE: Duration = Duration::from_secs(10);

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("signals cannot be heard")]
    Signals(#[source] io::Error),
    #[error("no way to the API server")]
    Client(#[source] Box<kube::Error>),
    #[error("address {0} cannot be listened on")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("no way to the store")]
    Store(#[source] records::client::Error),
    #[error("listener failed")]
    Serve(#[source] io::Error),
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
    let mut listeners = JoinSet::new();
    let api = ground.listen(options.api_addr, Some(proxy)).await?;
    listeners.spawn(serve(api, front::router(front), ground.shutdown.clone()));
    let health = bind(options.health_addr).await?;
    listeners.spawn(ground.health(health, Registry::default()));
    until_ended(listeners, ground.shutdown).await
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
    let api = Api {
        slot: slot.clone(),
        namespaces: namespaces::follow(
            ground.client.clone(),
            options.namespaces.clone(),
            shutdown.clone(),
        ),
        review: Arc::clone(&ground.review),
        front: options.front().into(),
        shutdown: shutdown.clone(),
    };
    let ingest = Ingest {
        slot: slot.clone(),
        review: Arc::clone(&ground.review),
        operator: options.operator().into(),
        metrics: metrics.clone(),
        volume: volume.clone(),
    };
    let limits = Limits {
        age: options.retention_age,
        size: options.retention_size,
    };
    let mut listeners = JoinSet::new();
    let both = api::router(api).merge(ingest::router(ingest));
    let router = both.fallback(unknown);
    let listener = ground.listen(options.store_addr, None).await?;
    listeners.spawn(serve(listener, router, shutdown.clone()));
    let listener = bind(options.health_addr).await?;
    listeners.spawn(ground.health(listener, registry));
    let events = Events::new(ground.client.clone(), "pilothouse-server", &options.pod);
    let about = options.this_pod();
    tokio::spawn(volume.watch(events, about, metrics.clone(), shutdown.clone()));
    tokio::spawn(slot.clone().open(keeping, shutdown.clone()));
    let runs = retention::runs(&ground.client, &options.namespaces);
    let sweeping = retention::keep(runs, slot, limits, metrics, shutdown.clone());
    tokio::spawn(sweeping);
    until_ended(listeners, ground.shutdown).await
}

impl Ground {
    /// A TLS listener; clients with a certificate are the front proxy's.
    async fn listen(
        &self,
        address: SocketAddr,
        clients: Option<watch::Receiver<FrontProxy>>,
    ) -> Result<TlsListener, RunError> {
        let listener = bind(address).await?;
        TlsListener::new(listener, self.identity.clone(), clients)
            .map_err(|e| RunError::Listen(address, e))
    }

    fn health(
        &self,
        listener: TcpListener,
        registry: Registry,
    ) -> impl Future<Output = io::Result<()>> + use<> {
        let health = Health::default();
        tokio::spawn(ready(health.gate("certificate"), self.identity.clone()));
        serve_health(listener, health, Arc::new(registry), self.shutdown.clone())
    }
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

/// The store has no part in readiness: a server whose store is dead must stay in the Service, or the APIService goes down with it.
async fn ready(gate: Gate, mut identity: watch::Receiver<Option<Arc<Identity>>>) {
    gate.set(identity.wait_for(Option::is_some).await.is_ok());
}

/// The first listener that fails ends the process; after the signal all have a bounded time.
async fn until_ended(
    mut listeners: JoinSet<io::Result<()>>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let all = async {
        while let Some(ended) = listeners.join_next().await {
            ended
                .map_err(io::Error::other)
                .flatten()
                .map_err(RunError::Serve)?;
        }
        Ok(())
    };
    let too_late = async {
        shutdown.cancelled().await;
        time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = all => ended,
        () = too_late => Ok(()),
    }
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

async fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|e| RunError::Listen(address, e))
}

async fn serve(
    listener: TlsListener,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    axum::serve(
        listener,
        router.into_make_service_with_connect_info::<Peer>(),
    )
    .with_graceful_shutdown(shutdown.cancelled_owned())
    .await
}
