//! What a run waits for or why it failed, and what to do next.

use crds::v1alpha1::{JobRun, RunAction};
use jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};

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
    let told = actions(cluster, &run).await.unwrap_or_else(|error| {
        known.unknown.push(error::report(&error));
        Vec::new()
    });
    known.actions = acted(&run, told);
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

async fn actions(cluster: &Cluster, run: &JobRun) -> Result<Vec<RunAction>> {
    let list = cluster
        .api::<RunAction>()
        .list(&ListParams::default())
        .await
        .map_err(error::doing("list RunActions"))?;
    let mine = |a: &RunAction| {
        a.spec.run_ref.name == run.name_any() && a.creation_timestamp() >= run.creation_timestamp()
    };
    Ok(list.items.into_iter().filter(mine).collect())
}

/// What people did by RunActions that are there, and by those that the run took in before they went.
fn acted(run: &JobRun, told: Vec<RunAction>) -> Vec<Acted> {
    let uids: Vec<_> = told.iter().filter_map(ResourceExt::uid).collect();
    let taken = run.status.iter().flat_map(|status| &status.actions);
    let gone = taken
        .filter(|taken| !uids.contains(&taken.uid))
        .map(|taken| Acted {
            action: format!("{:?}", taken.action),
            by: taken.by.clone(),
            reason: taken.reason.clone().unwrap_or_default(),
            at: Some(taken.at.0),
        });
    let there = told.into_iter().map(|told| Acted {
        action: format!("{:?}", told.spec.action),
        by: told.spec.requested_by.map(|by| by.user).unwrap_or_default(),
        reason: told.spec.reason.unwrap_or_default(),
        at: told.metadata.creation_timestamp.map(|at| at.0),
    });
    let mut acted: Vec<_> = gone.chain(there).collect();
    acted.sort_by_key(|acted| acted.at);
    acted
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
    fn what_people_did_is_told_once_whether_or_not_their_runactions_are_there() {
        let mut run = crate::outcome::tests::run(&[]);
        let taken = |uid: &str, action: &str, at: &str| serde_json::json!({"uid": uid, "action": action, "by": "ann", "at": at, "reason": "why"});
        let taken = [
            taken("a", "Suspend", "2026-01-01T00:01:00Z"),
            taken("b", "Resume", "2026-01-01T00:02:00Z"),
        ];
        let status = serde_json::json!({"actions": taken});
        run.status = Some(serde_json::from_value(status).expect("a status"));
        let action = |uid: &str, action: &str, at: &str| {
            serde_json::from_value(serde_json::json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "RunAction",
                "metadata": {"name": uid, "uid": uid, "creationTimestamp": at},
                "spec": {"runRef": {"name": "r"}, "action": action, "requestedBy": {"user": "bob"}}}))
            .expect("a RunAction")
        };
        let told = vec![
            action("c", "Cancel", "2026-01-01T00:03:00Z"),
            action("b", "Resume", "2026-01-01T00:02:00Z"),
        ];
        let acted: Vec<_> = acted(&run, told)
            .into_iter()
            .map(|acted| (acted.action, acted.by))
            .collect();
        let expected = [("Suspend", "ann"), ("Resume", "bob"), ("Cancel", "bob")];
        assert_eq!(acted, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
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
