//! The listeners of a process: all of them serve until the first signal, or until one of them fails, and then end within a bound.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{FrontProxy, Gate, Health, Identity, Peer, TlsListener, serve_health};

/// Time for open requests to end after the signal.
const GRACE: Duration = Duration::from_secs(10);

/// Why a process does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("address {0} cannot be listened on")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("listener failed")]
    Serve(#[source] io::Error),
}

/// Listeners with one certificate and one end.
pub struct Listeners {
    identity: watch::Receiver<Option<Arc<Identity>>>,
    shutdown: CancellationToken,
    all: JoinSet<io::Result<()>>,
}

impl Listeners {
    pub fn new(
        identity: watch::Receiver<Option<Arc<Identity>>>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            identity,
            shutdown,
            all: JoinSet::new(),
        }
    }

    /// Serves over TLS; clients with a certificate are the front proxy's.
    pub async fn tls(
        &mut self,
        address: SocketAddr,
        clients: Option<watch::Receiver<FrontProxy>>,
        router: Router,
    ) -> Result<(), ListenError> {
        let listener = bind(address).await?;
        let listener = TlsListener::new(listener, self.identity.clone(), clients)
            .map_err(|e| ListenError::Listen(address, e))?;
        let service = router.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(listener, service);
        let shutdown = self.shutdown.clone();
        self.all.spawn(async {
            serving
                .with_graceful_shutdown(shutdown.cancelled_owned())
                .await
        });
        Ok(())
    }

    /// Serves health and metrics in the clear. Ready needs a certificate, and what else there is a gate for.
    pub async fn health(
        &mut self,
        address: SocketAddr,
        health: Health,
        registry: Registry,
    ) -> Result<(), ListenError> {
        let listener = bind(address).await?;
        tokio::spawn(ready(health.gate("certificate"), self.identity.clone()));
        let shutdown = self.shutdown.clone();
        self.all
            .spawn(serve_health(listener, health, Arc::new(registry), shutdown));
        Ok(())
    }

    /// The first listener that fails ends the process; after the signal all have a bounded time.
    pub async fn until_ended(mut self) -> Result<(), ListenError> {
        let all = async {
            while let Some(ended) = self.all.join_next().await {
                ended
                    .map_err(io::Error::other)
                    .flatten()
                    .map_err(ListenError::Serve)?;
            }
            Ok(())
        };
        let too_late = async {
            self.shutdown.cancelled().await;
            time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = all => ended,
            () = too_late => Ok(()),
        }
    }
}

async fn ready(gate: Gate, mut identity: watch::Receiver<Option<Arc<Identity>>>) {
    gate.set(identity.wait_for(Option::is_some).await.is_ok());
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|e| ListenError::Listen(address, e))
}
