//! Approval: says whether a decision counts for what its object says now, or for the step that waits for it. Runs ask for themselves.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crds::v1alpha1::{
    Approval, BreakGlass, ChangeSolution, ChangeTicket, Job, JobRun, Script, SubjectKind,
};
use decide::{Refusal, approval, audit, break_glass, calls, change as changes, sign_off};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};

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
    let (namespace, subject) = (
        approval.namespace().unwrap_or_default(),
        &approval.spec.subject,
    );
    let (kind, name) = (subject.kind, subject.name.as_str());
    if subject.step.is_some() {
        return of_step(ctx, approval, now).await;
    }
    let found = match kind {
        SubjectKind::Script => of_script(ctx, &namespace, name).await?,
        SubjectKind::Job => of_job(ctx, &namespace, name).await?,
        SubjectKind::JobRun => of_run(ctx, &namespace, name).await?,
        SubjectKind::ChangeTicket => return of_ticket(ctx, approval, now).await,
        SubjectKind::ChangeSolution => return of_solution(ctx, approval, now).await,
        SubjectKind::BreakGlass => return of_glass(ctx, approval, now).await,
    };
    let Some((digest, writers)) = &found else {
        return Ok(Err(not_found(&namespace, approval)));
    };
    let content = approval::Content {
        kind,
        name,
        step: None,
        digest,
        writers,
    };
    Ok(content.counts(approval, now))
}

fn not_found(namespace: &str, approval: &Approval) -> Refusal {
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
    let (namespace, subject) = (
        approval.namespace().unwrap_or_default(),
        &approval.spec.subject,
    );
    let name = subject.name.as_str();
    let runs = Api::<JobRun>::namespaced(ctx.client.clone(), &namespace);
    let found = runs.get_opt(name).await;
    let found = found.map_err(observing(format!("JobRun {name}")))?;
    let kept = match &found {
        Some(run) => plan_of(ctx, run).await?,
        None => None,
    };
    let Some((run, kept)) = found.zip(kept) else {
        return Ok(Err(not_found(&namespace, approval)));
    };
    let planned = (&*kept.plan, kept.hash.as_str());
    Ok(sign_off::counts(approval, &run, planned, now))
}

/// Who may decide on a ticket stands in the ticket.
async fn of_ticket(
    ctx: &Context,
    approval: &Approval,
    now: Timestamp,
) -> Result<std::result::Result<(), Refusal>> {
    let namespace = approval.namespace().unwrap_or_default();
    let name = &approval.spec.subject.name;
    let tickets = Api::<ChangeTicket>::namespaced(ctx.client.clone(), &namespace);
    let found = tickets.get_opt(name).await;
    let Some(ticket) = found.map_err(observing(format!("ChangeTicket {name}")))? else {
        return Ok(Err(not_found(&namespace, approval)));
    };
    let Some(content) = change::content(ctx, &ticket, now).await? else {
        return Ok(Err(not_found(&namespace, approval)));
    };
    Ok(changes::counts(&ticket, &content, approval, now))
}

/// So it does in a solution.
async fn of_solution(
    ctx: &Context,
    approval: &Approval,
    now: Timestamp,
) -> Result<std::result::Result<(), Refusal>> {
    let namespace = approval.namespace().unwrap_or_default();
    let name = &approval.spec.subject.name;
    let solutions = Api::<ChangeSolution>::namespaced(ctx.client.clone(), &namespace);
    let found = solutions.get_opt(name).await;
    let Some(found) = found.map_err(observing(format!("ChangeSolution {name}")))? else {
        return Ok(Err(not_found(&namespace, approval)));
    };
    let Some(content) = solution::content(ctx, &found).await? else {
        return Ok(Err(not_found(&namespace, approval)));
    };
    Ok(changes::counts(&found, &content, approval, now))
}

/// When it ended stands in its status.
async fn of_glass(
    ctx: &Context,
    approval: &Approval,
    now: Timestamp,
) -> Result<std::result::Result<(), Refusal>> {
    let namespace = approval.namespace().unwrap_or_default();
    let name = &approval.spec.subject.name;
    let glasses = Api::<BreakGlass>::namespaced(ctx.client.clone(), &namespace);
    let found = glasses.get_opt(name).await;
    let found = found.map_err(observing(format!("BreakGlass {name}")))?;
    Ok(found.map_or_else(
        || Err(not_found(&namespace, approval)),
        |glass| break_glass::counts(&glass, approval, now),
    ))
}

async fn of_script(ctx: &Context, namespace: &str, name: &str) -> Result<Option<Now>> {
    let scripts = Api::<Script>::namespaced(ctx.client.clone(), namespace);
    let found = scripts.get_opt(name).await;
    let found = found.map_err(observing(format!("Script {name}")))?;
    Ok(found.map(|script| {
        let writers = script.spec.requested_by.iter().map(|by| by.user.clone());
        (decide::script::digest(&script.spec), writers.collect())
    }))
}

/// What a Job is comes from all that it reaches; one that could not be run cannot be decided on.
async fn of_job(ctx: &Context, namespace: &str, name: &str) -> Result<Option<Now>> {
    let jobs = Api::<Job>::namespaced(ctx.client.clone(), namespace);
    let found = jobs.get_opt(name).await;
    let Some(job) = found.map_err(observing(format!("Job {name}")))? else {
        return Ok(None);
    };
    let reached = reached::reached(&ctx.client, namespace, &job.spec).await;
    let reached = reached.map_err(observing("what the job names"))?;
    let revisions = calls::revisions(name, &job.spec, &reached.contents());
    let own = job.spec.requested_by.iter().map(|by| by.user.clone());
    let others = reached
        .writers()
        .filter_map(|writer| writer.by().map(|by| by.user.clone()));
    let writers = own.chain(others).collect();
    Ok(revisions.ok().map(|revisions| (revisions.own, writers)))
}

async fn of_run(ctx: &Context, namespace: &str, name: &str) -> Result<Option<Now>> {
    let runs = Api::<JobRun>::namespaced(ctx.client.clone(), namespace);
    let found = runs.get_opt(name).await;
    let Some(run) = found.map_err(observing(format!("JobRun {name}")))? else {
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
