//! Host: looks at the machine from time to time, keeps its facts, and pins the key it showed first.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{Host, HostKeyPolicy};
use decide::host::{Look, is_due, status, wait};
use futures::FutureExt as _;
use kube::{Resource as _, ResourceExt as _, core::DeserializeGuard, runtime::controller::Action};
use tokio::time::Instant;

use super::valid;
use crate::{
    context::Context,
    error::{Result, chain},
    report,
    resolve::Gap,
    work::target,
};

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Wait of a host whose namespace has its share of looks under way.
const CROWDED: Duration = Duration::from_secs(1);

pub async fn reconcile(host: Arc<DeserializeGuard<Host>>, ctx: Arc<Context>) -> Result<Action> {
    let host = valid(&host)?;
    if host.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let old = host.status.clone().unwrap_or_default();
    let generation = host.metadata.generation;
    let now = jiff::Timestamp::now();
    if !is_due(&old, generation, now) {
        let tried = old.last_tried.as_ref().map_or(now, |at| at.0);
        let rest = Duration::try_from(wait(&old) - now.duration_since(tried)).unwrap_or_default();
        return Ok(Action::requeue(rest + Duration::from_millis(100)));
    }
    let team = host.namespace().unwrap_or_default();
    let Some(_place) = ctx.hands.looks.take(&team, "").now_or_never() else {
        return Ok(Action::requeue(CROWDED));
    };
    let look = look(&ctx, host).await;
    // One event when it begins to fail; the condition tells the rest.
    if let (0, Look::Failed { reason, message }) = (old.failures.unwrap_or(0), &look) {
        ctx.events
            .tell(&host.object_ref(&()), true, reason, "Look", message)
            .await;
    }
    let new = status(&old, look, generation, jiff::Timestamp::now());
    report::status(&ctx.client, host, "pilothouse-host", &new).await?;
    ctx.succeeded(host);
    tracing::debug!(
        host = host.name_any(),
        failures = new.failures,
        "looked at a host"
    );
    Ok(Action::requeue(
        Duration::try_from(wait(&new)).unwrap_or(PATIENCE),
    ))
}

async fn look(ctx: &Context, host: &Host) -> Look {
    match try_look(ctx, host).await {
        Ok(look) => look,
        Err(gap) => {
            let reason = match &gap {
                Gap::Refused(refusal) => refusal.reason,
                Gap::Forbidden(_) => "AccountForbidden",
                Gap::Unseen(..) | Gap::Failed { .. } => "LookUpFailed",
            };
            Look::Failed {
                reason,
                message: chain(&gap),
            }
        }
    }
}

async fn try_look(ctx: &Context, host: &Host) -> Result<Look, Gap> {
    let (namespace, account) = (host.namespace(), &host.spec.service_account_name);
    let resolver = ctx
        .accounts
        .resolver(&namespace.unwrap_or_default(), account)
        .map_err(|e| Gap::Forbidden(chain(&e)))?;
    let target = target::of(&resolver, host, true).await?;
    let looked = reach::host::facts(&ctx.ways.fleet, &target, Instant::now() + PATIENCE).await;
    Ok(match looked {
        Ok(seen) => Look::Seen {
            facts: seen.facts,
            // Also where the Secret vouches for the key: from now on it is this machine that is meant.
            first_key: unpinned(host).then_some(seen.host_key.openssh),
        },
        Err(error) => Look::Failed {
            reason: error.reason(),
            message: chain(&error),
        },
    })
}

fn unpinned(host: &Host) -> bool {
    host.spec.host_key_policy == HostKeyPolicy::TrustOnFirstUse
        && host
            .status
            .as_ref()
            .is_none_or(|status| status.pinned_host_key.is_none())
}
