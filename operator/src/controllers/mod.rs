//! The controllers of the leader: one a kind, each observe, decide, act, report.

mod action;
mod host;
mod job;
mod run;
mod script;
mod takeover;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crds::v1alpha1::{Host, Job, JobRun, RunAction, Script};
use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Client, Config, Resource,
    core::DeserializeGuard,
    runtime::{
        Controller,
        controller::{self, Action},
        watcher,
    },
};
use reach::{
    Fence,
    ssh::{Fleet, Limits},
};
use serving::{Events, Published};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    account::Accounts,
    args::Args,
    claims::Claims,
    context::{Context, Failures, toolkit},
    desk::Desk,
    error::{self, Error, Result},
    fenced,
    leader::cluster_uid,
    ledgers::Ledgers,
    metrics::Metrics,
    off_limits,
    places::Places,
};

/// Objects of one kind that are looked at together.
const CONCURRENCY: u16 = 32;

/// Runs every controller until the process ends.
pub async fn run(
    args: Args,
    config: Config,
    metrics: Metrics,
    fence: Fence,
    epoch: i64,
) -> Result<()> {
    let client = fenced::client(config.clone(), &fence)?;
    let records = records_client(&args, &client).await?;
    let (wake, woken) = mpsc::unbounded_channel();
    let runs = Controller::new(all::<JobRun>(&client), watcher::Config::default());
    let ctx = Arc::new(Context {
        accounts: Accounts::new(config, fence.clone()),
        desk: Desk::open(
            records.clone(),
            fence.clone(),
            &format!("{}-{epoch}", args.identity),
        ),
        records,
        ledgers: Ledgers::default(),
        claims: Claims::default(),
        fleet: Fleet::fenced(Limits::default(), fence),
        toolkit: toolkit(&args.toolkit)?,
        limits: args.limits(),
        cluster: cluster_uid(&client).await?,
        epoch,
        events: Events::new(client.clone(), "pilothouse-operator", &args.identity),
        metrics,
        places: Places::new(args.max_in_flight),
        looks: Places::new(usize::from(CONCURRENCY)),
        wake,
        failures: Failures::default(),
        reported: Mutex::default(),
        namespaces: Mutex::default(),
        lease: Duration::from_secs(args.lease_seconds),
        client: client.clone(),
    });
    off_limits::watch(client.clone(), ctx.fleet.clone(), args.outbound_allow).await?;
    takeover::claims(&ctx).await?;
    let concurrency = controller::Config::default().concurrency(CONCURRENCY);
    let runs = runs
        .with_config(concurrency.clone())
        .watches(
            all::<RunAction>(&client),
            watcher::Config::default(),
            run::of_action,
        )
        .reconcile_on(UnboundedReceiverStream::new(woken))
        .run(run::reconcile, policy, ctx.clone());
    let scripts = Controller::new(all::<Script>(&client), watcher::Config::default())
        .with_config(concurrency.clone())
        .run(script::reconcile, policy, ctx.clone());
    let jobs = Controller::new(all::<Job>(&client), watcher::Config::default())
        .with_config(concurrency.clone())
        .run(job::reconcile, policy, ctx.clone());
    let actions = Controller::new(all::<RunAction>(&client), watcher::Config::default())
        .with_config(concurrency.clone())
        .run(action::reconcile, policy, ctx.clone());
    let hosts = Controller::new(all::<Host>(&client), watcher::Config::default())
        // Looks wait for machines: others must get a turn meanwhile.
        .with_config(concurrency.concurrency(2 * CONCURRENCY))
        .run(host::reconcile, policy, ctx.clone());
    tokio::join!(
        drain(runs.boxed()),
        drain(actions.boxed()),
        drain(scripts.boxed()),
        drain(jobs.boxed()),
        drain(hosts.boxed())
    );
    Ok(())
}

fn all<K>(client: &Client) -> Api<DeserializeGuard<K>>
where
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    Api::all(client.clone())
}

async fn records_client(args: &Args, client: &Client) -> Result<records::client::Client> {
    let published = Published::new(client.clone(), &args.namespace, &args.records_ca);
    let pem = published.first().await;
    let today = move || {
        let published = published.clone();
        async move { published.today().await }
    };
    records::client::Client::new(&args.records_url, pem.as_bytes(), &args.records_token)
        .map(|client| client.following(today))
        .map_err(|e| Error::Records(Box::new(e)))
}

/// The object, or why what is stored cannot be read.
pub(crate) fn valid<K>(guarded: &DeserializeGuard<K>) -> Result<&K> {
    guarded
        .0
        .as_ref()
        .map_err(|invalid| Error::Invalid(invalid.error.clone()))
}

// The controller hands these over by value.
#[allow(clippy::needless_pass_by_value)]
fn policy<K: Resource<DynamicType = ()>>(
    object: Arc<K>,
    error: &Error,
    ctx: Arc<Context>,
) -> Action {
    let uid = object.meta().uid.clone().unwrap_or_default();
    let failures = ctx.failures.failed(&uid);
    ctx.metrics.turn::<K>(error.category());
    if error.is_conflict() {
        tracing::debug!(error = %error::chain(error), "another version was written meanwhile; looking again");
    } else {
        tracing::warn!(error = %error::chain(error), failures, "a turn failed; it will be taken again");
    }
    error::retry(error, failures)
}

/// Drives a controller; what its turns return was told already.
async fn drain<T, E>(mut turns: BoxStream<'_, Result<T, E>>)
where
    E: std::fmt::Display,
{
    while let Some(turn) = turns.next().await {
        if let Err(error) = turn {
            tracing::debug!(%error, "a turn ended with an error");
        }
    }
}
