//! A script on a host: exactly once through the toolkit's journal, or at most once where nothing may be copied.

use std::{collections::BTreeMap, time::Duration};

use crds::{
    execution::{State, Via},
    journal::{self, End, EndReason, KeyRequest, Program, Request},
    v1alpha1::{Host, Interpreter},
};
use decide::plan::ScriptBody;
use kube::ResourceExt as _;
use reach::{
    host::{self, Outcome as Seen, Windows},
    ssh::Target,
};
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;

use super::{Outcome, PIECES, TRACEPARENT, Work, target, values::Values};

/// How long a host is told that it may forget.
const PATIENCE: Duration = Duration::from_secs(20);

/// A script with all that it is told.
pub struct Ready {
    pub interpreter: Interpreter,
    pub content: String,
    pub values: Values,
}

/// Carries a script to the task's host and follows it to its end.
pub async fn script(work: &Work, script: &ScriptBody) -> Outcome {
    let (outcome, given) = carried(work, || ready(work, script)).await;
    work.handing_on(outcome, given).await
}

/// The script of a step, with its values.
pub async fn ready(work: &Work, script: &ScriptBody) -> Result<Ready, Outcome> {
    let mut values = work.values(&script.env).await?;
    work.acceptable(&script.accepts, &values)?;
    if let Some(traceparent) = work.traceparent() {
        values.env.entry(TRACEPARENT.into()).or_insert(traceparent);
    }
    values.env.extend(work.marked());
    Ok(Ready {
        interpreter: script.interpreter,
        content: script.content.clone(),
        values,
    })
}

/// Carries what is made ready, and gives what its output hands on, declared or not.
pub async fn carried<F>(work: &Work, ready: impl Fn() -> F) -> (Outcome, BTreeMap<String, String>)
where
    F: Future<Output = Result<Ready, Outcome>>,
{
    let prepared = || async {
        let target = machine(work).await?;
        Ok((target, request(work, ready().await?)))
    };
    match work.prepared(prepared).await {
        Ok((target, request)) if work.row.via == Via::Plain => {
            plainly(work, &target, &request).await
        }
        Ok((target, request)) => {
            let target = work.reached.get_or_init(|| target);
            journaled(work, target, request).await
        }
        Err(outcome) => (outcome, BTreeMap::new()),
    }
}

fn request(work: &Work, ready: Ready) -> Request {
    let (step, values) = (work.step(), ready.values);
    let mask = values.mask.iter();
    Request {
        version: journal::VERSION,
        key: work.row.key.clone(),
        epoch: work.ctx.epoch,
        program: Program::Script {
            interpreter: interpreter(ready.interpreter),
            content: ready.content,
        },
        env: values.env,
        mask: mask
            .map(|secret| secret.expose_secret().to_owned())
            .collect(),
        run_as: step.run_as.clone(),
        workdir: None,
        timeout_seconds: u32::try_from(step.timeout.get().as_millis().div_ceil(1000)).ok(),
        grace_seconds: journal::GRACE_SECONDS,
        keep_bytes: journal::KEEP_BYTES,
        resume_from: 0,
    }
}

/// The task's host, if it is still the machine that was planned with.
pub async fn machine(work: &Work) -> Result<Target, Outcome> {
    let resolver = work.resolver()?;
    let planned = work.target();
    let is_same = |host: &Host| {
        host.uid().as_deref() == Some(&planned.uid) && host.spec.address == planned.address
    };
    let lane = work.run.plan.lane(work.task.step);
    let listed = resolver.listed.host(&resolver, lane, &planned.name).await;
    // Whatever does not fit may only be old.
    if let Some(listed) = listed.filter(is_same)
        && let Ok(target) = target::of(&resolver, &listed, false).await
    {
        return Ok(target);
    }
    let found = resolver.host(&planned.name, "targets").await?;
    if !is_same(&found) {
        return Err(Outcome::undeliverable(
            "HostChanged",
            format!(
                "Host {} is not the one that was planned with; create the run anew",
                planned.name
            ),
        ));
    }
    Ok(target::of(&resolver, &found, false).await?)
}

async fn journaled(
    work: &Work,
    target: &Target,
    request: Request,
) -> (Outcome, BTreeMap<String, String>) {
    let (sink, pieces) = mpsc::channel(PIECES);
    let forwarding = work.forwarding(pieces);
    let windows = Windows {
        delivery: work.step().delivery_timeout.get(),
        reattach: work.reattach(),
        begun: work.joining,
    };
    let (fleet, toolkit) = (&work.ctx.ways.fleet, &work.ctx.ways.toolkit);
    let seen = host::run(
        fleet,
        toolkit,
        target,
        &request,
        windows,
        &sink,
        &work.cancel,
    )
    .await;
    drop(sink);
    // The chunks go to records before the row that ends the execution.
    let given = forwarding.await.expect("forwarding does not panic");
    if is_stale(&seen) {
        // Where a newer leader has taken over, this process ends within its lease and must not write what the other knows better.
        tokio::time::sleep(2 * work.ctx.args.lease()).await;
    }
    (told(seen), given)
}

fn is_stale(seen: &Result<Seen, host::Error>) -> bool {
    let (Err(error) | Ok(Seen::Detached { cause: error, .. })) = seen else {
        return false;
    };
    matches!(error, host::Error::Refused { refused, .. } if refused.reason == journal::RefusedReason::StaleLeader)
}

fn told(seen: Result<Seen, host::Error>) -> Outcome {
    match seen {
        Ok(Seen::Ended(end)) => ended_as(&end),
        Ok(Seen::Detached { cause, .. }) => Outcome::new(
            State::Unknown,
            "HostLost",
            format!(
                "the host was lost and not found again: {}",
                crate::error::chain(&cause)
            ),
        ),
        Ok(Seen::Unknown { cause }) => Outcome::new(
            State::Unknown,
            "CutOff",
            format!(
                "it was cut off in the middle and is not repeated: {}",
                crate::error::chain(&cause)
            ),
        ),
        Ok(Seen::Cancelled) => Outcome::never_started(),
        Ok(Seen::CancelUndelivered { cause }) => Outcome::new(
            State::Unknown,
            "CancelUndelivered",
            format!(
                "the host could not be told to end it: {}",
                crate::error::chain(&cause)
            ),
        ),
        Err(error) => refused(&error),
    }
}

fn refused(error: &host::Error) -> Outcome {
    let state = match error {
        host::Error::Delivery { source, .. } if source.is_passing() => State::DeliveryTimedOut,
        host::Error::Refused { refused, .. }
            if refused.reason == journal::RefusedReason::Cancelled =>
        {
            State::Cancelled
        }
        _ => State::Undeliverable,
    };
    Outcome::new(state, error.reason(), crate::error::chain(error))
}

fn ended_as(end: &End) -> Outcome {
    let signal = end
        .signal
        .map(|s| format!("ended by signal {s}"))
        .unwrap_or_default();
    let text = if end.message.is_empty() {
        signal
    } else {
        end.message.clone()
    };
    let outcome = match end.reason {
        EndReason::Exited => {
            let outcome = Outcome::exited(end.exit_code.unwrap_or(-1));
            let said = [outcome.message.as_str(), &end.message];
            let message = said.into_iter().filter(|m| !m.is_empty());
            let message = message.collect::<Vec<_>>().join("; ");
            Outcome { message, ..outcome }
        }
        EndReason::Signaled => Outcome::new(State::Failed, "Signaled", text),
        EndReason::TimedOut => Outcome::new(
            State::TimedOut,
            "TimedOut",
            "ran longer than the step's timeout and was ended with its process group",
        ),
        EndReason::Cancelled => Outcome::new(State::Cancelled, "Cancelled", text),
        EndReason::Lost => Outcome::new(
            State::Unknown,
            "Lost",
            format!("the machine or its supervisor ended in the middle; {text}"),
        ),
        EndReason::SpawnFailed => Outcome::new(State::Undeliverable, "SpawnFailed", text),
    };
    Outcome {
        started_at: end.started_at,
        finished_at: Some(end.finished_at),
        output_bytes: end.output_bytes,
        dropped_bytes: end.dropped_bytes,
        ..outcome
    }
}

async fn plainly(
    work: &Work,
    target: &Target,
    request: &Request,
) -> (Outcome, BTreeMap<String, String>) {
    let (sink, pieces) = mpsc::channel(PIECES);
    let forwarding = work.forwarding(pieces);
    let delivery = work.step().delivery_timeout.get();
    let outcome = tokio::select! {
        seen = host::run_plainly(&work.ctx.ways.fleet, target, request, delivery, &sink) => told(seen),
        () = work.cancel.cancelled() => Outcome::new(State::Unknown, "CancelledPlain", "the connection was closed; without the toolkit nobody can say whether it has ended"),
    };
    drop(sink);
    let given = forwarding.await.expect("forwarding does not panic");
    (outcome, given)
}

fn key(work: &Work) -> KeyRequest {
    KeyRequest {
        version: journal::VERSION,
        key: work.row.key.clone(),
        epoch: work.ctx.epoch,
    }
}

/// Tells the host that the result is safe; a host that does not hear it keeps the journal until it is old.
pub async fn forget(work: &Work) {
    // What was never reached has no journal of it.
    let Some(target) = work.reached.get() else {
        return;
    };
    if let Err(error) = host::forget(
        &work.ctx.ways.fleet,
        &work.ctx.ways.toolkit,
        target,
        &key(work),
        PATIENCE,
    )
    .await
    {
        tracing::debug!(error = %crate::error::chain(&error), "a host keeps a journal until it is old");
    }
}

fn interpreter(of: Interpreter) -> journal::Interpreter {
    match of {
        Interpreter::Shell => journal::Interpreter::Shell,
        Interpreter::Bash => journal::Interpreter::Bash,
        Interpreter::Python => journal::Interpreter::Python,
    }
}
