//! Puts the webhook together: binds, follows the policies, serves until the first signal.

use std::{io, sync::Arc, time::Duration};

use kube::Client;
use prometheus_client::registry::Registry;
use serving::{Certificates, Health, ListenError, Listeners, Publication, Source, shutdown};

use crate::{
    answer::{self, Doors},
    audit::{Audit, Records},
    book, diary, glass,
    metrics::Metrics,
    options::Options,
    permits,
};

/// The API server still calls while the cluster is told that this one goes.
const LINGER: Duration = Duration::from_secs(5);
/// What was decided last may still be told.
const FLUSH: Duration = Duration::from_secs(5);

/// Why the webhook cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("signals cannot be heard")]
    Signals(#[source] io::Error),
    #[error("no way to the API server")]
    Client(#[source] Box<kube::Error>),
    #[error(transparent)]
    Listen(#[from] ListenError),
}

pub async fn run(options: Options) -> Result<(), RunError> {
    let shutdown = shutdown::on_signal().map_err(RunError::Signals)?;
    let client = Client::try_default()
        .await
        .map_err(|e| RunError::Client(Box::new(e)))?;
    let identity = certificates(&options, client.clone()).keep(shutdown.clone());
    let (mut registry, health) = (Registry::default(), Health::default());
    let metrics = Metrics::new(&mut registry);
    let records = records(&options, client.clone());
    let audit = Arc::new(Audit::open(records, &options.pod, metrics.clone()));
    let (permits, of_tickets) = permits::hearing(health.gate("tickets"));
    let doors = Doors {
        known: book::follow(&client, health.gate("policies"), &shutdown),
        permits,
        planned: diary::follow(&client, &shutdown, of_tickets),
        glasses: glass::follow(&client, &shutdown),
        audit: Arc::clone(&audit),
        client,
        metrics,
    };
    let mut listeners = Listeners::new(identity, shutdown).lingering(LINGER);
    listeners
        .tls(options.addr, None, answer::router(doors))
        .await?;
    listeners
        .health(options.health_addr, health, registry)
        .await?;
    listeners.until_ended().await?;
    audit.flushed(FLUSH).await;
    Ok(())
}

fn records(options: &Options, client: Client) -> Records {
    let at = &options.records;
    let published = at.bundle(client, &options.namespace);
    Records::new(published, &at.url, &at.token)
}

fn certificates(options: &Options, client: Client) -> Certificates {
    let service = &options.service_name;
    let own = || Source::SelfManaged {
        secret: format!("{service}-tls"),
    };
    Certificates {
        client,
        namespace: options.namespace.clone(),
        names: options.dns_names(),
        source: options.tls_dir.clone().map_or_else(own, Source::Folder),
        publication: Publication {
            config_map: format!("{service}-ca"),
            api_services: Vec::new(),
            manager: service.clone(),
        },
    }
}
