//! A run that takes up what another has left: of the targets of that one those on which not every step has come to a good end.

use std::collections::HashSet;

use crds::{execution::TargetKind, v1alpha1::JobRun};
use jiff::Timestamp;

use crate::{
    Refusal,
    control::Control,
    graph::LaneSpec,
    ledger::Ledger,
    plan::{Plan, PlannedTarget},
    run::{self, Next, Standing},
    template,
};

/// UIDs of targets that are to be worked on again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left(HashSet<String>);

/// Refuses to take up what has not ended, or was about something else.
pub fn of_the_same(run: &JobRun, earlier: &JobRun) -> Result<(), Refusal> {
    let name = earlier.metadata.name.as_deref().unwrap_or_default();
    let refused = |reason, why: &str| {
        let message = format!("spec.onlyFailedOf: JobRun {name} {why}");
        Err(Refusal::new(reason, message))
    };
    if (&run.spec.job_ref, &run.spec.job) != (&earlier.spec.job_ref, &earlier.spec.job) {
        let why = "is of another Job; name the same in both";
        return refused("EarlierRunOfAnotherJob", why);
    }
    if earlier.is_finished() {
        return Ok(());
    }
    let why = "goes on; retry what has failed there with a RunAction, or wait for its end";
    refused("EarlierRunGoesOn", why)
}

impl Left {
    /// What a run has left, by its plan and what records say of it; nothing where records say less than its status does.
    pub fn of(
        earlier: &JobRun,
        plan: &Plan,
        named: template::Run<'_>,
        ledger: &Ledger,
        now: Timestamp,
    ) -> Option<Self> {
        let next = run::next(plan, named, ledger, &Control::default(), now);
        let (mut left, mut done) = (HashSet::new(), 0);
        for (lane, targets) in plan.lanes.iter().enumerate() {
            for (target, planned) in targets.targets.iter().enumerate() {
                if is_well(plan, &next, lane, target) {
                    done += 1;
                } else if targets.kind != TargetKind::None {
                    left.insert(planned.uid.clone());
                }
            }
        }
        let told = earlier.status.as_ref().and_then(|s| s.targets.as_ref());
        let told = told.map_or(0, |targets| targets.succeeded);
        (i64::from(told) <= done).then_some(Self(left))
    }

    /// The targets of a lane that are left. What is done once is done again.
    pub fn keep(&self, lane: &LaneSpec, targets: &mut Vec<PlannedTarget>) {
        if !matches!(lane, LaneSpec::Once) {
            targets.retain(|target| self.0.contains(&target.uid));
        }
    }
}

/// Whether every step of a lane, but for those of onFailure, has come to a good end on a target, or was to go on without one.
pub fn is_well(plan: &Plan, next: &Next, lane: usize, target: usize) -> bool {
    let steps = plan.steps.iter().enumerate();
    let mut steps = steps.filter(|(_, step)| step.lane == lane && !step.on_failure);
    steps.all(|(step, planned)| {
        let standing = next.tasks[step][target];
        standing.is_done() || (standing == Standing::Failed && planned.continue_on_failure)
    })
}

#[cfg(test)]
mod tests {
    use crds::{
        execution::State,
        v1alpha1::{JobRunSpec, JobRunStatus, LocalRef, TargetCounts, Verdict, set_condition},
    };

    use super::*;
    use crate::run::tests::{at, attempt, ledger, plan, step, task};

    fn run(job: &str, ended: bool, succeeded: i32) -> JobRun {
        let spec = JobRunSpec {
            job_ref: Some(LocalRef { name: job.into() }),
            ..JobRunSpec::new("a")
        };
        let mut run = JobRun::new("r", spec);
        let mut status = JobRunStatus {
            targets: Some(TargetCounts {
                succeeded,
                ..TargetCounts::default()
            }),
            ..JobRunStatus::default()
        };
        if ended {
            let failed = Verdict::yes("Failed", "StepsFailed", "");
            set_condition(&mut status.conditions, &failed, None, Timestamp::UNIX_EPOCH);
        }
        run.status = Some(status);
        run
    }

    #[test]
    fn only_a_run_of_the_same_job_that_has_ended_is_taken_up() {
        let reason =
            |earlier: &JobRun| of_the_same(&run("j", false, 0), earlier).map_err(|r| r.reason);
        assert_eq!(reason(&run("j", true, 0)), Ok(()));
        assert_eq!(reason(&run("j", false, 0)), Err("EarlierRunGoesOn"));
        assert_eq!(reason(&run("k", true, 0)), Err("EarlierRunOfAnotherJob"));
    }

    #[test]
    fn what_is_left_is_what_did_not_come_to_a_good_end() {
        let named = template::Run {
            name: "r",
            namespace: "n",
        };
        let plan = plan(
            &[4],
            vec![step("a", 0, &[]), step("b", 0, &[0])],
            crds::v1alpha1::Strategy::default(),
        );
        let well = attempt(1, State::Succeeded, 1);
        let badly = attempt(1, State::Unknown, 1);
        let ledger = ledger(&[
            (task(0, 0), well),
            (task(1, 0), well),
            (task(0, 1), well),
            (task(1, 1), badly),
            (task(0, 2), badly),
        ]);
        let left = |succeeded| {
            let earlier = run("j", true, succeeded);
            Left::of(&earlier, &plan, named, &ledger, at(9))
        };
        let uids = [1, 2, 3].map(|i: usize| plan.lanes[0].targets[i].uid.clone());
        assert_eq!(left(1), Some(Left(uids.into())));
        assert_eq!(left(2), None, "records say less than the status");
    }
}
