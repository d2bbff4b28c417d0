//! The ledger of a run: where each task stands, from the rows that records acknowledged and the work in flight here.

use std::collections::{BTreeMap, HashMap};

use crds::execution::{Execution, State, Via};
use jiff::Timestamp;

use crate::plan::{Plan, Task};

/// The latest attempt of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub number: i32,
    pub state: State,
    pub via: Via,
    /// When it began, as records have it.
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// This operator is working on it.
    pub in_flight: bool,
}

impl Attempt {
    /// Whether it failed in a way that says that trying again does nothing twice. What may or may not have taken effect is nobody's to repeat.
    pub fn may_be_repeated(&self) -> bool {
        matches!(
            self.state,
            State::Failed | State::TimedOut | State::DeliveryTimedOut | State::Undeliverable
        )
    }
}

/// Every task that has a row or is being worked on; others have not started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    attempts: HashMap<Task, Attempt>,
    /// What the latest attempts have handed on.
    outputs: HashMap<Task, BTreeMap<String, String>>,
}

impl Ledger {
    /// Rebuilt from records, with what this operator has in flight.
    pub fn new<'a>(
        plan: &Plan,
        rows: impl IntoIterator<Item = &'a Execution>,
        in_flight: impl Fn(Task) -> bool,
    ) -> Self {
        let index = index(plan);
        let mut ledger = Self::default();
        for row in rows {
            let Some(&task) = index.get(&(row.step.as_str(), row.key.target.as_str())) else {
                continue;
            };
            let attempt = Attempt {
                number: row.attempt,
                state: row.state,
                via: row.via,
                started_at: row.started_at,
                finished_at: row.finished_at,
                in_flight: !row.state.is_terminal() && in_flight(task),
            };
            let newer = ledger
                .attempts
                .get(&task)
                .is_none_or(|old| old.number <= attempt.number);
            if newer {
                ledger.attempts.insert(task, attempt);
                ledger.outputs.remove(&task);
                if !row.outputs.is_empty() {
                    ledger.outputs.insert(task, row.outputs.clone());
                }
            }
        }
        ledger
    }

    pub fn get(&self, task: Task) -> Option<&Attempt> {
        self.attempts.get(&task)
    }

    /// Tasks that were ever started.
    pub fn tasks(&self) -> impl Iterator<Item = Task> {
        self.attempts.keys().copied()
    }

    pub fn set(&mut self, task: Task, attempt: Attempt) {
        self.attempts.insert(task, attempt);
    }

    /// What the steps before this one have handed on to it: on its own target, or where their step is done once.
    pub fn outputs(&self, plan: &Plan, task: Task) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for step in plan.before(task.step) {
            let same = plan.steps[step].lane == plan.steps[task.step].lane;
            let target = if same { task.target } else { 0 };
            let given = self.outputs.get(&Task { step, target });
            for output in &plan.steps[step].outputs {
                let value = given.and_then(|given| given.get(&output.name));
                if let Some(value) = value.or(output.default.as_ref()) {
                    all.insert(output.name.clone(), value.clone());
                }
            }
        }
        all
    }

    /// The attempt that has handed on a sensitive output to this task.
    pub fn giver(&self, plan: &Plan, task: Task, output: &str) -> Option<(Task, i32)> {
        let gives = |&step: &usize| plan.steps[step].outputs.iter().any(|o| o.name == output);
        let step = plan.before(task.step).into_iter().find(gives)?;
        let same = plan.steps[step].lane == plan.steps[task.step].lane;
        let giver = Task {
            step,
            target: if same { task.target } else { 0 },
        };
        let attempt = self.attempts.get(&giver)?;
        (attempt.state == State::Succeeded).then_some((giver, attempt.number))
    }

    pub fn in_flight(&self) -> usize {
        self.attempts.values().filter(|a| a.in_flight).count()
    }
}

fn index(plan: &Plan) -> HashMap<(&str, &str), Task> {
    let tasks = plan.steps.iter().enumerate().flat_map(|(step, planned)| {
        let targets = plan.lanes[planned.lane].targets.iter().enumerate();
        targets.map(move |(target, t)| {
            (
                (planned.name.as_str(), t.uid.as_str()),
                Task { step, target },
            )
        })
    });
    tasks.collect()
}
