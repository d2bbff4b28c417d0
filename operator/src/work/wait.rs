//! Steps that have no effect: an object is looked at until it meets a condition, or time passes.

use crds::{
    execution::State,
    v1alpha1::{PauseStep, WaitStep},
};
use decide::condition::{self, Conditions};
use reach::object::{self, Kind};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Outcome, REST, Work};

/// Looks at the object until the condition holds, or the step's time, counted from its first start, is over.
pub async fn until(work: &Work, step: &WaitStep) -> Outcome {
    let prepared = || async {
        let name = work.render("wait.object.name", &step.object.name)?;
        let client = work.resolver()?.client;
        let wanted = &step.object;
        let kind = object::kind(&client, &wanted.api_version, &wanted.kind).await?;
        Ok((client, kind, name))
    };
    let (client, kind, name) = match work.prepared(prepared).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let deadline = Instant::now() + left(work, work.step().timeout);
    let every = step.every.get().max(REST);
    loop {
        let waits = match holds(work, step, &client, &kind, &name).await {
            Ok(None) => return Outcome::new(State::Succeeded, "", ""),
            Ok(Some(waits)) => waits,
            Err(outcome) => return outcome,
        };
        if Instant::now() >= deadline {
            let message = format!("{} {name}: {waits}", step.object.kind);
            return Outcome::new(State::TimedOut, "TimedOut", message);
        }
        tokio::select! {
            () = sleep(every.min(deadline.saturating_duration_since(Instant::now()))) => {}
            () = work.cancel.cancelled() => return Outcome::new(State::Cancelled, "Cancelled", waits),
        }
    }
}

/// None once the condition holds, else what is waited for.
async fn holds(
    work: &Work,
    step: &WaitStep,
    client: &kube::Client,
    kind: &Kind,
    name: &str,
) -> Result<Option<String>, Outcome> {
    let found = match object::look(client, kind, &work.run.namespace, name).await {
        Ok(found) => found,
        Err(error) if error.is_passing() => return Ok(Some(error.said())),
        Err(error) => return Err(error.into()),
    };
    let Some(found) = found else {
        return Ok(Some("it is not there".into()));
    };
    let (until, variables) = (step.until.clone(), json!({ "object": found }));
    let asked = tokio::task::spawn_blocking(move || {
        condition::with_room(|| Conditions::default().holds("wait.until", &until, &variables))
    });
    match asked
        .await
        .expect("a condition is evaluated where it may panic")
    {
        Some(Ok(true)) => Ok(None),
        Some(Ok(false)) => Ok(Some(format!("{} does not hold", step.until))),
        // A field that is not there may come.
        Some(Err(refusal)) => Ok(Some(refusal.message)),
        None => Ok(Some(format!("{} cannot be evaluated", step.until))),
    }
}

/// Lets the time pass that is left of the pause since its first start.
pub async fn pause(work: &Work, step: &PauseStep) -> Outcome {
    tokio::select! {
        () = sleep(left(work, step.duration)) => Outcome::new(State::Succeeded, "", ""),
        () = work.cancel.cancelled() => Outcome::new(State::Cancelled, "Cancelled", "cancelled while it paused"),
    }
}

/// What is left of a time that began with the attempt, whichever operator began it.
pub fn left(work: &Work, whole: crds::v1alpha1::Duration) -> std::time::Duration {
    let began = work.row.started_at.unwrap_or_else(jiff::Timestamp::now);
    let passed = jiff::Timestamp::now().duration_since(began);
    let passed = std::time::Duration::try_from(passed).unwrap_or_default();
    whole.get().saturating_sub(passed)
}
