//! What people have done to a run, one action after the other. It stands in the run's status, so that it outlives its RunActions and every leader.

use std::collections::{BTreeMap, BTreeSet};

use crds::v1alpha1::{Action, Asked, JobRunStatus, Retried, RunActionSpec};

use crate::{
    Refusal,
    ledger::Ledger,
    plan::{Plan, Task},
    run::{Standing, standings},
};

/// The will of those who control a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub cancel: bool,
    pub suspend: bool,
    /// A run that it is a part of is suspended, which its own status does not keep.
    pub suspended_above: bool,
    /// Failed targets that stood when the run was last resumed.
    pub forgiven: usize,
    /// Steps, by position, that count as done wherever they have not succeeded.
    pub skipped: BTreeSet<usize>,
    /// Failures up to these attempts are tried again.
    pub granted: BTreeMap<Task, i32>,
    /// How many executions run at once, in place of what the plan says.
    pub max_parallel: Option<i32>,
}

/// Whether an action is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    Now,
    /// Once there is a plan.
    Later,
    Never(Refusal),
}

impl Control {
    /// Whether nothing new starts by somebody's will.
    pub fn is_suspended(&self) -> bool {
        self.suspend || self.suspended_above
    }

    /// What a status says; steps and targets are those of the plan.
    pub fn of(status: Option<&JobRunStatus>, plan: Option<&Plan>) -> Self {
        let Some(status) = status else {
            return Self::default();
        };
        let position = |name: &str| plan.and_then(|plan| position(plan, name));
        let granted = status.retried.iter().filter_map(|retried| {
            let step = position(&retried.step)?;
            let task = move |target| (Task { step, target }, retried.attempt);
            Some(targets(&retried.targets).map(task))
        });
        let forgiven = status.forgiven_failures.unwrap_or(0);
        Self {
            cancel: status.asked == Some(Asked::Cancel),
            suspend: status.asked == Some(Asked::Suspend),
            suspended_above: false,
            forgiven: usize::try_from(forgiven).unwrap_or(0),
            skipped: status
                .skipped_steps
                .iter()
                .filter_map(|s| position(s))
                .collect(),
            granted: granted.flatten().collect(),
            max_parallel: status.max_parallel,
        }
    }

    /// Takes one action in; what is about steps and attempts waits until those are known.
    pub fn take_in(&mut self, action: &RunActionSpec, known: Option<(&Plan, &Ledger)>) -> Taken {
        match action.action {
            Action::Cancel => self.cancel = true,
            Action::Suspend => self.suspend = true,
            Action::Resume => self.suspend = false,
            Action::SetMaxParallel => self.max_parallel = action.max_parallel,
            Action::RetryFailed | Action::Skip | Action::ResumeFrom => {
                let Some((plan, ledger)) = known else {
                    return Taken::Later;
                };
                if action.action == Action::RetryFailed {
                    self.retry(plan, ledger, |_| true);
                    return Taken::Now;
                }
                let name = action.step.as_deref().unwrap_or_default();
                let Some(step) = position(plan, name) else {
                    return Taken::Never(unknown_step(plan, name));
                };
                if action.action == Action::Skip {
                    self.skipped.insert(step);
                } else {
                    self.resume_from(plan, ledger, step);
                }
            }
        }
        Taken::Now
    }

    /// All that a step waits for counts as done, and the step itself is tried again where it failed.
    fn resume_from(&mut self, plan: &Plan, ledger: &Ledger, step: usize) {
        self.skipped.append(&mut plan.before(step));
        self.skipped.remove(&step);
        self.retry(plan, ledger, |task| task.step == step);
        self.suspend = false;
    }

    /// Grants every failure another attempt; what was granted before and is still to come stays granted.
    fn retry(&mut self, plan: &Plan, ledger: &Ledger, wanted: impl Fn(Task) -> bool) {
        let standings = standings(plan, ledger, self);
        self.granted
            .retain(|&task, attempt| ledger.get(task).is_some_and(|a| a.number <= *attempt));
        for (step, row) in standings.iter().enumerate() {
            for (target, standing) in row.iter().enumerate() {
                let task = Task { step, target };
                let attempt = ledger.get(task).filter(|a| a.may_be_repeated());
                if let Some(attempt) = attempt
                    && *standing == Standing::Failed
                    && wanted(task)
                {
                    self.granted.insert(task, attempt.number);
                }
            }
        }
    }

    /// What of it a status keeps.
    pub fn keep(&self, status: &mut JobRunStatus, plan: Option<&Plan>) {
        status.forgiven_failures = i32::try_from(self.forgiven).ok().filter(|&n| n > 0);
        status.asked = match (self.cancel, self.suspend) {
            (true, _) => Some(Asked::Cancel),
            (false, true) => Some(Asked::Suspend),
            (false, false) => None,
        };
        status.max_parallel = self.max_parallel;
        let Some(plan) = plan else {
            return;
        };
        let name = |step: usize| plan.steps[step].name.clone();
        status.skipped_steps = self.skipped.iter().map(|&step| name(step)).collect();
        let mut rows = BTreeMap::<(usize, i32), Vec<usize>>::new();
        for (task, &attempt) in &self.granted {
            rows.entry((task.step, attempt))
                .or_default()
                .push(task.target);
        }
        let retried = rows.into_iter().map(|((step, attempt), targets)| Retried {
            step: name(step),
            attempt,
            targets: ranges(&targets),
        });
        status.retried = retried.take(RETRIED).collect();
    }
}

/// Rows of retried targets that a status holds.
const RETRIED: usize = 100;

fn position(plan: &Plan, name: &str) -> Option<usize> {
    plan.steps.iter().position(|step| step.name == name)
}

fn unknown_step(plan: &Plan, name: &str) -> Refusal {
    let all: Vec<_> = plan.steps.iter().map(|step| step.name.as_str()).collect();
    Refusal::new(
        "StepNotFound",
        format!(
            "spec.step: the run has no step {name:?}; it has {}",
            all.join(", ")
        ),
    )
}

/// Positions in order, as `0-3,7`.
fn ranges(positions: &[usize]) -> String {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for &position in positions {
        match spans.last_mut() {
            Some((_, end)) if *end + 1 == position => *end = position,
            _ => spans.push((position, position)),
        }
    }
    let text = |(from, to): (usize, usize)| {
        if from == to {
            from.to_string()
        } else {
            format!("{from}-{to}")
        }
    };
    spans.into_iter().map(text).collect::<Vec<_>>().join(",")
}

/// The positions that such a text names.
fn targets(ranges: &str) -> impl Iterator<Item = usize> {
    ranges.split(',').flat_map(|span| {
        let (from, to) = span.split_once('-').unwrap_or((span, span));
        let bounds = from.parse().ok().zip(to.parse().ok());
        let bounds = bounds.filter(|&(_, to): &(usize, usize)| to < MOST);
        bounds.map_or(0..0, |(from, to)| from..to + 1)
    })
}

/// No lane has as many targets.
const MOST: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_and_read_back() {
        for positions in [vec![], vec![0], vec![0, 1, 2, 7, 9, 10], vec![1999]] {
            let text = ranges(&positions);
            assert_eq!(targets(&text).collect::<Vec<_>>(), positions, "{text}");
        }
        assert_eq!(ranges(&[0, 1, 2, 7]), "0-2,7");
        assert_eq!(targets("0-99999999999,x,-,3").collect::<Vec<_>>(), [3]);
    }
}
