//! What a run waits for or why it failed, and what to do next.

use crds::v1alpha1::{JobRun, JobRunStatus, RunAction};
use jiff::Timestamp;
use kube::{ResourceExt as _, api::ListParams};
use serde::Serialize;

use crate::{
    cluster::Cluster,
    error::{self, Result},
    executions::{self, Row},
    output::{self, Format},
    story,
};

/// Everything that is known of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    pub name: String,
    pub namespace: String,
    pub account: String,
    pub job: Option<String>,
    pub requested_by: Option<String>,
    pub created: Option<Timestamp>,
    pub finished: bool,
    pub status: JobRunStatus,
    /// Executions that did not go well, the latest attempt of each.
    pub failures: Vec<Failure>,
    pub actions: Vec<Acted>,
    /// What could not be looked up, and why.
    pub unknown: Vec<String>,
    /// Commands that help, with what they are for.
    pub next: Vec<String>,
}

/// An execution that did not go well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub step: String,
    pub target: String,
    pub attempt: i32,
    pub state: &'static str,
    pub reason: String,
    pub exit_code: Option<i32>,
    pub message: String,
}

/// What a person did to the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Acted {
    pub action: String,
    pub by: String,
    pub reason: String,
    pub at: Option<Timestamp>,
}

pub async fn explain(cluster: &Cluster, name: &str, format: Option<Format>) -> Result<u8> {
    let run = cluster.run(name).await?;
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
    use crate::logs::tests::row;

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
