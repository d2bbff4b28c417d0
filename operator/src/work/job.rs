//! A Job that a step runs: a run of its own under a name that only this attempt has, waited for and never left behind.

use std::{collections::BTreeMap, time::Duration};

use crds::{
    execution::State,
    names::{ANNOTATION_EFFECT, FINALIZER_RUN, LABEL_RUN, LABEL_RUN_UID, LABEL_STEP, label},
    v1alpha1::{JobRun, JobRunSpec, LocalRef, Origin, clip, condition_is_true, find_condition},
};
use decide::{outputs, plan::Value};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::broadcast::Receiver,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Outcome, REST, Work,
    lines::Lines,
    outcome::{FORBIDDEN, LOOK_UP_FAILED},
};
use crate::{actions, error::chain as chain_of};

/// Between two looks at the run, since its end is heard of unless it comes in between.
const LOOKS: Duration = Duration::from_secs(5);
/// Bytes of a RunAction's reason.
const REASON_BYTES: usize = 256;
/// Reason of a part that was taken away by force.
const GONE: &str = "JobRunGone";

/// Runs the Job, or takes its run up again, and ends when that has ended.
pub async fn run(
    work: &Work,
    job: &str,
    revision: &str,
    parameters: &BTreeMap<String, Value>,
) -> Outcome {
    let begun = || async { begun(work, part(work, job, revision, parameters).await?).await };
    let part = match work.prepared(begun).await {
        Ok(part) => part,
        Err(outcome) => return outcome,
    };
    let lines = Lines::open(work);
    let ended = followed(work, &part, &lines).await;
    let output_bytes = lines.close().await;
    let ended = Outcome {
        output_bytes,
        ..ended
    };
    handing_on(work, &part, ended).await
}

/// The outcome with what the steps of the part have handed on.
async fn handing_on(work: &Work, part: &JobRun, outcome: Outcome) -> Outcome {
    let declared = &work.step().outputs;
    if outcome.state != State::Succeeded || declared.is_empty() {
        return outcome;
    }
    let uid = part.uid().unwrap_or_default();
    let rows = loop {
        match work.ctx.records.rows(&uid).await {
            Ok(rows) => break rows,
            Err(error) => {
                tracing::warn!(error = %chain_of(&error), "what a part hands on is not known yet; asking again");
                sleep(REST).await;
            }
        }
    };
    let ended_well = rows.iter().filter(|row| row.state == State::Succeeded);
    let given: Vec<_> = ended_well.map(|row| &row.outputs).collect();
    match outputs::of_part(declared, &given) {
        Ok(given) => work.handing_on(outcome, given).await,
        Err(refusal) => Outcome::new(State::Failed, refusal.reason, refusal.message),
    }
}

/// The run of this attempt; created, unless it is there.
async fn begun(work: &Work, wanted: JobRun) -> Result<JobRun, Outcome> {
    let runs = runs(work);
    match runs.create(&PostParams::default(), &wanted).await {
        Ok(created) => Ok(created),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = runs
                .get(&wanted.name_any())
                .await
                .map_err(|e| unanswered(&e))?;
            if there.spec.on_behalf_of == wanted.spec.on_behalf_of {
                return Ok(there);
            }
            let message = format!(
                "the name {} is taken by another JobRun; delete that one, and retry",
                wanted.name_any()
            );
            Err(Outcome::undeliverable("NameTaken", message))
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
            Err(Outcome::undeliverable(FORBIDDEN, status.message))
        }
        Err(error) => Err(unanswered(&error)),
    }
}

fn runs(work: &Work) -> Api<JobRun> {
    Api::namespaced(work.ctx.client.clone(), &work.run.namespace)
}

fn unanswered(error: &kube::Error) -> Outcome {
    Outcome::undeliverable(LOOK_UP_FAILED, chain_of(error))
}

async fn part(
    work: &Work,
    job: &str,
    revision: &str,
    parameters: &BTreeMap<String, Value>,
) -> Result<JobRun, Outcome> {
    let whole = runs(work)
        .get(&work.run.name)
        .await
        .map_err(|e| unanswered(&e))?;
    let mut spec = JobRunSpec {
        job_ref: Some(LocalRef { name: job.into() }),
        job_revision: Some(revision.into()),
        ticket: whole.spec.ticket.clone(),
        on_behalf_of: chain(&whole),
        requested_by: Some(work.ctx.me.clone()),
        ..JobRunSpec::new(&work.run.plan.account)
    };
    for (name, value) in parameters {
        match value {
            Value::Text(text) => {
                let text = work.render(&format!("job.parameters.{name}"), text)?;
                spec.parameters.insert(name.clone(), text);
            }
            // The value stays where it is.
            Value::Secret(_) | Value::Output(_) => {
                let (place, _) = work.hidden(value).await?;
                spec.secret_parameters.insert(name.clone(), place);
            }
        }
    }
    let mut part = JobRun::new("", spec);
    part.metadata = metadata(work, &whole);
    Ok(part)
}

fn metadata(work: &Work, whole: &JobRun) -> ObjectMeta {
    let (step, key) = (&work.step().name, work.row.key.digest());
    let labels = [
        (LABEL_RUN, label(&work.run.name)),
        (LABEL_RUN_UID, work.run.uid.clone()),
        (LABEL_STEP, label(step)),
    ];
    ObjectMeta {
        name: Some(outputs::object_name(&work.run.name, step, &key)),
        namespace: Some(work.run.namespace.clone()),
        labels: Some(labels.map(|(k, v)| (k.to_owned(), v)).into()),
        annotations: Some([(ANNOTATION_EFFECT.to_owned(), key)].into()),
        finalizers: Some(vec![FINALIZER_RUN.to_owned()]),
        owner_references: whole.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// Where the part comes from: this run, and all that this one comes from.
fn chain(whole: &JobRun) -> Vec<Origin> {
    let nearest = Origin {
        kind: JobRun::kind(&()).into_owned(),
        name: whole.name_any(),
        uid: whole.uid().unwrap_or_default(),
        at: None,
        requested_by: whole.spec.requested_by.clone().unwrap_or_default(),
    };
    let further = whole.spec.on_behalf_of.iter().cloned();
    std::iter::once(nearest).chain(further).collect()
}

/// Waits for the end of the run, and has it end when this work is cancelled or its time is over.
async fn followed(work: &Work, part: &JobRun, lines: &Lines) -> Outcome {
    let (name, uid) = (part.name_any(), part.uid().unwrap_or_default());
    let deadline = Instant::now() + work.left(work.step().timeout);
    let mut ends = work.ctx.wakes.ended.subscribe();
    let (mut why, mut said) = (None, String::new());
    loop {
        match runs(work).get_opt(&name).await {
            Ok(Some(there)) if there.uid().as_ref() == Some(&uid) => {
                let now = standing(&there);
                if now != said {
                    lines.tell(&now);
                    said = now;
                }
                if there.is_finished() {
                    return outcome(&there, &said, why);
                }
                if let Some(why) = why {
                    end(work, &there, why).await;
                }
            }
            Ok(_) => return gone(&name),
            // What was started is sought for as long as it takes.
            Err(error) => lines.tell(&format!("JobRun {name} cannot be read: {error}")),
        }
        tokio::select! {
            () = heard(&mut ends, &uid) => {}
            () = sleep(LOOKS) => {}
            () = work.cancel.cancelled(), if why.is_none() => why = Some(State::Cancelled),
            () = sleep_until(deadline), if why.is_none() => why = Some(State::TimedOut),
        }
    }
}

/// Waits until a run has ended, or so many have that it may have been missed.
async fn heard(ends: &mut Receiver<String>, uid: &str) {
    while ends.recv().await.is_ok_and(|ended| ended != uid) {}
}

/// Asks for the end of the run; asked again with the next look, where that did not go through.
async fn end(work: &Work, part: &JobRun, why: State) {
    let whole = &work.run.name;
    let because = if why == State::TimedOut {
        format!("the time of its step in JobRun {whole} is over")
    } else {
        format!("JobRun {whole}, which it is a part of, was cancelled")
    };
    let asked = actions::cancel(&work.ctx, part, "ended", &clip(&because, REASON_BYTES)).await;
    if let Err(error) = asked {
        tracing::warn!(error = %chain_of(&error), run = part.name_any(), "a part was not cancelled; it is asked again");
    }
}

/// One line that says how far the run is.
fn standing(run: &JobRun) -> String {
    let status = run.status.as_ref();
    let text = |of: Option<&String>| of.filter(|text| !text.is_empty()).cloned();
    let summary = text(status.and_then(|s| s.summary.as_ref()));
    let rest = [
        text(status.and_then(|s| s.progress.as_ref())).map(|progress| format!(" {progress}")),
        text(status.and_then(|s| s.message.as_ref())).map(|message| format!(": {message}")),
    ];
    let rest: String = rest.into_iter().flatten().collect();
    let summary = summary.unwrap_or_else(|| "created".to_owned());
    format!("JobRun {} {summary}{rest}", run.name_any())
}

fn outcome(run: &JobRun, said: &str, why: Option<State>) -> Outcome {
    let conditions = run.status.as_ref().map(|s| s.conditions.as_slice());
    let conditions = conditions.unwrap_or_default();
    if condition_is_true(conditions, "Complete") {
        return Outcome::new(State::Succeeded, "", said);
    }
    let failed = find_condition(conditions, "Failed");
    let reason = failed.map_or("Failed", |condition| condition.reason.as_str());
    Outcome::new(why.unwrap_or(State::Failed), reason, said)
}

/// It is held until its end is known here, so this was done by force.
fn gone(name: &str) -> Outcome {
    let message = format!(
        "JobRun {name} was removed before its end was seen; nobody knows what became of it"
    );
    Outcome::new(State::Unknown, GONE, message)
}
