//! Asks before a run begins: CommandPolicies about its commands, and people about what these hold. What was decided is on disk before anything follows from it.

use std::time::Duration;

use crds::v1alpha1::{ChangeTicket, JobRun};
use decide::{
    audit::{self, Ruling},
    change,
    gate::{self, Answer, Found, Question},
};
use jiff::Timestamp;
use kube::{Api, Resource as _, ResourceExt as _, api::ListParams, core::DeserializeGuard};

use super::{News, QUEUED, WAITING, observe::Kept};
use crate::{
    context::Context,
    error::{Result, observing},
    metrics::CommandFound,
};

/// What a run begins with.
#[derive(Default)]
pub struct Pass {
    warnings: Vec<String>,
    ruling: Option<Ruling>,
}

/// What keeps a run from beginning, and when to look again; or what it begins with.
pub async fn ask(
    ctx: &Context,
    run: &JobRun,
    kept: &Kept,
    now: Timestamp,
) -> Result<std::result::Result<Pass, (News, Duration)>> {
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    let books = ctx.policies.books(ctx, &namespace).await?;
    let found = gate::findings(&kept.plan, &books);
    if found.is_empty() {
        return Ok(Ok(Pass::default()));
    }
    let approvals = ctx.approvals.within(&namespace, |_| true).await?;
    let ticket = ticket(ctx, run, kept, &found, now).await?;
    let asked = Question {
        run: &name,
        plan: &kept.plan,
        hash: &kept.hash,
        approvals: &approvals,
        ticket: &ticket,
        now,
    };
    let answer = gate::answer(&asked, &found);
    let ruling = audit::ruling(&answer, &found);
    let news = match answer {
        Answer::Open { warnings, .. } => {
            for found in &found {
                let finding = &found.finding;
                ctx.metrics
                    .commands
                    .get_or_create(&CommandFound::of(finding))
                    .inc();
            }
            return Ok(Ok(Pass { warnings, ruling }));
        }
        Answer::Held { reason, message } => {
            ctx.memory.awaiting.note(&namespace, &name);
            if audit::is_told(run, reason, &message) {
                return Ok(Err((News::Waiting { reason, message }, QUEUED)));
            }
            News::Waiting { reason, message }
        }
        Answer::Never(refusal) => News::Refused(refusal),
    };
    Ok(Err(match unkept(ctx, run, kept, ruling, now).await? {
        Some(waiting) => (waiting, WAITING),
        None => (news, QUEUED),
    }))
}

/// The live ticket that covers a run, or in words why none does. Those that wait are noted before tickets are read, so that none comes to be live in between unheard.
async fn ticket(
    ctx: &Context,
    run: &JobRun,
    kept: &Kept,
    found: &[Found<'_>],
    now: Timestamp,
) -> Result<std::result::Result<String, String>> {
    if !gate::needs_ticket(found) {
        return Ok(Err("nothing asks for one".to_owned()));
    }
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    ctx.memory.awaiting.note(&namespace, &name);
    let tickets: Vec<ChangeTicket> = if let Some(only) = change::of_run(run) {
        let api = Api::namespaced(ctx.prompt.clone(), &namespace);
        let ticket = api.get_opt(only).await;
        let ticket = ticket.map_err(observing(format!("ChangeTicket {only}")))?;
        ticket.into_iter().collect()
    } else {
        let api = Api::<DeserializeGuard<_>>::namespaced(ctx.prompt.clone(), &namespace);
        let all = api.list(&ListParams::default()).await;
        let all = all.map_err(observing("ChangeTickets"))?.into_iter();
        all.filter_map(|ticket| ticket.0.ok()).collect()
    };
    Ok(change::covering(run, &kept.plan, &tickets, now))
}

/// What there is to wait for until a ruling is on disk.
async fn unkept(
    ctx: &Context,
    run: &JobRun,
    kept: &Kept,
    ruling: Option<Ruling>,
    now: Timestamp,
) -> Result<Option<News>> {
    let Some(ruling) = ruling else {
        return Ok(None);
    };
    let uid = run.uid().unwrap_or_default();
    let namespace = run.namespace().unwrap_or_default();
    let namespace_uid = ctx.namespaces.of_run(&uid, &namespace).await?;
    let statement = audit::of_run(run, &kept.hash, ruling, namespace_uid, now);
    if ctx.audit.is_kept(&uid, statement).await {
        return Ok(None);
    }
    let message = "what was decided about its commands is not on disk yet".to_owned();
    Ok(Some(News::without_records(message)))
}

/// Has it on disk that the run was let through, and tells of what was with a warning; what there is to wait for before.
pub async fn pass(
    ctx: &Context,
    run: &JobRun,
    kept: &Kept,
    pass: Pass,
    now: Timestamp,
) -> Result<Option<News>> {
    let waiting = unkept(ctx, run, kept, pass.ruling, now).await?;
    if waiting.is_some() || pass.warnings.is_empty() {
        return Ok(waiting);
    }
    let note = pass.warnings.join("; and ");
    let about = run.object_ref(&());
    ctx.events
        .tell(&about, true, "CommandWarned", "Begin", &note)
        .await;
    Ok(None)
}
