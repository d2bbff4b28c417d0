//! RunAction: says so when an action comes too late. The run itself takes in those that come in time.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{Asked, JobRun, RunAction, find_condition};
use decide::Refusal;
use kube::{Api, ResourceExt as _, core::DeserializeGuard, runtime::controller::Action};

use super::valid;
use crate::{
    context::Context,
    error::{Result, observing},
    report,
};

/// Turns while the run has not said yet that it took the action in.
const SOON: Duration = Duration::from_secs(10);

pub async fn reconcile(
    action: Arc<DeserializeGuard<RunAction>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let action = valid(&action)?;
    let conditions = action.status.as_ref().map(|status| &status.conditions);
    if conditions.is_some_and(|told| find_condition(told, "Applied").is_some())
        || action.metadata.deletion_timestamp.is_some()
    {
        return Ok(Action::await_change());
    }
    let (namespace, name) = (
        action.namespace().unwrap_or_default(),
        &action.spec.run_ref.name,
    );
    let runs: Api<JobRun> = Api::namespaced(ctx.client.clone(), &namespace);
    let run = runs
        .get_opt(name)
        .await
        .map_err(observing(format!("JobRun {name}")))?;
    let answer = match run {
        None => Err(Refusal::new(
            "RunNotFound",
            format!(
                "spec.runRef.name: there is no JobRun {name}; correct the name and create the action anew"
            ),
        )),
        Some(run) if run.creation_timestamp() > action.creation_timestamp() => Err(Refusal::new(
            "RunIsNewer",
            format!("JobRun {name} was created after this action"),
        )),
        // The run ended because of it, by an operator that did not get to say so.
        Some(run) if run.is_finished() && was_heard(action, &run) => Ok(()),
        Some(run) if run.is_finished() => Err(Refusal::new(
            "RunEnded",
            format!("JobRun {name} had ended before"),
        )),
        Some(_) => return Ok(Action::requeue(SOON)),
    };
    let status = decide::action::status(action, &answer, jiff::Timestamp::now());
    report::status(&ctx.client, action, "pilothouse-runaction", &status).await?;
    ctx.succeeded(action);
    Ok(Action::await_change())
}

fn was_heard(action: &RunAction, run: &JobRun) -> bool {
    let status = run.status.as_ref();
    action.spec.action == crds::v1alpha1::Action::Cancel
        && status.is_some_and(|s| s.asked == Some(Asked::Cancel))
        && status.and_then(|s| s.finished_at.clone()) >= action.creation_timestamp()
}
