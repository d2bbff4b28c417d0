//! Steps that have no effect: an object is looked at until it meets a condition, or time passes.

use crds::{
    execution::State,
    v1alpha1::{PauseStep, WaitStep},
};
use decide::condition::{self, Conditions};
use kube::core::DynamicObject;
use reach::object;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Outcome, Work,
    look::{Rests, Seen},
};

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
    let look = || async {
        let found = object::look(&client, &kind, &work.run.namespace, &name).await?;
        Ok(match found {
            Some(found) => judged(step, found).await,
            None => Seen::Waits(format!("{} {name} is not there", step.object.kind)),
        })
    };
    let patience = work.left(work.step().timeout);
    work.look(patience, Rests::of(step.every.get()), look, |_| {})
        .await
}

async fn judged(step: &WaitStep, found: DynamicObject) -> Seen {
    let (until, variables) = (step.until.clone(), json!({ "object": found }));
    let asked = tokio::task::spawn_blocking(move || {
        condition::with_room(|| Conditions::default().holds("wait.until", &until, &variables))
    });
    let asked = asked.await;
    match asked.expect("a condition is evaluated where it may panic") {
        Some(Ok(true)) => Seen::There,
        Some(Ok(false)) => Seen::Waits(format!("{} does not hold", step.until)),
        // A field that is not there may come.
        Some(Err(refusal)) => Seen::Waits(refusal.message),
        None => Seen::Waits(format!("{} cannot be evaluated", step.until)),
    }
}

/// Lets the time pass that is left of the pause since its first start.
pub async fn pause(work: &Work, step: &PauseStep) -> Outcome {
    tokio::select! {
        () = sleep(work.left(step.duration)) => Outcome::new(State::Succeeded, "", ""),
        () = work.cancel.cancelled() => Outcome::new(State::Cancelled, "Cancelled", "cancelled while it paused"),
    }
}
