//! Which executions' output is wanted, and how each of its lines is marked.

use crate::{executions::Row, lines::Lines, terminal};

/// Bytes read at once.
pub const PIECE: usize = 16 * 1024;

/// Which executions are wanted, and how their lines are marked.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub target: Option<String>,
    pub step: Option<String>,
    pub mark: Mark,
}

/// What stands in front of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    #[default]
    StepAndTarget,
    Target,
    Nothing,
}

impl Choice {
    pub fn takes(&self, row: &Row) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|w| w == value);
        is(&self.target, &row.execution.target) && is(&self.step, &row.execution.step)
    }

    /// A line collector for this execution.
    pub fn lines(&self, row: &Row) -> Lines {
        Lines::new(self.prefix(row), terminal::is_terminal())
    }

    fn prefix(&self, row: &Row) -> String {
        let execution = &row.execution;
        let (step, target) = (&execution.step, &execution.target);
        let again = if execution.attempt > 1 {
            format!("#{}", execution.attempt)
        } else {
            String::new()
        };
        match self.mark {
            Mark::Nothing => String::new(),
            Mark::Target if !target.is_empty() => format!("{target}{again} | "),
            Mark::StepAndTarget if !target.is_empty() => format!("{step}/{target}{again} | "),
            _ => format!("{step}{again} | "),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An execution of this step, target, attempt and state.
    pub fn row(step: &str, target: &str, attempt: i32, state: &str) -> Row {
        let execution = serde_json::from_value(serde_json::json!({
            "version": 1, "namespace": "n", "namespaceUID": "u", "run": "r", "step": step, "targetKind": "Host", "target": target,
            "attempt": attempt, "state": state, "via": "Journal",
            "key": {"attempt": attempt, "cluster": "c", "plan": "p", "run": "r", "step": step, "target": target},
        }));
        Row {
            name: format!("r.{step}.{target}.{attempt}"),
            execution: execution.expect("a row"),
        }
    }

    #[test]
    fn a_line_names_step_target_and_a_further_attempt() {
        let prefix = |mark, row: &Row| {
            Choice {
                mark,
                ..Choice::default()
            }
            .prefix(row)
        };
        assert_eq!(
            prefix(Mark::StepAndTarget, &row("s", "t", 1, "Started")),
            "s/t | "
        );
        assert_eq!(
            prefix(Mark::StepAndTarget, &row("s", "t", 2, "Started")),
            "s/t#2 | "
        );
        assert_eq!(
            prefix(Mark::StepAndTarget, &row("s", "", 1, "Started")),
            "s | "
        );
        assert_eq!(prefix(Mark::Target, &row("s", "t", 1, "Started")), "t | ");
        assert_eq!(prefix(Mark::Nothing, &row("s", "t", 2, "Started")), "");
    }

    #[test]
    fn what_was_not_asked_for_is_left_out() {
        let choice = Choice {
            target: Some("t".into()),
            step: None,
            mark: Mark::Nothing,
        };
        assert!(choice.takes(&row("s", "t", 1, "Started")));
        assert!(!choice.takes(&row("s", "u", 1, "Started")));
    }
}
