//! Puts the server together: binds, starts what runs beside the listeners, serves until the first signal, then ends within a bound.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use kube::Client;
use prometheus_client::registry::Registry;
use serving::{
    ApiReview, Certificates, Gate, Health, Identity, Peer, Publication, Remembered, Review, Source,
    TlsListener, follow_front_proxy, serve_health, shutdown,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Api},
    ingest::{self, Ingest},
    metrics::Metrics,
    namespaces,
    object::{GROUP, VERSION},
    options::{Options, TlsMode},
    retention::{self, Limits},
    slot::Slot,
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
    #[error("listener failed")]
    Serve(#[source] io::Error),
}

pub async fn run(options: Options) -> Result<(), RunError> {
    let shutdown = shutdown::on_signal().map_err(RunError::Signals)?;
    let client = Client::try_default()
        .await
        .map_err(|e| RunError::Client(Box::new(e)))?;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let health = Health::default();
    let slot = Slot::default();
    let review: Arc<dyn Review> =
        Arc::new(Remembered::new(ApiReview::new(client.clone()), REMEMBER));
    let front_proxy = follow_front_proxy(client.clone(), shutdown.clone());
    let identity = certificates(&options, client.clone()).keep(shutdown.clone());
    let api = Api {
        slot: slot.clone(),
        namespaces: namespaces::follow(client.clone(), shutdown.clone()),
        review: Arc::clone(&review),
        front_proxy: front_proxy.clone(),
        shutdown: shutdown.clone(),
    };
    let ingest = Ingest {
        slot: slot.clone(),
        review,
        operator: options.operator().into(),
        metrics: metrics.clone(),
    };
    let api_listener = tls(options.api_addr, identity.clone(), Some(front_proxy)).await?;
    let ingest_listener = tls(options.ingest_addr, identity.clone(), None).await?;
    let health_listener = bind(options.health_addr).await?;
    let limits = Limits {
        age: options.retention_age,
        size: options.retention_size,
    };
    tokio::spawn(ready(health.gate("certificate"), identity));
    tokio::spawn(slot.clone().open(options.data_dir, shutdown.clone()));
    tokio::spawn(retention::keep(
        client,
        slot,
        limits,
        metrics,
        shutdown.clone(),
    ));
    let mut listeners = JoinSet::new();
    listeners.spawn(serve(api_listener, api::router(api), shutdown.clone()));
    listeners.spawn(serve(
        ingest_listener,
        ingest::router(ingest),
        shutdown.clone(),
    ));
    listeners.spawn(serve_health(
        health_listener,
        health,
        Arc::new(registry),
        shutdown.clone(),
    ));
    until_ended(listeners, shutdown).await
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
            api_services: vec![format!("{VERSION}.{GROUP}")],
            manager: service.clone(),
        },
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|e| RunError::Listen(address, e))
}

async fn tls(
    address: SocketAddr,
    identity: watch::Receiver<Option<Arc<Identity>>>,
    clients: Option<watch::Receiver<serving::FrontProxy>>,
) -> Result<TlsListener, RunError> {
    let listener = bind(address).await?;
    TlsListener::new(listener, identity, clients).map_err(|e| RunError::Listen(address, e))
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
