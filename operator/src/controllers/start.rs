//! What has to be there before the first turn: what controllers share, and where no connection for a user may lead.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::Requester;
use decide::admission::JUDGED;
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, Config, api::PostParams};
use reach::Fence;
use serving::Events;

use super::ears::Ears;
use crate::{
    account::Accounts,
    args::Args,
    audit::Audit,
    bookings::Bookings,
    context::Context,
    desk::Desk,
    doors::Doors,
    error::{self, Error, Result, observing},
    fenced,
    hands::Hands,
    leader::cluster_uid,
    memory::Memory,
    metrics::Metrics,
    namespaces::Namespaces,
    off_limits,
    precedence::Precedence,
    scope::Scope,
    traces::Traces,
    ways::Ways,
};

/// Between two questions that are asked before the first turn.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// What controllers share, and what they hear.
pub async fn context(
    args: Args,
    config: Config,
    metrics: Metrics,
    fence: Fence,
    epoch: i64,
) -> Result<(Arc<Context>, Ears)> {
    let precedence = Precedence::default();
    let client = fenced::client(config.clone(), &fence, &precedence)?;
    let prompt = fenced::prompt(config.clone(), &fence)?;
    let records = records_client(&args, &client).await?;
    let scope = Scope::new(args.namespaces.clone());
    let (ears, said) = Ears::open(&client, &scope);
    let ctx = Context {
        accounts: Accounts::new(judged(config, &scope), fence.clone(), precedence.clone()),
        precedence,
        actions: said.actions,
        approvals: said.approvals,
        change_actions: said.change_actions,
        policies: said.policies,
        protections: said.protections,
        wakes: said.wakes,
        bookings: Bookings::default(),
        doors: Doors::new(client.clone(), &args.namespace),
        desk: Desk::open(records.clone(), fence.clone(), &args.identity, epoch),
        audit: Audit::open(records.clone(), fence.clone(), &args.identity),
        records,
        ways: Ways::open(&args.toolkit, fence)?,
        cluster: patiently(async || cluster_uid(&client, &scope, &args.namespace).await).await?,
        me: patiently(async || me(&client).await).await?,
        traces: Traces::open(&args.otlp, &args.identity).map_err(Error::Traces)?,
        scope,
        epoch,
        events: Events::new(client.clone(), "pilothouse-operator", &args.identity),
        metrics,
        namespaces: Namespaces::new(prompt.clone()),
        hands: Hands::new(args.max_in_flight),
        memory: Memory::default(),
        args,
        prompt,
        client,
    };
    Ok((Arc::new(ctx), ears))
}

/// What is done as an account was judged when its run began; where there can be policies, the API server hears that, so that they are not asked once more.
fn judged(mut config: Config, scope: &Scope) -> Config {
    if scope.is_every_namespace() {
        let header = format!("impersonate-extra-{}", JUDGED.replace('/', "%2f"));
        let header = HeaderName::try_from(header).expect("the name of a header");
        config
            .headers
            .push((header, HeaderValue::from_static("at-start")));
    }
    config
}

/// Keeps connections for users from where no Host or URL leads; what the cluster's own addresses are can be asked only with rights in all of it.
pub async fn keep_off(ctx: &Context) -> Result<()> {
    let named = off_limits::Named {
        allowed: ctx.args.outbound_allow.clone(),
        denied: ctx.args.outbound_deny.clone(),
    };
    let avoided = ctx.ways.fleet.avoided();
    if ctx.scope.is_every_namespace() {
        return off_limits::watch(ctx.client.clone(), avoided.clone(), named).await;
    }
    avoided.set(named.and(std::iter::empty()));
    Ok(())
}

/// What has to be known before the first turn is asked for until the API server can say it; the Lease bounds how long.
pub async fn patiently<T>(ask: impl AsyncFn() -> Result<T>) -> Result<T> {
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

async fn records_client(args: &Args, client: &Client) -> Result<records::client::Client> {
    let at = &args.records;
    let published = at.bundle(client.clone(), &args.namespace);
    let pem = published.first().await;
    let today = move || {
        let published = published.clone();
        async move { published.today().await }
    };
    records::client::Client::new(&at.url, pem.as_bytes(), &at.token)
        .map(|client| client.following(today))
        .map_err(|e| Error::Records(Box::new(e)))
}
