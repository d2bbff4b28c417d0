//! Controlling a run: a RunAction in the caller's name, created once.

use crds::v1alpha1::{Action, JobRun, LocalRef, Requester, RunAction, RunActionSpec};
use kube::{ResourceExt as _, api::PostParams};

use crate::{
    args::ActionArgs,
    caller,
    cluster::Cluster,
    error::{Error, Result, doing},
    output::{self, Format},
    watch,
};

pub async fn act(
    cluster: &Cluster,
    action: Action,
    asked: &ActionArgs,
    format: Option<Format>,
) -> Result<u8> {
    let run = cluster.run(&asked.run).await?;
    still_going(&run, action)?;
    let by = caller::requester(cluster).await?;
    let wanted = wanted(&asked.run, action, asked.reason.clone(), by);
    let api = cluster.api::<RunAction>();
    let created = api
        .create(&PostParams::default(), &wanted)
        .await
        .map_err(doing("create the RunAction"))?;
    if asked.watch {
        return watch::watch(cluster, &asked.run, format).await;
    }
    let name = format!("runaction.pilothouse.dev/{}", created.name_any());
    output::result(&created, format, &name, |_| format!("{name} created\n"))?;
    Ok(0)
}

/// A RunAction whose name the API server makes.
pub fn wanted(run: &str, action: Action, reason: Option<String>, by: Requester) -> RunAction {
    let spec = RunActionSpec {
        run_ref: LocalRef {
            name: run.to_owned(),
        },
        action,
        reason,
        requested_by: Some(by),
    };
    let mut wanted = RunAction::new("", spec);
    wanted.metadata.name = None;
    wanted.metadata.generate_name = Some(format!("{run}-{}-", verb(action)));
    wanted
}

/// Nothing can be done to a run that has ended.
fn still_going(run: &JobRun, action: Action) -> Result<()> {
    if !run.is_finished() {
        return Ok(());
    }
    let summary = run
        .status
        .as_ref()
        .and_then(|s| s.summary.clone())
        .unwrap_or_default();
    let acted = match action {
        Action::Cancel => "cancelled",
        Action::Suspend => "suspended",
        Action::Resume => "resumed",
    };
    Err(Error::Ended {
        run: run.name_any(),
        summary,
        acted,
    })
}

const fn verb(action: Action) -> &'static str {
    match action {
        Action::Cancel => "cancel",
        Action::Suspend => "suspend",
        Action::Resume => "resume",
    }
}

#[cfg(test)]
mod tests {
    use super::still_going;
    use crate::outcome::tests::run;
    use crds::v1alpha1::Action;

    #[test]
    fn a_run_that_has_ended_is_left_alone() {
        assert!(still_going(&run(&["Running=True/InProgress"]), Action::Cancel).is_ok());
        let refused =
            still_going(&run(&["Failed=True/StepsFailed"]), Action::Resume).expect_err("ended");
        assert!(
            refused.to_string().contains("no longer be resumed"),
            "{refused}"
        );
    }
}
