//! BreakGlass: opens it, ends it at its instant, has the audit tell of both, and says whether somebody has looked at it since. It opens without waiting for records, which may be what is broken; until they have it on disk it is told again.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{Approval, BreakGlass, BreakGlassStatus, SubjectKind};
use decide::break_glass;
use jiff::Timestamp;
use kube::{
    Api, Resource as _, ResourceExt as _, api::ListParams, core::DeserializeGuard,
    runtime::controller::Action,
};

use super::valid;
use crate::{
    context::Context,
    error::{Result, observing},
    report,
};

const MANAGER: &str = "pilothouse-breakglass";
/// Wait before records are asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// Turns in which nothing is foreseen.
const CALM: Duration = Duration::from_mins(1);

pub async fn reconcile(
    glass: Arc<DeserializeGuard<BreakGlass>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let glass = valid(&glass)?;
    let approvals = approvals(&ctx, glass).await?;
    let others = others(&ctx, glass).await?;
    let now = Timestamp::now();
    let told = break_glass::status(glass, &approvals, &others, now);
    if glass.status.as_ref() != Some(&told.status) {
        report::status(&ctx.client, glass, MANAGER, &told.status).await?;
        tell(&ctx, glass, &told.status).await;
        // What the audit is told of is what is written.
        return Ok(Action::requeue(Duration::from_millis(1)));
    }
    let is_kept = is_kept(&ctx, glass, now).await?;
    ctx.succeeded(glass);
    let wait = told.again.map(|at| at.duration_since(now));
    let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
    let most = if is_kept { CALM } else { AGAIN };
    Ok(Action::requeue(
        wait.unwrap_or(most).clamp(Duration::from_millis(1), most),
    ))
}

async fn approvals(ctx: &Context, glass: &BreakGlass) -> Result<Vec<Approval>> {
    let name = glass.name_any();
    let about = |approval: &Approval| {
        let subject = &approval.spec.subject;
        subject.kind == SubjectKind::BreakGlass && subject.name == name
    };
    let namespace = glass.namespace().unwrap_or_default();
    ctx.approvals.within(&namespace, about).await
}

/// All of the namespace, which are asked for where one is to be opened.
async fn others(ctx: &Context, glass: &BreakGlass) -> Result<Vec<BreakGlass>> {
    if glass.status.as_ref().is_some_and(|s| s.digest.is_some()) {
        return Ok(Vec::new());
    }
    let namespace = glass.namespace().unwrap_or_default();
    let api = Api::<BreakGlass>::namespaced(ctx.prompt.clone(), &namespace);
    let listed = api.list(&ListParams::default()).await;
    Ok(listed.map_err(observing("other BreakGlasses"))?.items)
}

/// Whether the audit has on disk what there is to say of it by now.
async fn is_kept(ctx: &Context, glass: &BreakGlass, now: Timestamp) -> Result<bool> {
    let namespace = glass.namespace().unwrap_or_default();
    let uid = glass.uid().unwrap_or_default();
    let Some(statement) = break_glass::of_audit(glass, ctx.uid_of(&namespace).await?) else {
        ctx.audit.forget(&uid);
        return Ok(true);
    };
    let decision = statement.decision;
    if !ctx.audit.is_kept(&uid, statement).await {
        return Ok(false);
    }
    let status = break_glass::kept(glass, decision, now);
    report::status(&ctx.client, glass, MANAGER, &status).await?;
    Ok(true)
}

/// Tells where it has moved to.
async fn tell(ctx: &Context, glass: &BreakGlass, status: &BreakGlassStatus) {
    let Some((bad, reason, note)) = break_glass::moved(glass.status.as_ref(), status) else {
        return;
    };
    let about = glass.object_ref(&());
    ctx.events
        .tell(&about, bad, reason, "BreakGlass", note)
        .await;
}
