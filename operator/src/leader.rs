//! Leadership: one replica works, the other waits. Losing the Lease ends the process, so nothing new starts under a lease that somebody else holds.

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Namespace};
use kube::{Api, Client, Config, ResourceExt as _};
use kube_lease_manager::LeaseManagerBuilder;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    controllers,
    error::{Error, Result, observing},
    metrics::Metrics,
};

const LEASE: &str = "pilothouse-operator";
/// Bits of an epoch that count changes of hands; a Lease that was deleted and made anew starts above all of the old one.
const HANDS: u32 = 20;

/// Waits for the Lease, works while it is held, and ends when it is lost or when asked to.
pub async fn run(args: Args) -> Result<()> {
    let config = Config::infer()
        .await
        .map_err(|e| Error::Connect(Box::new(kube::Error::InferConfig(e))))?;
    let client = Client::try_from(config.clone()).map_err(|e| Error::Connect(Box::new(e)))?;
    let metrics = Metrics::new();
    let shutdown = serving::shutdown::on_signal().map_err(|source| Error::Listen {
        addr: args.health_addr,
        source,
    })?;
    let electing = listen(&args, &metrics, &shutdown).await?;
    let manager = LeaseManagerBuilder::new(client.clone(), LEASE)
        .with_namespace(&args.namespace)
        .with_identity(&args.identity)
        .with_duration(args.lease_seconds)
        .with_grace(args.lease_seconds / 3)
        .build()
        .await
        .map_err(|e| Error::Lease(Box::new(e)))?;
    let (mut held, task) = manager.watch().await;
    electing.set(true);
    tokio::select! {
        waited = wait(&mut held, true) => waited?,
        () = shutdown.cancelled() => return Ok(()),
    }
    tracing::info!(identity = %args.identity, "leading");
    let epoch = epoch(&client, &args.namespace).await?;
    let ended = tokio::select! {
        ended = controllers::run(args, config, client, metrics, epoch) => ended,
        lost = wait(&mut held, false) => lost.and(Err(Error::LeaseLost)),
        () = shutdown.cancelled() => Ok(()),
    };
    // Closing the channel makes the manager give the Lease back, so the standby need not wait for it to expire.
    drop(held);
    if let Ok(Ok(manager)) = task.await
        && let Err(error) = manager.release().await
    {
        tracing::debug!(%error, "the lease was not given back and will expire");
    }
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

async fn wait(held: &mut watch::Receiver<bool>, wanted: bool) -> Result<()> {
    held.wait_for(|state| *state == wanted)
        .await
        .map(|_| ())
        .map_err(|_| Error::LeaseLost)
}

/// A number that only grows, which hosts compare: when the Lease was made, and how often it has changed hands since.
async fn epoch(client: &Client, namespace: &str) -> Result<i64> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = leases
        .get(LEASE)
        .await
        .map_err(observing(format!("Lease {LEASE}")))?;
    let made = lease
        .creation_timestamp()
        .map_or(0, |made| made.0.as_second());
    let hands = lease.spec.and_then(|s| s.lease_transitions).unwrap_or(0);
    Ok((made << HANDS) + i64::from(hands))
}

/// UID of the cluster: that of its oldest namespace.
pub async fn cluster_uid(client: &Client) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces
        .get("kube-system")
        .await
        .map_err(observing("Namespace kube-system"))?;
    Ok(system.uid().unwrap_or_default())
}
