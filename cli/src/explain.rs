//! What a run waits for or why it failed, and what to do next.

use crds::v1alpha1::{JobRun, RunAction};
use jiff::Timestamp;
use kube::{ResourceExt as _, api::ListParams};

use crate::{
    archives,
    cluster::Cluster,
    error::{self, Result},
    executions::{self, Row},
    known::{Acted, Failure, Known},
    output::{self, Format},
    story,
};

pub async fn explain(cluster: &Cluster, name: &str, format: Option<Format>) -> Result<u8> {
    let run = archives::run(cluster, name).await?;
    let mut known = known(&run);
    match executions::list(cluster, &run).await {
        Ok(rows) => known.failures = failures(&rows),
        Err(error) => known.unknown.push(error::report(&error)),
    }
    match actions(cluster, &run).await {
        Ok(actions) => known.actions = actions,
        Err(error) => known.unknown.push(error::report(&error)),
    }
    known.next = story::next(&known);
    output::result(
        &known,
        format,
        &format!("jobrun.pilothouse.dev/{name}"),
        |_| story::text(&known, Timestamp::now()),
    )?;
    Ok(0)
}

fn known(run: &JobRun) -> Known {
    Known {
        name: run.name_any(),
        namespace: run.namespace().unwrap_or_default(),
        account: run.spec.service_account_name.clone(),
        job: run.spec.job_ref.as_ref().map(|job| job.name.clone()),
        requested_by: run.spec.requested_by.as_ref().map(|by| by.user.clone()),
        created: run.metadata.creation_timestamp.as_ref().map(|at| at.0),
        finished: run.is_finished(),
        status: run.status.clone().unwrap_or_default(),
        failures: Vec::new(),
        actions: Vec::new(),
        unknown: Vec::new(),
        next: Vec::new(),
    }
}

/// Rows are in the order in which they began, so the last one of a step and target is its latest attempt.
fn failures(rows: &[Row]) -> Vec<Failure> {
    use crds::execution::State::{Skipped, Started, Succeeded};
    let of = |row: &Row| (row.execution.step.clone(), row.execution.key.target.clone());
    let latest = |row: &&Row| {
        !rows
            .iter()
            .any(|other| of(other) == of(row) && other.execution.attempt > row.execution.attempt)
    };
    let went_wrong = |row: &&Row| !matches!(row.execution.state, Started | Succeeded | Skipped);
    rows.iter()
        .filter(went_wrong)
        .filter(latest)
        .map(failure)
        .collect()
}

fn failure(row: &Row) -> Failure {
    let execution = &row.execution;
    Failure {
        step: execution.step.clone(),
        target: execution.target.clone(),
        attempt: execution.attempt,
        state: execution.state.as_str(),
        reason: execution.reason.clone().unwrap_or_default(),
        exit_code: execution.exit_code,
        message: execution.message.clone().unwrap_or_default(),
    }
}

async fn actions(cluster: &Cluster, run: &JobRun) -> Result<Vec<Acted>> {
    let list = cluster
        .api::<RunAction>()
        .list(&ListParams::default())
        .await
        .map_err(error::doing("list RunActions"))?;
    let mine = |a: &RunAction| {
        a.spec.run_ref.name == run.name_any() && a.creation_timestamp() >= run.creation_timestamp()
    };
    let mut found: Vec<_> = list.items.into_iter().filter(mine).map(acted).collect();
    found.sort_by_key(|a| a.at);
    Ok(found)
}

fn acted(action: RunAction) -> Acted {
    Acted {
        action: format!("{:?}", action.spec.action),
        by: action
            .spec
            .requested_by
            .map(|by| by.user)
            .unwrap_or_default(),
        reason: action.spec.reason.unwrap_or_default(),
        at: action.metadata.creation_timestamp.map(|at| at.0),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::choice::tests::row;

    /// What is known of a run with these conditions.
    pub fn of(conditions: &[&str]) -> Known {
        known(&crate::outcome::tests::run(conditions))
    }

    #[test]
    fn only_the_latest_attempt_counts_as_a_failure() {
        let rows = [
            row("s", "a", 1, "Failed"),
            row("s", "a", 2, "Succeeded"),
            row("s", "b", 1, "Failed"),
            row("s", "b", 2, "TimedOut"),
            row("s", "c", 1, "Started"),
            row("s", "d", 1, "Skipped"),
        ];
        let found: Vec<_> = failures(&rows)
            .into_iter()
            .map(|f| (f.target, f.attempt, f.state))
            .collect();
        assert_eq!(found, [("b".to_owned(), 2, "TimedOut")]);
    }
}
