//! A pod of the step's own: created as the run's account, followed to its end, released once records have its result.

use std::collections::BTreeMap;

use crds::{
    execution::{Execution, State},
    journal::KEEP_BYTES,
    v1alpha1::{JobRun, PodStep, SecretKeyRef},
};
use decide::plan::Value;
use kube::{Client, ResourceExt as _};
use reach::pod::{self, EnvValue, Error, Piece, Placed, Recorder, StepPod};
use secrecy::SecretString;
use tokio::{sync::mpsc, time::Instant};

use super::{Outcome, PIECES, REST, TRACEPARENT, Work};
use crate::{context::Context, error::Result as Turn, sweeps};

/// Runs the step's pod to its end.
pub async fn step(work: &Work, step: &PodStep, env: &BTreeMap<String, Value>) -> Outcome {
    match work.prepared(|| prepared(work, step, env)).await {
        Ok((client, wanted, mask)) => carried(work, &client, &wanted, &mask).await,
        Err(outcome) => outcome,
    }
}

async fn prepared(
    work: &Work,
    step: &PodStep,
    env: &BTreeMap<String, Value>,
) -> Result<(Client, StepPod, Vec<SecretString>), Outcome> {
    let values = work.values(env).await?;
    let source = |name: &String| {
        let from = match values.places.get(name) {
            None => EnvValue::Plain(values.env[name].clone()),
            // Whoever starts the pod knows Secrets by their names alone.
            Some(SecretKeyRef { name, key, .. }) => EnvValue::Secret {
                name: name.clone(),
                key: key.clone(),
            },
        };
        (name.clone(), from)
    };
    let marked = work
        .marked()
        .map(|(name, mark)| (name, EnvValue::Plain(mark)));
    let traced = work
        .traceparent()
        .map(|place| (TRACEPARENT.to_owned(), EnvValue::Plain(place)));
    let env = env.keys().map(source);
    let env = traced.into_iter().chain(env).chain(marked).collect();
    Ok((
        work.resolver()?.client,
        wanted(work, step, env)?,
        values.mask,
    ))
}

fn wanted(
    work: &Work,
    step: &PodStep,
    env: BTreeMap<String, EnvValue>,
) -> Result<StepPod, Outcome> {
    let planned = work.step();
    Ok(StepPod {
        namespace: work.run.namespace.clone(),
        run: work.run.name.clone(),
        key: work.row.key.clone(),
        service_account: work.run.plan.account.clone(),
        image: step.image.clone(),
        command: work.render_all("pod.command", &step.command)?,
        args: work.render_all("pod.args", &step.args)?,
        env,
        resources: step.resources.clone(),
        run_as_user: step.run_as_user,
        delivery: planned.delivery_timeout.get(),
        execution: planned.timeout.get(),
    })
}

async fn carried(work: &Work, client: &Client, wanted: &StepPod, mask: &[SecretString]) -> Outcome {
    let asked = Instant::now();
    let deadline = asked + work.window();
    // A create that was not answered may have been done: from then on the pod is sought like one of an earlier leader.
    let mut begun = work.joining;
    let placed = loop {
        match pod::start(client, wanted).await {
            Ok(placed) => break placed,
            Err(error)
                if may_pass(&error, asked)
                    && Instant::now() < deadline
                    && !work.cancel.is_cancelled() =>
            {
                begun |= error.is_passing();
                tokio::time::sleep(REST).await;
            }
            Err(error) if begun => return refused(&error).of_joined(),
            Err(error) => return refused(&error),
        }
    };
    let placed = work.placed.get_or_init(|| placed);
    let (sink, pieces) = mpsc::channel(PIECES);
    let forwarding = work.forwarding(pieces);
    let outcome = followed(work, client, placed, mask, sink).await;
    // The chunks go to records before the row that ends the execution.
    let given = forwarding.await.expect("forwarding does not panic");
    work.handing_on(outcome, given).await
}

/// Follows the pod; asking again while the API is away is safe, because the pod is the record of its own end.
async fn followed(
    work: &Work,
    client: &Client,
    placed: &Placed,
    mask: &[SecretString],
    sink: mpsc::Sender<Piece>,
) -> Outcome {
    let mut refused_since = None;
    loop {
        let recorder = match Recorder::new(
            mask,
            usize::try_from(KEEP_BYTES).unwrap_or(usize::MAX),
            0,
            sink.clone(),
        ) {
            Ok(recorder) => recorder,
            Err(unmaskable) => return unmaskable.into(),
        };
        match pod::follow(client, placed, recorder, &work.cancel).await {
            Ok(outcome) => return outcome.into(),
            Err(error) if error.is_passing() => refused_since = None,
            Err(error) if may_pass(&error, *refused_since.get_or_insert_with(Instant::now)) => {}
            Err(error) => {
                return Outcome::new(State::Unknown, error.reason(), crate::error::chain(&error));
            }
        }
        tokio::time::sleep(REST).await;
    }
}

/// Whether asking again may help with what is refused since then.
fn may_pass(error: &Error, since: Instant) -> bool {
    error.is_passing() || refused(error).is_passing(since.elapsed())
}

fn refused(error: &Error) -> Outcome {
    let state = if error.is_passing() {
        State::DeliveryTimedOut
    } else {
        State::Undeliverable
    };
    Outcome::new(state, error.reason(), crate::error::chain(error))
}

impl From<pod::Outcome> for Outcome {
    fn from(of: pod::Outcome) -> Self {
        Self {
            state: of.state,
            reason: if of.state == State::Succeeded {
                String::new()
            } else {
                of.reason.into_owned()
            },
            message: of.message,
            exit_code: of.exit_code,
            started_at: of.started_at,
            finished_at: Some(of.finished_at),
            output_bytes: of.volume.output_bytes,
            dropped_bytes: of.volume.dropped_bytes,
            outputs: BTreeMap::new(),
            secret_uid: None,
        }
    }
}

/// Lets the pod go, or says that it was left, to be let go at the end of its run. One that did not end by itself is deleted first.
pub async fn release(work: &Work, row: &Execution) -> bool {
    let Ok(resolver) = work.resolver() else {
        return false;
    };
    let (client, by_itself) = (&resolver.client, row.exit_code.is_some());
    let released = async {
        let Some(placed) = placed(work, client).await? else {
            return Ok(());
        };
        if !by_itself {
            pod::cancel(client, &placed).await?;
        }
        pod::release(client, &placed).await
    };
    let released = released.await;
    if released.is_ok() && by_itself {
        sweeps::soon(&work.ctx, &resolver.namespace, &resolver.account);
    }
    if let Err(error) = &released {
        tracing::warn!(error = %crate::error::chain(error), "a step pod was not let go");
    }
    released.is_ok()
}

/// The pod as it was started or found here; one that may be there from before is looked for.
async fn placed(work: &Work, client: &Client) -> Result<Option<Placed>, Error> {
    if let Some(placed) = work.placed.get() {
        return Ok(Some(placed.clone()));
    }
    let decide::plan::Body::Pod { step, .. } = &work.step().body else {
        return Ok(None);
    };
    // Without what its templates say nothing was created.
    let Ok(wanted) = wanted(work, step, BTreeMap::new()) else {
        return Ok(None);
    };
    pod::attach(client, &wanted).await
}

/// Lets go of every step pod that a run has left, with the operator's own right: the run has ended, its results are safe, and its account may be gone.
pub async fn let_go(ctx: &Context, run: &JobRun) -> Turn<()> {
    let (namespace, uid) = (
        run.namespace().unwrap_or_default(),
        run.uid().unwrap_or_default(),
    );
    pod::release_all(&ctx.client, &namespace, &uid)
        .await
        .map_err(|source| crate::error::Error::LetGo(Box::new(source)))
}
