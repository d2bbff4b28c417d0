//! What of a plan is never started: because the run stops, because what came before did not succeed, or because its own conditions say so.

use std::ops::Range;

use crds::{execution::TargetKind, v1alpha1::RunOn};

use super::{End, Hold, Standing, View};
use crate::plan::Task;

impl View<'_> {
    /// Marks what will never start: all but what is for failures when the run stops, what waits for something that did not succeed, and what its own conditions leave out.
    pub(super) fn leave_out(&mut self, stop: bool) {
        for index in 0..self.order.len() {
            let step = self.order[index];
            if self.plan.steps[step].on_failure {
                continue;
            }
            for target in 0..self.tasks[step].len() {
                let task = Task { step, target };
                if self.tasks[step][target] == Standing::Pending
                    && let Some(left_out) = self.left_out(task, stop)
                {
                    self.tasks[step][target] = left_out;
                }
            }
        }
    }

    fn left_out(&mut self, task: Task, stop: bool) -> Option<Standing> {
        if (stop && !self.handles_failure(task)) || self.is_hopeless(task) {
            return Some(Standing::Skipped);
        }
        if !self.needs_met(task) {
            return None;
        }
        let planned = &self.plan.steps[task.step];
        let idle = planned.run_on == RunOn::Failure && !self.has_failed_need(task);
        (idle || self.is_ruled_out(task)).then_some(Standing::Passed)
    }

    /// Whether a step that is not about success has something to be about: even a run that stops takes it.
    fn handles_failure(&self, task: Task) -> bool {
        let planned = &self.plan.steps[task.step];
        let begun = |&need: &usize| {
            let mut on = self.seen_by(task, need);
            on.any(|target| self.ledger.get(Task { step: need, target }).is_some())
        };
        !self.control.cancel && planned.run_on != RunOn::Success && planned.needs.iter().any(begun)
    }

    /// Targets of a needed step that a task waits for: its own, or all where they are others.
    pub(super) fn seen_by(&self, task: Task, need: usize) -> Range<usize> {
        if self.plan.steps[need].lane == self.plan.steps[task.step].lane {
            task.target..task.target + 1
        } else {
            0..self.tasks[need].len()
        }
    }

    fn has_failed_need(&self, task: Task) -> bool {
        let mut needs = self.plan.steps[task.step].needs.iter();
        needs.any(|&need| self.tasks[need][self.seen_by(task, need)].contains(&Standing::Failed))
    }

    /// Whether the step's `when` is false. One that cannot be evaluated is for the attempt to report.
    fn is_ruled_out(&mut self, task: Task) -> bool {
        let Some(when) = &self.plan.steps[task.step].when else {
            return false;
        };
        if self.ledger.get(task).is_some() {
            return false;
        }
        let outputs = self.ledger.outputs(self.plan, task);
        let scope = self.plan.scope(self.run, task, &outputs);
        self.conditions.holds("when", when, &scope) == Ok(false)
    }

    /// What waits for it may go on as after a success.
    pub(super) fn is_well(&self, step: usize, target: usize) -> bool {
        let standing = self.tasks[step][target];
        standing.is_done()
            || (standing == Standing::Failed && self.plan.steps[step].continue_on_failure)
    }

    fn is_hopeless(&self, task: Task) -> bool {
        let planned = &self.plan.steps[task.step];
        let lost = |need: usize, target: usize| {
            self.tasks[need][target].is_final() && !self.is_well(need, target)
        };
        planned.run_on == RunOn::Success
            && planned.needs.iter().any(|&need| {
                let mut seen = self.seen_by(task, need);
                !seen.is_empty() && seen.all(|target| lost(need, target))
            })
    }

    /// Opens the steps of onFailure once everything else has ended and the run has failed, on targets where something was begun; otherwise, at the end, they count as done.
    pub(super) fn roll_back(&mut self, stop: bool, hold: Option<Hold>) -> bool {
        let last: Vec<usize> = (0..self.tasks.len())
            .filter(|&s| self.plan.steps[s].on_failure)
            .collect();
        if last.is_empty() || !self.is_main_over() {
            return false;
        }
        let waits = hold == Some(Hold::ThresholdExceeded) && !stop;
        let failed = !self.control.cancel && !waits && self.end() == End::Failed;
        for &step in self.order.clone().iter().filter(|step| last.contains(step)) {
            for target in 0..self.tasks[step].len() {
                let task = Task { step, target };
                if self.tasks[step][target] != Standing::Pending {
                    continue;
                }
                if !failed || !self.has_begun_on(task) {
                    self.tasks[step][target] = Standing::Passed;
                } else if self.is_hopeless(task) {
                    self.tasks[step][target] = Standing::Skipped;
                } else if self.needs_met(task) && self.is_ruled_out(task) {
                    self.tasks[step][target] = Standing::Passed;
                }
            }
        }
        failed
    }

    fn is_main_over(&self) -> bool {
        self.main().all(|(_, row)| row.iter().all(|s| s.is_final()))
    }

    /// The steps before those of onFailure, with their rows.
    pub(super) fn main(&self) -> impl Iterator<Item = (usize, &Vec<Standing>)> {
        let all = self.tasks.iter().enumerate();
        all.filter(|(step, _)| !self.plan.steps[*step].on_failure)
    }

    /// Whether the run has begun something on the task's target; what is done once follows anything.
    fn has_begun_on(&self, task: Task) -> bool {
        let lane = self.plan.steps[task.step].lane;
        let once = self.plan.lanes[lane].kind == TargetKind::None;
        self.main().any(|(step, row)| {
            let same = self.plan.steps[step].lane == lane;
            let begun = |target| self.ledger.get(Task { step, target }).is_some();
            (once && (0..row.len()).any(begun)) || (same && begun(task.target))
        })
    }
}
