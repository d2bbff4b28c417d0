//! Controlling a run: a RunAction in the caller's name, created once.

use crds::v1alpha1::{Action, JobRun, LocalRef, Requester, RunAction, RunActionSpec};
use kube::{ResourceExt as _, api::PostParams};

use crate::{
    again,
    args::ActionArgs,
    caller,
    cluster::Cluster,
    error::{Error, Result, doing},
    output::{self, Format},
    watch,
};

/// What is to be done.
pub struct Wanted {
    action: Action,
    step: Option<String>,
    max_parallel: Option<i32>,
}

impl Wanted {
    pub fn just(action: Action) -> Self {
        Self {
            action,
            step: None,
            max_parallel: None,
        }
    }

    pub fn resume(from: Option<String>) -> Self {
        let action = match from {
            None => Action::Resume,
            Some(_) => Action::ResumeFrom,
        };
        Self {
            step: from,
            ..Self::just(action)
        }
    }

    pub fn skip(step: String) -> Self {
        Self {
            step: Some(step),
            ..Self::just(Action::Skip)
        }
    }

    pub fn parallel(max: i32) -> Self {
        Self {
            max_parallel: Some(max),
            ..Self::just(Action::SetMaxParallel)
        }
    }

    /// A RunAction whose name the API server makes.
    pub fn on(self, run: &str, reason: Option<String>, by: Requester) -> RunAction {
        let spec = RunActionSpec {
            run_ref: LocalRef {
                name: run.to_owned(),
            },
            action: self.action,
            step: self.step,
            max_parallel: self.max_parallel,
            reason,
            requested_by: Some(by),
        };
        let mut wanted = RunAction::new("", spec);
        wanted.metadata.name = None;
        wanted.metadata.generate_name = Some(format!("{run}-{}-", words(self.action).0));
        wanted
    }
}

pub async fn act(
    cluster: &Cluster,
    wanted: Wanted,
    asked: &ActionArgs,
    format: Option<Format>,
) -> Result<u8> {
    let run = cluster.run(&asked.run).await?;
    if wanted.action == Action::RetryFailed && run.is_finished() {
        return again::run(cluster, &run, asked.watch, format).await;
    }
    still_going(&run, wanted.action)?;
    let by = caller::requester(cluster).await?;
    let wanted = wanted.on(&asked.run, asked.reason.clone(), by);
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
    Err(Error::Ended {
        run: run.name_any(),
        summary,
        acted: words(action).1,
    })
}

/// What an action is called in a name, and what was done by it.
const fn words(action: Action) -> (&'static str, &'static str) {
    match action {
        Action::Cancel => ("cancel", "cancelled"),
        Action::Suspend => ("suspend", "suspended"),
        Action::Resume => ("resume", "resumed"),
        Action::RetryFailed => ("retry", "retried"),
        Action::Skip => ("skip", "shortened"),
        Action::ResumeFrom => ("resume-from", "resumed"),
        Action::SetMaxParallel => ("set-max-parallel", "changed"),
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
