//! What becomes of attempts that were started and are not final: joined, settled as unknown, ended, or left to people.

use crds::v1alpha1::RunOn;

use super::{Next, View};
use crate::{
    ledger::Attempt,
    plan::Task,
    sign_off::{Awaits, Moot},
};

impl View<'_> {
    /// Deals with what was started and is not final: joined, settled as unknown, or ended.
    pub(super) fn pick_up(&self, next: &mut Next, stop: bool) {
        for (task, attempt) in self.started() {
            if self.plan.asks(task.step).is_some() {
                let waits = (!attempt.in_flight).then(|| self.awaits(task, attempt, stop));
                next.awaits.extend(waits);
                continue;
            }
            match (attempt.in_flight, self.control.cancel) {
                (_, true) if attempt.in_flight || attempt.via.attaches() => {
                    next.cancel.push((task, attempt.number));
                }
                (true, _) => {}
                (false, _) if attempt.via.attaches() => next.start.push((task, attempt.number)),
                (false, _) => next.settle.push((task, attempt.number)),
            }
        }
    }

    fn awaits(&self, task: Task, attempt: &Attempt, stop: bool) -> Awaits {
        let planned = &self.plan.steps[task.step];
        let moot = if self.control.cancel {
            Some(Moot::Cancelled)
        } else if self.control.skipped.contains(&task.step) {
            Some(Moot::Skipped)
        } else {
            let matters = planned.on_failure || planned.run_on != RunOn::Success;
            (stop && !matters).then_some(Moot::Stopped)
        };
        Awaits {
            task,
            attempt: attempt.number,
            since: attempt.started_at.unwrap_or(self.plan.frozen_at),
            moot,
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
}
