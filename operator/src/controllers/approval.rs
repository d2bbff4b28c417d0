//! Approval: says whether a decision counts for what its object says now, or for the step that waits for it. Runs ask for themselves.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use crds::v1alpha1::{
    Approval, BreakGlass, ChangeSolution, ChangeTicket, Job, JobRun, Script, SubjectKind,
};
use decide::{
    Refusal, approval, audit, break_glass, calls,
    change::{self as changes, Content, Reviewing},
    sign_off,
};
use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt as _,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};
use serde::de::DeserializeOwned;

use super::{change, run, solution, valid};
use crate::{
    context::Context,
    error::{Error, Result, observing},
    reached, report, scope,
};

/// Wait before records are asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// What is decided on, as it is now: its digest, and who wrote it.
type Now = (String, BTreeSet<String>);

/// Has an Approval looked at when the Script, Job, ChangeTicket, ChangeSolution or BreakGlass that it is about was written.
pub fn following(
    approvals: Controller<DeserializeGuard<Approval>>,
    ctx: &Context,
    part: &str,
) -> Controller<DeserializeGuard<Approval>> {
    let known = approvals.store();
    let about = move |kind: SubjectKind, namespace: Option<String>, name: &str| {
        let is = |approval: &Arc<DeserializeGuard<Approval>>| {
            let subject = &approval.0.as_ref().ok()?.spec.subject;
            let is =
                approval.namespace() == namespace && subject.kind == kind && subject.name == name;
            is.then(|| ObjectRef::from_obj(&**approval))
        };
        known.state().iter().filter_map(is).collect::<Vec<_>>()
    };
    let (of_script, of_ticket, of_glass) = (about.clone(), about.clone(), about.clone());
    let of_solution = about.clone();
    let client = &ctx.client;
    approvals
        .watches(
            scope::within::<DeserializeGuard<Script>>(client, part),
            watcher::Config::default(),
            move |script| of_script(SubjectKind::Script, script.namespace(), &script.name_any()),
        )
        .watches(
            scope::within::<DeserializeGuard<Job>>(client, part),
            watcher::Config::default(),
            move |job| about(SubjectKind::Job, job.namespace(), &job.name_any()),
        )
        .watches(
            scope::within::<DeserializeGuard<ChangeTicket>>(client, part),
            watcher::Config::default(),
            move |ticket| {
                let name = ticket.name_any();
                of_ticket(SubjectKind::ChangeTicket, ticket.namespace(), &name)
            },
        )
        .watches(
            scope::within::<DeserializeGuard<ChangeSolution>>(client, part),
            watcher::Config::default(),
            move |solution| {
                let name = solution.name_any();
                of_solution(SubjectKind::ChangeSolution, solution.namespace(), &name)
            },
        )
        .watches(
            scope::within::<DeserializeGuard<BreakGlass>>(client, part),
            watcher::Config::default(),
            move |glass| {
                of_glass(
                    SubjectKind::BreakGlass,
                    glass.namespace(),
                    &glass.name_any(),
                )
            },
        )
}

pub async fn reconcile(
    approval: Arc<DeserializeGuard<Approval>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let approval = valid(&approval)?;
    if approval.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let now = Timestamp::now();
    let counts = counts(&ctx, approval, now).await?;
    if audit::is_news(approval, &counts) && !is_kept(&ctx, approval, &counts, now).await? {
        // The status says what is on disk.
        return Ok(Action::requeue(AGAIN));
    }
    let status = approval::status(approval, &counts, now);
    if approval.status.as_ref() != Some(&status) {
        report::status(&ctx.client, approval, "pilothouse-approval", &status).await?;
        if approval.spec.subject.kind == SubjectKind::Script {
            // What the Script says of itself rests on this.
            let namespace = approval.namespace().unwrap_or_default();
            ctx.wake_script(&namespace, &approval.spec.subject.name);
        }
    }
    ctx.succeeded(approval);
    let left = approval.spec.expires.as_ref().filter(|_| counts.is_ok());
    let left = left.and_then(|at| Duration::try_from(at.0.duration_since(now)).ok());
    let hour = Duration::from_hours(1);
    Ok(Action::requeue(left.map_or(hour, |left| left.min(hour))))
}

/// Whether it is on disk what became of a decision.
async fn is_kept(
    ctx: &Context,
    approval: &Approval,
    counts: &std::result::Result<(), Refusal>,
    now: Timestamp,
) -> Result<bool> {
    let namespace = approval.namespace().unwrap_or_default();
    let namespace_uid = ctx.uid_of(&namespace).await?;
    let statement = audit::of_approval(approval, counts, namespace_uid, now);
    let uid = approval.uid().unwrap_or_default();
    Ok(ctx.audit.is_kept(&uid, statement).await)
}

async fn counts(
    ctx: &Context,
    approval: &Approval,
    now: Timestamp,
) -> Result<std::result::Result<(), Refusal>> {
    let subject = &approval.spec.subject;
    if subject.step.is_some() {
        return of_step(ctx, approval, now).await;
    }
    let found = match subject.kind {
        SubjectKind::Script => of_script(ctx, approval).await?,
        SubjectKind::Job => of_job(ctx, approval).await?,
        SubjectKind::JobRun => of_run(ctx, approval).await?,
        SubjectKind::ChangeTicket => {
            let found = named(ctx, approval).await?;
            let content = match &found {
                Some(ticket) => change::content(ctx, ticket, now).await?,
                None => None,
            };
            return Ok(of_change(approval, found.as_ref().zip(content), now));
        }
        SubjectKind::ChangeSolution => {
            let found = named(ctx, approval).await?;
            let content = match &found {
                Some(solution) => solution::content(ctx, solution).await?,
                None => None,
            };
            return Ok(of_change(approval, found.as_ref().zip(content), now));
        }
        SubjectKind::BreakGlass => return of_glass(ctx, approval, now).await,
    };
    let Some((digest, writers)) = &found else {
        return Ok(Err(not_found(approval)));
    };
    let content = approval::Content {
        kind: subject.kind,
        name: &subject.name,
        step: None,
        digest,
        writers,
    };
    Ok(content.counts(approval, now))
}

/// The object of this kind that a decision is about, where it is there.
async fn named<K>(ctx: &Context, approval: &Approval) -> Result<Option<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned,
{
    let namespace = approval.namespace().unwrap_or_default();
    let name = &approval.spec.subject.name;
    let api = Api::<K>::namespaced(ctx.client.clone(), &namespace);
    let found = api.get_opt(name).await;
    found.map_err(observing(format!("{} {name}", K::kind(&()))))
}

fn not_found(approval: &Approval) -> Refusal {
    let namespace = approval.namespace().unwrap_or_default();
    let (kind, name) = (approval.spec.subject.kind, &approval.spec.subject.name);
    let message =
        format!("there is no {kind:?} {name} that could be decided on in namespace {namespace}");
    Refusal::new("NotFound", message)
}

/// What the run has come to is in its status.
async fn of_step(
    ctx: &Context,
    approval: &Approval,
    now: Timestamp,
) -> Result<std::result::Result<(), Refusal>> {
    let found = named(ctx, approval).await?;
    let kept = match &found {
        Some(run) => plan_of(ctx, run).await?,
        None => None,
    };
    let Some((run, kept)) = found.zip(kept) else {
        return Ok(Err(not_found(approval)));
    };
    let planned = (&*kept.plan, kept.hash.as_str());
    Ok(sign_off::counts(approval, &run, planned, now))
}

/// Who may decide on a ticket or a solution stands in what it says itself.
fn of_change<'a>(
    approval: &Approval,
    found: Option<(impl Into<Reviewing<'a>>, Content)>,
    now: Timestamp,
) -> std::result::Result<(), Refusal> {
    let (said, content) = found.ok_or_else(|| not_found(approval))?;
    changes::counts(said, &content, approval, now)
}

/// When it ended stands in its status.
async fn of_glass(
    ctx: &Context,
    approval: &Approval,
    now: Timestamp,
) -> Result<std::result::Result<(), Refusal>> {
    let found: Option<BreakGlass> = named(ctx, approval).await?;
    Ok(found.map_or_else(
        || Err(not_found(approval)),
        |glass| break_glass::counts(&glass, approval, now),
    ))
}

async fn of_script(ctx: &Context, approval: &Approval) -> Result<Option<Now>> {
    let found: Option<Script> = named(ctx, approval).await?;
    Ok(found.map(|script| {
        let writers = script.spec.requested_by.iter().map(|by| by.user.clone());
        (decide::script::digest(&script.spec), writers.collect())
    }))
}

/// What a Job is comes from all that it reaches; one that could not be run cannot be decided on.
async fn of_job(ctx: &Context, approval: &Approval) -> Result<Option<Now>> {
    let Some(job) = named::<Job>(ctx, approval).await? else {
        return Ok(None);
    };
    let namespace = approval.namespace().unwrap_or_default();
    let reached = reached::reached(&ctx.client, &namespace, &job.spec).await;
    let reached = reached.map_err(observing("what the job names"))?;
    let name = &approval.spec.subject.name;
    let revisions = calls::revisions(name, &job.spec, &reached.contents());
    let own = job.spec.requested_by.iter().map(|by| by.user.clone());
    let others = reached
        .writers()
        .filter_map(|writer| writer.by().map(|by| by.user.clone()));
    let writers = own.chain(others).collect();
    Ok(revisions.ok().map(|revisions| (revisions.own, writers)))
}

async fn of_run(ctx: &Context, approval: &Approval) -> Result<Option<Now>> {
    let Some(run) = named(ctx, approval).await? else {
        return Ok(None);
    };
    let kept = plan_of(ctx, &run).await?;
    Ok(kept.map(|kept| (kept.hash, kept.plan.writers.clone())))
}

/// The plan of a run; none where that cannot be had any more.
async fn plan_of(ctx: &Context, run: &JobRun) -> Result<Option<run::Kept>> {
    match run::plan_of(ctx, run).await {
        Err(Error::PlanChanged { .. } | Error::Invalid(_)) => Ok(None),
        found => found,
    }
}
