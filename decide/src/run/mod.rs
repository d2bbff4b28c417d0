//! What a run does next: which tasks start, which are settled or cancelled, and whether the run waits or has ended.

use std::collections::BTreeMap;

use crds::{
    execution::State,
    v1alpha1::{OnThreshold, RunOn, StepApproval},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    condition::{self, Conditions},
    control::Control,
    ledger::{Attempt, Ledger},
    plan::{Plan, PlannedStep, Task, batches, topological},
    sign_off::{Awaits, Conclusion},
    template,
};

mod left_out;
mod pick_up;

/// Longest wait between two attempts.
const MAX_BACKOFF: SignedDuration = SignedDuration::from_mins(5);

/// The next moves of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// Attempts to start now, or to join where one was already started elsewhere.
    pub start: Vec<(Task, i32)>,
    /// Attempts that were started, cannot be joined, and have no known end.
    pub settle: Vec<(Task, i32)>,
    /// Attempts to end.
    pub cancel: Vec<(Task, i32)>,
    /// Attempts that wait for people, who are asked by `sign_off::ask`.
    pub awaits: Vec<Awaits>,
    /// How those of them end on which people have decided.
    pub conclude: Vec<Conclusion>,
    /// What people have decided so far, by step.
    pub decided: BTreeMap<usize, StepApproval>,
    /// Nothing goes on until people decide.
    pub held: bool,
    /// When to look again although nothing happens.
    pub again: Option<Timestamp>,
    pub phase: Phase,
    /// Where every task stands, by step and target.
    pub tasks: Vec<Vec<Standing>>,
    pub failed_targets: usize,
}

impl Next {
    /// What was to start has been started: from now on it counts as running.
    pub fn carried_out(&mut self) {
        for (task, _) in &self.start {
            self.tasks[task.step][task.target] = Standing::Running;
        }
    }
}

/// Where the run stands as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Running,
    /// It has failed, and takes the steps of onFailure.
    RollingBack,
    /// Nothing new starts.
    Suspended(Hold),
    Cancelling,
    Ended(End),
}

/// Why nothing new starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Asked,
    ThresholdExceeded,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Succeeded,
    /// There was nothing to do.
    Skipped,
    Failed,
    Cancelled,
}

/// Where one task stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Skipped,
    /// Left out by somebody, and counted as done.
    Passed,
}

impl Standing {
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// What waits for it may go on.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Succeeded | Self::Passed)
    }
}

/// The next moves, from the frozen plan, what has happened, and what people asked for.
pub fn next(
    plan: &Plan,
    run: template::Run<'_>,
    ledger: &Ledger,
    control: &Control,
    now: Timestamp,
) -> Next {
    let decide = || decided(plan, run, ledger, control, now);
    if plan.steps.iter().all(|step| step.when.is_none()) {
        return decide();
    }
    condition::with_room(decide).expect("conditions are evaluated where they may panic")
}

fn decided(
    plan: &Plan,
    run: template::Run<'_>,
    ledger: &Ledger,
    control: &Control,
    now: Timestamp,
) -> Next {
    let mut view = View::new(plan, run, ledger, control);
    let failed = view.failed_targets();
    let on_threshold = plan.strategy.on_threshold;
    let tripped = on_threshold != OnThreshold::Continue
        && failed.saturating_sub(control.forgiven)
            > plan.strategy.max_failures.within(plan.total());
    let stop = control.cancel || (tripped && on_threshold == OnThreshold::Stop);
    let hold = if control.is_suspended() {
        Some(Hold::Asked)
    } else {
        tripped.then_some(Hold::ThresholdExceeded)
    };
    let mut next = Next {
        failed_targets: failed,
        ..Next::default()
    };
    view.pick_up(&mut next, stop);
    view.leave_out(stop);
    let rolling_back = view.roll_back(stop, hold);
    if !control.cancel && hold != Some(Hold::Asked) {
        let starts = if rolling_back {
            Starts::RollBack
        } else if stop || hold.is_some() {
            Starts::Handlers
        } else {
            Starts::All
        };
        view.start(&mut next, starts, now);
    }
    next.phase = view.phase(stop, hold, rolling_back, failed);
    next.tasks = view.tasks;
    next
}

/// Which steps may start something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Starts {
    All,
    /// Those alone that are for what has failed.
    Handlers,
    /// Those of onFailure alone.
    RollBack,
}

/// Where every task stands by its attempts and the will of people.
pub fn standings(plan: &Plan, ledger: &Ledger, control: &Control) -> Vec<Vec<Standing>> {
    let standing = |step, target| {
        let task = Task { step, target };
        let stands = match ledger.get(task) {
            None => Standing::Pending,
            Some(attempt) => standing(&plan.steps[step], attempt, control.granted.get(&task)),
        };
        match stands {
            Standing::Pending | Standing::Failed | Standing::Skipped
                if control.skipped.contains(&step) =>
            {
                Standing::Passed
            }
            stands => stands,
        }
    };
    let row = |step: usize| {
        (0..plan.lane(step).targets.len())
            .map(|target| standing(step, target))
            .collect()
    };
    (0..plan.steps.len()).map(row).collect()
}

/// The plan's tasks with their standings.
struct View<'a> {
    plan: &'a Plan,
    run: template::Run<'a>,
    ledger: &'a Ledger,
    control: &'a Control,
    order: Vec<usize>,
    tasks: Vec<Vec<Standing>>,
    conditions: Conditions,
}

impl<'a> View<'a> {
    fn new(
        plan: &'a Plan,
        run: template::Run<'a>,
        ledger: &'a Ledger,
        control: &'a Control,
    ) -> Self {
        let order =
            topological(&plan.steps).expect("a plan that was frozen or read back has no cycle");
        Self {
            plan,
            run,
            ledger,
            control,
            order,
            tasks: standings(plan, ledger, control),
            conditions: Conditions::default(),
        }
    }

    /// Targets, by lane, on which some step has failed for good.
    fn failed_targets(&self) -> usize {
        let failed = |lane: usize, target: usize| {
            let all = self.plan.steps.iter().enumerate();
            let mut counted =
                all.filter(|(_, s)| s.lane == lane && !s.on_failure && !s.continue_on_failure);
            counted.any(|(step, _)| self.tasks[step][target] == Standing::Failed)
        };
        let lanes = self.plan.lanes.iter().enumerate();
        lanes
            .map(|(lane, l)| (0..l.targets.len()).filter(|&t| failed(lane, t)).count())
            .sum()
    }

    /// Starts what may start, batch by batch, within maxParallel.
    fn start(&self, next: &mut Next, starts: Starts, now: Timestamp) {
        let parallel = self.control.max_parallel;
        let parallel = usize::try_from(parallel.unwrap_or(self.plan.strategy.max_parallel))
            .unwrap_or(1)
            .max(1);
        let mut free = parallel.saturating_sub(self.ledger.in_flight() + next.start.len());
        let mut again: Option<Timestamp> = None;
        let mut earliest = |at: Timestamp| again = Some(again.map_or(at, |a| a.min(at)));
        for &step in &self.order {
            if !self.may_start(step, starts) {
                continue;
            }
            let open = match self.open_targets(step, now) {
                Ok(open) => open,
                Err(at) => {
                    earliest(at);
                    continue;
                }
            };
            for target in open {
                let task = Task { step, target };
                if self.tasks[step][target] != Standing::Pending || !self.needs_met(task) {
                    continue;
                }
                match self.due(task) {
                    (_, Some(at)) if at > now => earliest(at),
                    // It takes nobody's place.
                    (number, _) if self.plan.asks(step).is_some() => {
                        next.start.push((task, number));
                    }
                    (number, _) if free > 0 => {
                        next.start.push((task, number));
                        free -= 1;
                    }
                    _ => {}
                }
            }
        }
        next.again = again;
    }

    fn may_start(&self, step: usize, starts: Starts) -> bool {
        let planned = &self.plan.steps[step];
        match starts {
            Starts::All => !planned.on_failure,
            Starts::Handlers => !planned.on_failure && planned.run_on != RunOn::Success,
            Starts::RollBack => planned.on_failure,
        }
    }

    /// The number of the next attempt, and the earliest moment for it.
    fn due(&self, task: Task) -> (i32, Option<Timestamp>) {
        let Some(attempt) = self.ledger.get(task) else {
            return (1, None);
        };
        if self.control.granted.get(&task) == Some(&attempt.number) {
            return (attempt.number.saturating_add(1), None);
        }
        let wait = backoff(&self.plan.steps[task.step], attempt.number);
        (
            attempt.number.saturating_add(1),
            attempt.finished_at.map(|at| {
                at.saturating_add(wait)
                    .expect("a backoff is a fixed length")
            }),
        )
    }

    fn needs_met(&self, task: Task) -> bool {
        let planned = &self.plan.steps[task.step];
        planned.needs.iter().all(|&need| {
            let alone = self.plan.steps[need].lane == planned.lane;
            self.seen_by(task, need).all(|target| {
                let strict = alone && planned.run_on == RunOn::Success;
                if strict {
                    self.is_well(need, target)
                } else {
                    self.tasks[need][target].is_final()
                }
            })
        })
    }

    /// Targets of the step's open batch and of those before it; or when the pause before the next batch ends.
    fn open_targets(
        &self,
        step: usize,
        now: Timestamp,
    ) -> Result<std::ops::Range<usize>, Timestamp> {
        let (mut end, mut pause_until) = (0, None);
        for size in batches(&self.plan.strategy, self.tasks[step].len()) {
            if let Some(at) = pause_until.filter(|&at| at > now) {
                return if self.rest_pending(step, end) {
                    Err(at)
                } else {
                    Ok(0..end)
                };
            }
            let batch = end..end + size;
            end += size;
            if !self.batch_ended(step, batch.clone()) {
                break;
            }
            pause_until = self.last_end(step, batch).map(|at| {
                let pause = SignedDuration::try_from(self.plan.strategy.pause_between.get())
                    .unwrap_or(SignedDuration::ZERO);
                at.saturating_add(pause).expect("a pause is a fixed length")
            });
        }
        Ok(0..end)
    }

    fn rest_pending(&self, step: usize, from: usize) -> bool {
        self.tasks[step][from..].contains(&Standing::Pending)
    }

    /// Steps that go through their batches together: those of the same lane and stage.
    fn peers(&self, step: usize) -> impl Iterator<Item = usize> {
        let (lane, stage) = (self.plan.steps[step].lane, self.plan.steps[step].stage);
        let steps = self.plan.steps.iter().enumerate();
        steps
            .filter(move |(_, s)| s.lane == lane && s.stage == stage)
            .map(|(i, _)| i)
    }

    fn batch_ended(&self, step: usize, batch: std::ops::Range<usize>) -> bool {
        self.peers(step)
            .all(|peer| self.tasks[peer][batch.clone()].iter().all(|s| s.is_final()))
    }

    fn last_end(&self, step: usize, batch: std::ops::Range<usize>) -> Option<Timestamp> {
        let ends = self
            .peers(step)
            .flat_map(|peer| batch.clone().map(move |target| Task { step: peer, target }));
        ends.filter_map(|task| self.ledger.get(task)?.finished_at)
            .max()
    }

    fn phase(&self, stop: bool, hold: Option<Hold>, rolling_back: bool, failed: usize) -> Phase {
        let done = self.tasks.iter().flatten().all(|s| s.is_final());
        match (done, hold) {
            (false, _) if self.control.cancel => Phase::Cancelling,
            (false, Some(Hold::Asked)) if rolling_back => Phase::Suspended(Hold::Asked),
            (false, _) if rolling_back => Phase::RollingBack,
            (false, Some(hold)) if !stop => Phase::Suspended(hold),
            (false, _) => Phase::Running,
            // What failed may be retried as long as nobody has said that it stays so.
            (true, Some(Hold::ThresholdExceeded)) if !stop => {
                Phase::Suspended(Hold::ThresholdExceeded)
            }
            (true, _) => Phase::Ended(self.ended(failed)),
        }
    }

    fn end(&self) -> End {
        self.ended(self.failed_targets())
    }

    fn ended(&self, failed: usize) -> End {
        let all = self
            .main()
            .flat_map(|(step, row)| (0..row.len()).map(move |target| (step, target)));
        let tasks: Vec<_> = all.collect();
        let whole = tasks
            .iter()
            .all(|&(step, target)| self.is_well(step, target));
        let succeeded =
            |&(step, target): &(usize, usize)| self.tasks[step][target] == Standing::Succeeded;
        if tasks.is_empty() {
            End::Skipped
        } else if self.control.cancel && !whole {
            End::Cancelled
        } else if failed > self.plan.strategy.max_failures.within(self.plan.total()) {
            End::Failed
        } else if tasks.iter().any(succeeded) || failed == 0 {
            End::Succeeded
        } else {
            End::Failed
        }
    }
}

/// Where an attempt leaves its task: final, running, or pending once more.
fn standing(step: &PlannedStep, attempt: &Attempt, granted: Option<&i32>) -> Standing {
    if attempt.may_be_repeated() && granted.is_some_and(|&up_to| attempt.number <= up_to) {
        return Standing::Pending;
    }
    match attempt.state {
        State::Started => Standing::Running,
        State::Succeeded => Standing::Succeeded,
        State::Skipped | State::Cancelled => Standing::Skipped,
        State::Unknown | State::Undeliverable => Standing::Failed,
        State::Failed | State::TimedOut | State::DeliveryTimedOut => {
            if attempt.number <= step.retries {
                Standing::Pending
            } else {
                Standing::Failed
            }
        }
    }
}

fn backoff(step: &PlannedStep, attempt: i32) -> SignedDuration {
    let base = SignedDuration::try_from(step.backoff.get()).unwrap_or(MAX_BACKOFF);
    let doubled = (1..attempt.min(16)).fold(base, |wait, _| wait.saturating_add(wait));
    doubled.min(MAX_BACKOFF)
}

#[cfg(test)]
mod flow_tests;
#[cfg(test)]
pub(crate) mod tests;
