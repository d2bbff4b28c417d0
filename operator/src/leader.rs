//! Leadership: one replica works, the other waits. Nothing is started or written once the Lease may be somebody else's, and losing it ends the process.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config, ResourceExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    controllers,
    error::{Error, Result, observing},
    lease::Candidate,
    metrics::Metrics,
    scope::Scope,
};

/// Waits for the Lease, works while it is held, and ends when it is lost or when asked to.
pub async fn run(args: Args) -> Result<()> {
    let config = Config::infer()
        .await
        .map_err(|e| Error::Connect(Box::new(kube::Error::InferConfig(e))))?;
    let metrics = Metrics::new();
    let shutdown = serving::shutdown::on_signal().map_err(|source| Error::Listen {
        addr: args.health_addr,
        source,
    })?;
    let electing = listen(&args, &metrics, &shutdown).await?;
    // The one client that no fence holds back.
    let client = Client::try_from(config.clone()).map_err(|e| Error::Connect(Box::new(e)))?;
    let candidate = Candidate::new(client, &args.namespace, &args.identity, args.lease());
    electing.set(true);
    let mut term = tokio::select! {
        term = candidate.elected() => term,
        () = shutdown.cancelled() => return Ok(()),
    };
    tracing::info!(identity = %args.identity, epoch = term.epoch(), "leading");
    let (fence, epoch) = (term.fence(), term.epoch());
    let ended = tokio::select! {
        ended = controllers::run(args, config, metrics, fence, epoch) => ended,
        () = term.serve() => return Err(Error::LeaseLost),
        () = shutdown.cancelled() => Ok(()),
    };
    term.end().await;
    ended
}

/// Health and metrics; a standby is ready as well, since it is there to take over.
async fn listen(
    args: &Args,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) -> Result<serving::Gate> {
    let addr = args.health_addr;
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|source| Error::Listen { addr, source })?;
    let health = serving::Health::default();
    let gate = health.gate("the election");
    tokio::spawn(serving::serve_health(
        listener,
        health,
        metrics.registry(),
        shutdown.clone(),
    ));
    Ok(gate)
}

/// UID of the cluster: that of its oldest namespace, or of our own where nothing else may be looked at.
pub async fn cluster_uid(client: &Client, scope: &Scope, own: &str) -> Result<String> {
    let name = if scope.is_every_namespace() {
        "kube-system"
    } else {
        own
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = namespaces.get(name).await;
    let namespace = namespace.map_err(observing(format!("Namespace {name}")))?;
    Ok(namespace.uid().unwrap_or_default())
}
