//! The writes of a run's turn: work begun, cancelled and settled, the status, and what is given back at the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{
    names::FINALIZER_RUN,
    receipt::Receipt,
    v1alpha1::{JobRun, JobRunStatus, RunAction, condition_is_true, find_condition},
};
use decide::{
    Refusal, archive, receipt,
    run::Next,
    status::{self, Frozen},
    trace::Ended,
};
use jiff::Timestamp;
use kube::{Api, Resource as _, ResourceExt as _, runtime::controller::Action};

use super::{
    super::{change, schedule},
    CALM, COUNTS, Turn, WAITING, has_begun,
    observe::{self, Kept},
    part, sign_off,
};
use crate::{
    actions, archives,
    context::Context,
    error::{Error, Result, chain, observing},
    finalizers,
    metrics::RunEnded,
    report,
    work::{self, RunFacts},
};

/// Puts the finalizer on before there can be any effect to end; the run as it is then, where it had none.
pub async fn hold(ctx: &Context, run: &JobRun, now: Timestamp) -> Result<Option<JobRun>> {
    if run.metadata.deletion_timestamp.is_some()
        || is_held(run)
        || receipt::overdue(run, now).is_some()
    {
        return Ok(None);
    }
    let mut finalizers = run.finalizers().to_vec();
    finalizers.push(FINALIZER_RUN.to_owned());
    put_finalizers(ctx, run, &finalizers).await
}

/// Whether the run waits for the operator to let it go.
fn is_held(run: &JobRun) -> bool {
    run.finalizers().iter().any(|f| f == FINALIZER_RUN)
}

/// Whether nothing is left to do for a run: it has ended, was let go, and stays.
pub fn is_done(ctx: &Context, run: &JobRun) -> bool {
    run.is_finished() && !is_held(run) && status::expires(run, ctx.args.archive_after).is_none()
}

/// The run with these finalizers; none where it is gone.
async fn put_finalizers(
    ctx: &Context,
    run: &JobRun,
    finalizers: &[String],
) -> Result<Option<JobRun>> {
    let put = finalizers::put(&ctx.client, run, finalizers).await?;
    put.iter()
        .cloned()
        .for_each(|run| ctx.memory.latest.wrote(run));
    Ok(put)
}

/// Has records keep that the run begins; a refusal where its name has begun before.
pub async fn claim(
    ctx: &Context,
    run: &JobRun,
    kept: &Kept,
    now: Timestamp,
) -> Result<Option<Refusal>> {
    let facts = observe::facts(ctx, run, kept).await?;
    let claimed = Receipt {
        namespace: facts.namespace,
        namespace_uid: facts.namespace_uid,
        run: facts.name,
        run_uid: facts.uid,
        plan: facts.hash,
        at: now,
    };
    let stands = ctx.records.claim(&claimed).await;
    let stands = stands.map_err(|e| Error::Records(Box::new(e)))?;
    Ok(receipt::repeated(&claimed, &stands))
}

/// Carries out what was decided; returns when to look again.
pub fn carry_out(ctx: &Arc<Context>, run: &RunFacts, next: &Next, now: Timestamp) -> Duration {
    for &(task, attempt) in &next.settle {
        work::settle(ctx, run, task, attempt);
    }
    for conclusion in &next.conclude {
        work::conclude(ctx, run, conclusion);
    }
    for &(task, attempt) in &next.cancel {
        if !ctx.memory.ledgers.cancel(&run.uid, task) {
            work::begin(ctx, run, task, attempt);
            ctx.memory.ledgers.cancel(&run.uid, task);
        }
    }
    for &(task, attempt) in &next.start {
        work::begin(ctx, run, task, attempt);
    }
    next.again.map_or(CALM, |at| {
        Duration::try_from(at.duration_since(now))
            .unwrap_or_default()
            .min(CALM)
    })
}

/// Writes the status where it changed, then marks the actions that it took in.
pub async fn report(
    ctx: &Context,
    run: &JobRun,
    turn: &Result<Turn>,
    now: Timestamp,
) -> Result<Action> {
    let turn = match turn {
        Ok(turn) => turn,
        Err(error) => return failed(ctx, run, error, now).await,
    };
    let told = status::Turn {
        frozen: turn.kept.as_ref().map(|k| Frozen {
            plan: &k.plan,
            name: &k.name,
            hash: &k.hash,
        }),
        control: Some(&turn.control.decided),
        taken: &turn.control.taken(run),
        begun: turn.begun,
        lets_go: turn.lets_go,
        crowded: ctx.hands.places.awaited_by(&run.uid().unwrap_or_default()),
        outlook: turn.news.outlook(),
    };
    let status = status::status(run, &told, now);
    let again = turn.again.max(Duration::from_millis(10));
    let old = run.status.as_ref();
    if old != Some(&status) {
        if let Some(rest) = too_soon(ctx, run, old, &status) {
            return Ok(Action::requeue(rest.min(again)));
        }
        write(ctx, run, &status).await?;
        tell(ctx, run, old, &status).await;
        sign_off::told(ctx, run, old, &status).await?;
        if status.finished_at.is_some() {
            ended(ctx, run, turn.kept.as_ref(), &status);
            if !is_held(run) {
                // It has no turn after this one.
                ctx.forget(&run.uid().unwrap_or_default());
            }
        }
    }
    for (action, verdict) in &turn.control.fresh {
        applied(ctx, action, verdict, now).await?;
    }
    Ok(Action::requeue(again))
}

async fn write(ctx: &Context, run: &JobRun, status: &JobRunStatus) -> Result<()> {
    let written = report::status(&ctx.client, run, "pilothouse-jobrun", status).await?;
    if let Some(run) = written {
        ctx.memory.latest.wrote(run);
    }
    Ok(())
}

/// A turn that failed says so; a conflict is no news, since the next turn comes at once.
async fn failed(ctx: &Context, run: &JobRun, error: &Error, now: Timestamp) -> Result<Action> {
    if !error.is_conflict() {
        let message = chain(error);
        let told = status::Turn {
            frozen: None,
            control: None,
            taken: &[],
            begun: has_begun(run),
            lets_go: None,
            crowded: false,
            outlook: status::Outlook::Errored {
                category: error.category(),
                message: &message,
            },
        };
        let status = status::status(run, &told, now);
        if run.status.as_ref() != Some(&status) {
            write(ctx, run, &status).await?;
            tell(ctx, run, run.status.as_ref(), &status).await;
        }
    }
    Ok(Action::await_change())
}

/// Counts may wait a moment, so that a run of many targets costs few writes; what people wait for is written at once.
fn too_soon(
    ctx: &Context,
    run: &JobRun,
    old: Option<&JobRunStatus>,
    new: &JobRunStatus,
) -> Option<Duration> {
    let uid = run.uid().unwrap_or_default();
    let mut reported = ctx.memory.reported.lock().expect("no holder panics");
    let calm = |s: &JobRunStatus| {
        (
            s.summary.clone(),
            s.started_at.clone(),
            s.forgiven_failures,
            s.actions.last().map(|taken| taken.uid.clone()),
            s.asked,
            s.plan_hash.clone(),
            s.released_at.clone(),
            sign_off::outcomes(s),
        )
    };
    let rest = reported
        .get(&uid)
        .and_then(|at| COUNTS.checked_sub(at.elapsed()));
    if let (Some(old), Some(rest)) = (old, rest)
        && calm(old) == calm(new)
    {
        return Some(rest);
    }
    reported.insert(uid, Instant::now());
    None
}

async fn tell(ctx: &Context, run: &JobRun, old: Option<&JobRunStatus>, new: &JobRunStatus) {
    let (before, after) = (old.map(category), category(new));
    let (bad, reason) = &after;
    // That it goes on and ends well is what everybody expects, and each Event costs as much as a status; those of a flood would be most of its cost.
    let expected = matches!(reason.as_str(), "Running" | "Succeeded" | "WaitingForPlace");
    if before.as_ref() == Some(&after) || expected {
        return;
    }
    let note = new
        .message
        .as_deref()
        .filter(|m| !m.is_empty())
        .unwrap_or(reason);
    ctx.events
        .tell(&run.object_ref(&()), *bad, reason, "Reconcile", note)
        .await;
}

/// Counts a run that has just ended, and tells its trace.
fn ended(ctx: &Context, run: &JobRun, kept: Option<&Kept>, status: &JobRunStatus) {
    let complete = condition_is_true(&status.conditions, "Complete");
    let outcome = if complete { "Complete" } else { "Failed" };
    ctx.metrics.runs.get_or_create(&RunEnded { outcome }).inc();
    let (Some(place), Some(kept)) = (ctx.traces.place(run), kept) else {
        return;
    };
    let (Some(start), Some(end)) = (&status.started_at, &status.finished_at) else {
        return;
    };
    let (uid, failed) = (run.uid().unwrap_or_default(), category(status));
    let (name, namespace) = (run.name_any(), run.namespace().unwrap_or_default());
    let run = Ended {
        uid: &uid,
        name: &name,
        namespace: &namespace,
        parent: place.parent,
        start: start.0,
        end: end.0,
        failed: failed.0.then_some(failed.1),
    };
    let rows = ctx.memory.ledgers.rows(&uid);
    let spans = decide::trace::spans(&run, &kept.plan, &rows);
    ctx.traces.tell(&place, spans);
}

/// What an Event about this status is called, the same as in conditions and errors; and whether it is a warning.
fn category(status: &JobRunStatus) -> (bool, String) {
    let reason = |type_| find_condition(&status.conditions, type_).map(|c| c.reason.clone());
    let summary = status.summary.clone().unwrap_or_default();
    match summary.as_str() {
        "Failed" | "Refused" => (true, reason("Failed").unwrap_or(summary)),
        "Waiting" => (false, reason("Running").unwrap_or(summary)),
        _ => (false, summary),
    }
}

async fn applied(
    ctx: &Context,
    action: &RunAction,
    verdict: &Result<(), Refusal>,
    now: Timestamp,
) -> Result<()> {
    let status = decide::action::status(action, verdict, now);
    report::status(&ctx.client, action, "pilothouse-runaction", &status)
        .await
        .map(drop)
}

/// After the end: machines and memory are given back, whoever waits is woken, and the run may go once it is in the archive.
pub async fn tidy(ctx: &Context, run: &JobRun, now: Timestamp) -> Result<Action> {
    let uid = run.uid().unwrap_or_default();
    let holds_pods = ctx.memory.ledgers.may_hold_pods(&uid);
    let namespace = if is_held(run) {
        let name = run.namespace().unwrap_or_default();
        Some(ctx.namespaces.of_run(&uid, &name).await)
    } else {
        None
    };
    ctx.forget(&uid);
    if let Some(namespace) = namespace {
        // A run that went before its task knew of it would be created anew, and a part or the work of a ticket would be missed.
        if !schedule::knows(ctx, run).await?
            || !change::knows(ctx, run).await?
            || !part::is_known(ctx, run).await?
            || !is_archived(ctx, run, &namespace?).await?
        {
            return Ok(Action::requeue(WAITING));
        }
        if holds_pods {
            work::let_go(ctx, run).await?;
        }
        let finalizers = run.finalizers().iter().filter(|f| *f != FINALIZER_RUN);
        put_finalizers(ctx, run, &finalizers.cloned().collect::<Vec<_>>()).await?;
    }
    let Some(expires) = status::expires(run, ctx.args.archive_after) else {
        return Ok(Action::await_change());
    };
    if let Ok(left) = Duration::try_from(expires.duration_since(now))
        && !left.is_zero()
    {
        return Ok(Action::requeue(left));
    }
    archives::remove(ctx, run).await?;
    Ok(Action::await_change())
}

/// Whether the run may go as far as the archive is concerned.
async fn is_archived(ctx: &Context, run: &JobRun, namespace_uid: &str) -> Result<bool> {
    let (name, namespace) = (run.name_any(), run.namespace().unwrap_or_default());
    // What is held of a run that has ended is not all of it.
    let runs = Api::<JobRun>::namespaced(ctx.client.clone(), &namespace);
    let whole = runs.get(&name).await;
    let whole = whole.map_err(observing(format!("JobRun {name}")))?;
    let actions = actions::about(&ctx.actions, &whole).await?;
    match archive::of_run(&whole, &actions, namespace_uid) {
        Some(all) => Ok(archives::take_in(ctx, &whole, &all).await),
        None => Ok(false),
    }
}
