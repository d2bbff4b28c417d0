//! The controllers of the leader: one a kind, each observe, decide, act, report.

mod action;
mod approval;
mod break_glass;
mod calendar;
mod change;
mod change_action;
mod command_policy;
mod host;
mod job;
mod parameter;
mod protection;
pub mod run;
mod schedule;
mod script;
mod solution;
mod takeover;

use std::{
    collections::HashMap,
    fmt::Debug,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use crds::v1alpha1::{Approval, ChangeAction, Requester, RunAction};
use decide::admission::JUDGED;
use futures::{StreamExt as _, TryStreamExt as _, stream::select_all};
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Config, Resource,
    api::PostParams,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        Controller, WatchStreamExt as _,
        controller::{self, Action},
        reflector::{reflector, store::Writer},
        watcher,
    },
};
use reach::{
    Fence,
    http::Outbound,
    ssh::{Fleet, Limits},
};
use serde::de::DeserializeOwned;
use serving::{Events, Published};
use tokio::sync::{
    Semaphore, broadcast,
    mpsc::{self, UnboundedSender},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    account::Accounts,
    args::Args,
    audit::Audit,
    awaiting::Awaiting,
    bookings::Bookings,
    bursts::Bursts,
    claims::Claims,
    context::{Context, Failures, Given, Glass, Run, Solution, Ticket, Written, toolkit},
    crowds::Crowds,
    desk::Desk,
    doors::Doors,
    entitled::Rights,
    error::{self, Error, Result, observing},
    fenced,
    heard::{Heard, News},
    held,
    latest::Latest,
    leader::cluster_uid,
    ledgers::Ledgers,
    metrics::Metrics,
    off_limits,
    places::Places,
    policies::{self, Policies},
    precedence::Precedence,
    reached::Definitions,
    scales::Scales,
    scope::{self, Scope},
    sweeps::Sweeps,
    traces::Traces,
    turns,
    users::{Named, Names, Users},
};

/// What is woken from within, and what is heard of what people say, by the part of the scope that it is in.
struct Ears {
    runs: Woken<Run>,
    parameters: Woken<Named>,
    script: Woken<Written>,
    scripts: Woken<()>,
    actions: Heeded<RunAction>,
    approvals: Heeded<Approval>,
    approval: Woken<Given>,
    glasses: Woken<Glass>,
    tickets: Woken<Ticket>,
    solutions: Woken<Solution>,
    change_actions: Heeded<ChangeAction>,
    policies: Option<policies::News>,
    protections: Option<protection::News>,
}

type Woken<T> = HashMap<String, UnboundedReceiverStream<T>>;
type Heeded<K> = HashMap<String, News<K>>;

/// What is of a part of the scope.
fn own<T>(all: &mut HashMap<String, T>, part: &str) -> T {
    all.remove(part).expect("each part has its own")
}

/// Objects of one kind that are looked at together.
const CONCURRENCY: u16 = 32;
/// As many as there are, where turns themselves say which go first: firings start before the status of the first is written, and runs end before others begin.
const EVERY_ONE: u16 = 0;
/// Between two questions that are asked before the first turn.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
/// Ends of runs that whoever waits for one may be behind.
const ENDS: usize = 1024;
/// Hosts that are looked at over SSH together; fewer, so that the others get a turn meanwhile.
const LOOKS: usize = 24;

/// Runs every controller until the process ends.
pub async fn run(
    args: Args,
    config: Config,
    metrics: Metrics,
    fence: Fence,
    epoch: i64,
) -> Result<()> {
    let (ctx, ears) = context(&args, config, metrics, fence, epoch).await?;
    keep_off(args, &ctx).await?;
    patiently(async || takeover::claims(&ctx).await).await?;
    tokio::join!(
        work(&ctx, ears.runs, ears.actions, ears.approvals),
        definitions(&ctx, ears.script, ears.scripts, ears.parameters),
        rules(
            &ctx,
            ears.policies,
            ears.protections,
            ears.approval,
            ears.glasses
        ),
        changes(&ctx, ears.tickets, ears.solutions, ears.change_actions),
    );
    Ok(())
}

/// What is done: runs, what people do to them, and what starts them.
async fn work(
    ctx: &Arc<Context>,
    mut woken: Woken<Run>,
    mut actions: Heeded<RunAction>,
    mut approvals: Heeded<Approval>,
) {
    let of_runs = Turns {
        at_once: EVERY_ONE,
        held: held::run,
        is_done: |ctx, run| run.0.as_ref().is_ok_and(|run| run::is_done(ctx, run)),
        told: |ctx, _, event| ctx.latest.hear(event),
    };
    let of_tasks = Turns {
        at_once: EVERY_ONE,
        ..Turns::told_to_users()
    };
    let runs = |controller: Controller<_>, part: &str| {
        let all = ctx.clone();
        controller
            .watches_stream(own(&mut actions, part), run::of_action)
            .watches_stream(own(&mut approvals, part), move |approval| {
                run::of_approval(approval, &all)
            })
            .reconcile_on(own(&mut woken, part))
    };
    tokio::join!(
        drive(ctx, of_runs, run::reconcile, runs),
        drive(ctx, Turns::usual(), action::reconcile, |c, _| c),
        drive(ctx, of_tasks, schedule::reconcile, |tasks, part| {
            schedule::following(tasks, ctx, part)
        }),
    );
}

/// What work is made of.
async fn definitions(
    ctx: &Arc<Context>,
    mut script: Woken<Written>,
    mut scripts: Woken<()>,
    mut parameters: Woken<Named>,
) {
    let of_jobs = Turns::told_to_users();
    let scripts = |controller: Controller<_>, part: &str| {
        controller
            .reconcile_on(own(&mut script, part))
            .reconcile_all_on(own(&mut scripts, part))
    };
    let parameters = |controller, part: &str| {
        let woken = own(&mut parameters, part);
        parameter::following(controller, ctx, part).reconcile_on(woken)
    };
    tokio::join!(
        drive(ctx, Turns::usual(), script::reconcile, scripts),
        drive(ctx, of_jobs, job::reconcile, |jobs, part| {
            job::following(jobs, ctx, part)
        }),
        drive(ctx, Turns::usual(), parameter::reconcile, parameters),
        drive(ctx, Turns::usual(), host::reconcile, |c, _| c),
    );
}

/// What says whether and when it may be done.
async fn rules(
    ctx: &Arc<Context>,
    policies: Option<policies::News>,
    protections: Option<protection::News>,
    mut woken: Woken<Given>,
    mut broken: Woken<Glass>,
) {
    tokio::join!(
        command_policy::drive(ctx, policies),
        protection::drive(ctx, protections),
        drive(ctx, Turns::usual(), approval::reconcile, |given, part| {
            let woken = own(&mut woken, part);
            approval::following(given, ctx, part).reconcile_on(woken)
        }),
        drive(
            ctx,
            Turns::usual(),
            break_glass::reconcile,
            |glasses, part| { glasses.reconcile_on(own(&mut broken, part)) }
        ),
        drive(ctx, Turns::usual(), calendar::reconcile, |c, _| c),
    );
}

/// What is planned, agreed to and carried out in a window.
async fn changes(
    ctx: &Arc<Context>,
    mut woken: Woken<Ticket>,
    mut used: Woken<Solution>,
    mut actions: Heeded<ChangeAction>,
) {
    let tickets = |controller: Controller<_>, part: &str| {
        change::following(controller, ctx, part)
            .watches_stream(own(&mut actions, part), change::of_action)
            .reconcile_on(own(&mut woken, part))
    };
    let of_tickets = Turns {
        told: change::hear,
        ..Turns::usual()
    };
    tokio::join!(
        drive(ctx, of_tickets, change::reconcile, tickets),
        drive(ctx, Turns::usual(), solution::reconcile, |all, part| {
            solution::following(all, ctx, part).reconcile_on(own(&mut used, part))
        }),
        drive(ctx, Turns::usual(), change_action::reconcile, |c, _| c),
    );
}

/// What controllers share, and what runs of each part of the scope are woken by.
async fn context(
    args: &Args,
    config: Config,
    metrics: Metrics,
    fence: Fence,
    epoch: i64,
) -> Result<(Arc<Context>, Ears)> {
    let precedence = Precedence::default();
    let client = fenced::client(config.clone(), &fence, &precedence)?;
    let records = records_client(args, &client).await?;
    let scope = Scope::new(args.namespaces.clone());
    let (wake, runs) = wakes(&scope);
    let (wake_parameters, parameters) = wakes(&scope);
    let (wake_script, script) = wakes(&scope);
    let (wake_scripts, scripts) = wakes(&scope);
    let (wake_approval, approval) = wakes(&scope);
    let (actions, heard_actions) = Heard::of(&client, &scope);
    let (approvals, heard_approvals) = Heard::of(&client, &scope);
    let (wake_ticket, tickets) = wakes(&scope);
    let (wake_solution, solutions) = wakes(&scope);
    let (wake_glass, glasses) = wakes(&scope);
    let (change_actions, heard_change_actions) = Heard::of(&client, &scope);
    let (policies, news) = Policies::heard(&client, &scope);
    let protections = protection::heard(&client, &scope);
    let ears = Ears {
        runs,
        parameters,
        script,
        scripts,
        actions: heard_actions,
        approvals: heard_approvals,
        approval,
        glasses,
        tickets,
        solutions,
        change_actions: heard_change_actions,
        policies: news,
        protections,
    };
    let fleet = Fleet::fenced(Limits::default(), fence.clone());
    let ctx = Context {
        accounts: Accounts::new(judged(&config, &scope), fence.clone(), precedence.clone()),
        prompt: fenced::prompt(config, &fence)?,
        precedence,
        actions,
        approvals,
        change_actions,
        awaiting: Awaiting::default(),
        bookings: Bookings::default(),
        protections: ears.protections.as_ref().map(|(_, known)| known.clone()),
        scales: Scales::default(),
        policies,
        doors: Doors::new(client.clone(), &args.namespace),
        definitions: Definitions::default(),
        calendars: Bursts::default(),
        rights: Rights::default(),
        desk: Desk::open(
            records.clone(),
            fence.clone(),
            &format!("{}-{epoch}", args.identity),
        ),
        audit: Audit::open(records.clone(), fence.clone(), &args.identity),
        records,
        ledgers: Ledgers::default(),
        claims: Claims::default(),
        outbound: Outbound::new(fleet.avoided().clone(), fence),
        fleet,
        toolkit: toolkit(&args.toolkit)?,
        limits: args.limits(),
        archive_after: args.archive_after,
        cluster: patiently(async || cluster_uid(&client, &scope, &args.namespace).await).await?,
        me: patiently(async || me(&client).await).await?,
        traces: Traces::open(&args.otlp, &args.identity).map_err(Error::Traces)?,
        scope,
        epoch,
        events: Events::new(client.clone(), "pilothouse-operator", &args.identity),
        metrics,
        places: Places::new(args.max_in_flight),
        crowds: Crowds::new(args.max_in_flight),
        looks: Places::new(LOOKS),
        wake,
        wake_script,
        wake_scripts,
        wake_approval,
        wake_ticket,
        wake_solution,
        wake_glass,
        ended: broadcast::Sender::new(ENDS),
        failures: Failures::default(),
        latest: Latest::default(),
        turns: turns::Turns::default(),
        sweeps: Sweeps::default(),
        users: Users::new(wake_parameters),
        reported: Mutex::default(),
        starting: Semaphore::new(CONCURRENCY.into()),
        settling: Semaphore::new(CONCURRENCY.into()),
        namespaces: Mutex::default(),
        namespace_uids: Bursts::default(),
        lease: Duration::from_secs(args.lease_seconds),
        client,
    };
    Ok((Arc::new(ctx), ears))
}

/// What is done as an account was judged when its run began; where there can be policies, the API server hears that, so that they are not asked once more.
fn judged(config: &Config, scope: &Scope) -> Config {
    let mut config = config.clone();
    if scope.is_every_namespace() {
        let header = format!("impersonate-extra-{}", JUDGED.replace('/', "%2f"));
        let header = HeaderName::try_from(header).expect("the name of a header");
        config
            .headers
            .push((header, HeaderValue::from_static("at-start")));
    }
    config
}

/// What has to be known before the first turn is asked for until the API server can say it; the Lease bounds how long.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T>) -> Result<T> {
    loop {
        match ask().await {
            Err(error) if error.is_passing() => {
                tracing::warn!(error = %error::chain(&error), "asked again in a moment");
                tokio::time::sleep(ASKED_AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// Who the operator is to the API server.
async fn me(client: &Client) -> Result<Requester> {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await;
    let review = review.map_err(observing("who the operator is"))?;
    let user = review.status.and_then(|s| s.user_info).unwrap_or_default();
    Ok(Requester {
        user: user.username.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
    })
}

/// A way to wake the controller of each part, and its other end.
fn wakes<T>(scope: &Scope) -> (HashMap<String, UnboundedSender<T>>, Woken<T>) {
    let of = |part: &str| {
        let (wake, woken) = mpsc::unbounded_channel();
        let woken = UnboundedReceiverStream::new(woken);
        ((part.to_owned(), wake), (part.to_owned(), woken))
    };
    scope.parts().map(of).unzip()
}

/// Keeps connections for users from where no Host or URL leads; what the cluster's own addresses are can be asked only with rights in all of it.
async fn keep_off(args: Args, ctx: &Context) -> Result<()> {
    let named = off_limits::Named {
        allowed: args.outbound_allow,
        denied: args.outbound_deny,
    };
    if ctx.scope.is_every_namespace() {
        return off_limits::watch(ctx.client.clone(), ctx.fleet.avoided().clone(), named).await;
    }
    ctx.fleet.avoided().set(named.and(std::iter::empty()));
    Ok(())
}

/// How the turns of a kind are taken.
struct Turns<K> {
    at_once: u16,
    /// What is let go of an object before it is held in memory.
    held: fn(&mut DeserializeGuard<K>),
    /// Objects that have no turn any more, and so are not held at all.
    is_done: fn(&Context, &DeserializeGuard<K>) -> bool,
    /// Who is told of everything that is heard of a part of the scope.
    told: fn(&Context, &str, &watcher::Event<DeserializeGuard<K>>),
}

impl<K> Turns<K>
where
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    const fn usual() -> Self {
        Self {
            at_once: CONCURRENCY,
            held: held::object,
            is_done: |_, _| false,
            told: |_, _, _| (),
        }
    }
}

impl<K: Names> Turns<K>
where
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    /// Of a kind whose objects name Parameters.
    const fn told_to_users() -> Self {
        Self {
            told: |ctx, part, event| ctx.users.hear(part, event),
            ..Self::usual()
        }
    }
}

/// Drives a kind's controllers, one for each part of the scope; all of them together have as many turns at once as one may.
async fn drive<K, R, F>(
    ctx: &Arc<Context>,
    turns: Turns<K>,
    reconcile: R,
    mut with: impl FnMut(Controller<DeserializeGuard<K>>, &str) -> Controller<DeserializeGuard<K>>,
) where
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
    R: Fn(Arc<DeserializeGuard<K>>, Arc<Context>) -> F + Copy + Send + 'static,
    F: Future<Output = Result<Action>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(match turns.at_once {
        EVERY_ONE => Semaphore::MAX_PERMITS,
        most => most.into(),
    }));
    let turn = move |object, ctx| {
        let places = places.clone();
        async move {
            let _place = places.acquire().await.expect("it is never closed");
            reconcile(object, ctx).await
        }
    };
    let controllers = ctx.scope.parts().map(|part| {
        let objects = scope::within(&ctx.client, part);
        let held_here = Writer::default();
        let reader = held_here.as_reader();
        let changes = watcher(objects, watcher::Config::default()).modify(turns.held);
        let (all, of) = (ctx.clone(), part.to_owned());
        let changes = changes.try_filter_map(move |event| {
            (turns.told)(&all, &of, &event);
            let is_done = |object: &_| (turns.is_done)(&all, object);
            ready(Ok(held::without(event, is_done)))
        });
        let changes = reflector(held_here, changes).applied_objects();
        with(Controller::for_stream(changes, reader), part)
            .with_config(controller::Config::default().concurrency(turns.at_once))
            .run(turn.clone(), policy, ctx.clone())
            .boxed()
    });
    let mut taken = select_all(controllers);
    while let Some(turn) = taken.next().await {
        // What a turn returns was told already.
        if let Err(error) = turn {
            tracing::debug!(%error, "a turn ended with an error");
        }
    }
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
