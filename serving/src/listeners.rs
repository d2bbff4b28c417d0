//! The listeners of a process: all of them serve until the first signal, or until one of them fails, and then end within a bound.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Version, header::CONNECTION},
    middleware::{Next, from_fn},
    response::Response,
};
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
    /// When nobody is served any more.
    end: CancellationToken,
    all: JoinSet<io::Result<()>>,
}

impl Listeners {
    pub fn new(
        identity: watch::Receiver<Option<Arc<Identity>>>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            identity,
            end: shutdown.clone(),
            shutdown,
            all: JoinSet::new(),
        }
    }

    /// Goes on for a while after the signal, and asks callers with each answer to come by another connection: one that is closed while it waits for a request may be
    /// just then given one, which nobody sends again.
    #[must_use]
    pub fn lingering(mut self, time: Duration) -> Self {
        self.end = CancellationToken::new();
        let (signal, end) = (self.shutdown.clone(), self.end.clone());
        tokio::spawn(async move {
            signal.cancelled().await;
            time::sleep(time).await;
            end.cancel();
        });
        self
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
        let leaving = self.shutdown.clone();
        let router = router.layer(from_fn(move |request, next| {
            parting(leaving.clone(), request, next)
        }));
        let service = router.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(listener, service);
        let end = self.end.clone();
        self.all
            .spawn(async { serving.with_graceful_shutdown(end.cancelled_owned()).await });
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
        let (registry, end) = (Arc::new(registry), self.end.clone());
        self.all
            .spawn(serve_health(listener, health, registry, end));
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
            self.end.cancelled().await;
            time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = all => ended,
            () = too_late => Ok(()),
        }
    }
}

/// Connections of HTTP/2 are told by the protocol itself.
async fn parting(leaving: CancellationToken, request: Request, next: Next) -> Response {
    let alone = request.version() == Version::HTTP_11;
    let mut answer = next.run(request).await;
    if alone && leaving.is_cancelled() {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}

async fn ready(gate: Gate, mut identity: watch::Receiver<Option<Arc<Identity>>>) {
    gate.set(identity.wait_for(Option::is_some).await.is_ok());
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|e| ListenError::Listen(address, e))
}
