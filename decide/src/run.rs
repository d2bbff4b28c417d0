//! What a run does next: which tasks start, which are settled or cancelled, and whether the run waits or has ended.

use crds::{execution::State, v1alpha1::OnThreshold};
use jiff::{SignedDuration, Timestamp};

use crate::{
    control::Control,
    ledger::{Attempt, Ledger},
    plan::{Plan, PlannedStep, Task, batches, topological},
};

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
pub fn next(plan: &Plan, ledger: &Ledger, control: &Control, now: Timestamp) -> Next {
    let mut view = View::new(plan, ledger, control);
    let failed = view.failed_targets();
    let tripped =
        failed.saturating_sub(control.forgiven) > plan.strategy.max_failures.within(plan.total());
    let stop = control.cancel || (tripped && plan.strategy.on_threshold == OnThreshold::Stop);
    let hold = if control.suspend {
        Some(Hold::Asked)
    } else {
        tripped.then_some(Hold::ThresholdExceeded)
    };
    let mut next = Next {
        failed_targets: failed,
        ..Next::default()
    };
    view.pick_up(&mut next, control.cancel);
    view.skip(stop);
    if !stop && hold.is_none() {
        view.start(&mut next, now);
    }
    next.phase = view.phase(control.cancel, stop, hold, failed);
    next.tasks = view.tasks;
    next
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
    ledger: &'a Ledger,
    control: &'a Control,
    order: Vec<usize>,
    tasks: Vec<Vec<Standing>>,
}

impl<'a> View<'a> {
    fn new(plan: &'a Plan, ledger: &'a Ledger, control: &'a Control) -> Self {
        let order =
            topological(&plan.steps).expect("a plan that was frozen or read back has no cycle");
        Self {
            plan,
            ledger,
            control,
            order,
            tasks: standings(plan, ledger, control),
        }
    }

    /// Targets, by lane, on which some step has failed for good.
    fn failed_targets(&self) -> usize {
        let failed = |lane: usize, target: usize| {
            let steps = self
                .plan
                .steps
                .iter()
                .enumerate()
                .filter(|(_, s)| s.lane == lane);
            steps
                .into_iter()
                .any(|(step, _)| self.tasks[step][target] == Standing::Failed)
        };
        let lanes = self.plan.lanes.iter().enumerate();
        lanes
            .map(|(lane, l)| (0..l.targets.len()).filter(|&t| failed(lane, t)).count())
            .sum()
    }

    /// Deals with what was started and is not final: joined, settled as unknown, or ended.
    fn pick_up(&self, next: &mut Next, cancel: bool) {
        for (task, attempt) in self.started() {
            match (attempt.in_flight, cancel) {
                (_, true) if attempt.in_flight || attempt.via.attaches() => {
                    next.cancel.push((task, attempt.number));
                }
                (true, _) => {}
                (false, _) if attempt.via.attaches() => next.start.push((task, attempt.number)),
                (false, _) => next.settle.push((task, attempt.number)),
            }
        }
    }

    fn started(&self) -> impl Iterator<Item = (Task, &Attempt)> {
        let all = (0..self.tasks.len())
            .flat_map(|step| (0..self.tasks[step].len()).map(move |target| Task { step, target }));
        all.filter_map(|task| {
            self.ledger
                .get(task)
                .filter(|a| !a.state.is_terminal())
                .map(|a| (task, a))
        })
    }

    /// Marks what will never start: everything when the run stops, else what waits for something that did not succeed.
    fn skip(&mut self, stop: bool) {
        for index in 0..self.order.len() {
            let step = self.order[index];
            for target in 0..self.tasks[step].len() {
                if self.tasks[step][target] == Standing::Pending
                    && (stop || self.is_hopeless(step, target))
                {
                    self.tasks[step][target] = Standing::Skipped;
                }
            }
        }
    }

    fn is_hopeless(&self, step: usize, target: usize) -> bool {
        let planned = &self.plan.steps[step];
        planned.needs.iter().any(|&need| {
            let row = &self.tasks[need];
            if self.plan.steps[need].lane == planned.lane {
                matches!(row[target], Standing::Failed | Standing::Skipped)
            } else {
                !row.is_empty()
                    && row
                        .iter()
                        .all(|s| matches!(s, Standing::Failed | Standing::Skipped))
            }
        })
    }

    /// Starts what may start, batch by batch, within maxParallel.
    fn start(&self, next: &mut Next, now: Timestamp) {
        let parallel = self.control.max_parallel;
        let parallel = usize::try_from(parallel.unwrap_or(self.plan.strategy.max_parallel))
            .unwrap_or(1)
            .max(1);
        let mut free = parallel.saturating_sub(self.ledger.in_flight() + next.start.len());
        let mut again: Option<Timestamp> = None;
        let mut earliest = |at: Timestamp| again = Some(again.map_or(at, |a| a.min(at)));
        for &step in &self.order {
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
            if self.plan.steps[need].lane == planned.lane {
                self.tasks[need][task.target].is_done()
            } else {
                self.tasks[need].iter().all(|s| s.is_final())
            }
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

    fn phase(&self, cancel: bool, stop: bool, hold: Option<Hold>, failed: usize) -> Phase {
        let done = self.tasks.iter().flatten().all(|s| s.is_final());
        match (done, hold) {
            (false, _) if cancel => Phase::Cancelling,
            (false, Some(hold)) if !stop => Phase::Suspended(hold),
            (false, _) => Phase::Running,
            // What failed may be retried as long as nobody has said that it stays so.
            (true, Some(Hold::ThresholdExceeded)) if !stop => {
                Phase::Suspended(Hold::ThresholdExceeded)
            }
            (true, _) => Phase::Ended(self.end(cancel, failed)),
        }
    }

    fn end(&self, cancel: bool, failed: usize) -> End {
        let mut all = self.tasks.iter().flatten();
        let whole = all.clone().all(|s| s.is_done());
        if self.tasks.iter().all(Vec::is_empty) {
            End::Skipped
        } else if cancel && !whole {
            End::Cancelled
        } else if failed > self.plan.strategy.max_failures.within(self.plan.total()) {
            End::Failed
        } else if all.any(|s| *s == Standing::Succeeded) || failed == 0 {
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
#[path = "run_tests.rs"]
mod tests;
