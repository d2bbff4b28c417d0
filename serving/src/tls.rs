//! A TLS listener for axum that always shows the current certificate and asks for a client certificate only of the current front proxy. A slow or
//! hostile handshake holds up nobody else.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    sign::SingleCertAndKey,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_parser::parse_x509_certificate;

use crate::{FrontProxy, Identity, telemetry::chain};

/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once; more wait in the kernel's backlog.
const HANDSHAKES: usize = 256;
/// Pause after the kernel refused a connection, most likely for want of descriptors.
const REFUSED: Duration = Duration::from_millis(100);

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    common_name: Option<String>,
}

impl Peer {
    /// A peer whose certificate, if it has this name, was verified.
    pub const fn new(address: SocketAddr, common_name: Option<String>) -> Self {
        Self {
            address,
            common_name,
        }
    }

    /// Common name of the client certificate, verified against the front proxy's authority; empty when it has no name.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Connections whose handshake is done.
pub struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, Peer)>,
}

impl TlsListener {
    /// Begins to accept; connections wait until there is a certificate. Without `clients` no client certificate is asked for.
    pub fn new(
        listener: TcpListener,
        identity: watch::Receiver<Option<Arc<Identity>>>,
        clients: Option<watch::Receiver<FrontProxy>>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (hand_over, ready) = mpsc::channel(HANDSHAKES);
        let settings = Settings {
            identity,
            clients,
            built: None,
        };
        tokio::spawn(accept(listener, settings, hand_over));
        Ok(Self { address, ready })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The certificate's keeper has ended, so the process is ending.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer::new(self.address, None))
    }
}

async fn accept(
    listener: TcpListener,
    mut settings: Settings,
    hand_over: mpsc::Sender<(TlsStream<TcpStream>, Peer)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hand_over.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(connection) => connection,
            Err(e) => {
                tracing::warn!(error = chain(&e), "connection not accepted");
                tokio::time::sleep(REFUSED).await;
                continue;
            }
        };
        let Some(config) = settings.current().await else {
            return;
        };
        tokio::spawn(handshake(stream, address, config, hand_over.clone(), place));
    }
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    config: Arc<ServerConfig>,
    hand_over: mpsc::Sender<(TlsStream<TcpStream>, Peer)>,
    _place: OwnedSemaphorePermit,
) {
    // Small answers and watch events must not wait for more of them.
    let _ = stream.set_nodelay(true);
    match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let common_name = certificates.and_then(<[_]>::first).map(common_name);
            // Nobody to hand over to means that the listener has ended.
            let _ = hand_over
                .send((stream, Peer::new(address, common_name)))
                .await;
        }
        Ok(Err(e)) => tracing::debug!(%address, error = chain(&e), "handshake failed"),
        Err(_) => tracing::debug!(%address, "handshake timed out"),
    }
}

/// A certificate without a readable name has an empty one, which no list allows by accident.
fn common_name(certificate: &CertificateDer<'_>) -> String {
    let parsed = parse_x509_certificate(certificate).ok();
    let name = parsed
        .as_ref()
        .and_then(|(_, c)| c.subject().iter_common_name().next()?.as_str().ok());
    name.unwrap_or_default().to_owned()
}

struct Settings {
    identity: watch::Receiver<Option<Arc<Identity>>>,
    clients: Option<watch::Receiver<FrontProxy>>,
    built: Option<Arc<ServerConfig>>,
}

impl Settings {
    /// The configuration for the next connection, built anew after a change; `None` when there will never be a certificate.
    async fn current(&mut self) -> Option<Arc<ServerConfig>> {
        let changed = self.identity.has_changed().unwrap_or(false)
            || self
                .clients
                .as_ref()
                .is_some_and(|c| c.has_changed().unwrap_or(false));
        if let Some(built) = self.built.as_ref().filter(|_| !changed) {
            return Some(Arc::clone(built));
        }
        let identity = self.identity.wait_for(Option::is_some).await.ok()?;
        let identity = Arc::clone(identity.as_ref()?);
        let clients = self
            .clients
            .as_mut()
            .map(|c| c.borrow_and_update().authorities.clone());
        let built = Arc::new(config(&identity, clients.as_deref().unwrap_or_default()));
        self.built = Some(Arc::clone(&built));
        Some(built)
    }
}

fn config(identity: &Identity, client_authorities: &str) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    let authorities = CertificateDer::pem_slice_iter(client_authorities.as_bytes());
    roots.add_parsable_certificates(authorities.filter_map(Result::ok));
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated();
    let builder = match verifier.build() {
        Ok(verifier) => builder.with_client_cert_verifier(verifier),
        // No authority to verify against: nobody is asked for a certificate.
        Err(_) => builder.with_no_client_auth(),
    };
    let key = SingleCertAndKey::from(identity.key.clone());
    let mut config = builder.with_cert_resolver(Arc::new(key));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
