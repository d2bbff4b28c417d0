//! How a run ended, from its conditions, and what the shell is told of it.

use crds::v1alpha1::{JobRun, condition_is_true, find_condition};

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded, or there was nothing to do.
    Complete,
    Failed,
    Cancelled,
    /// It could not be planned; nothing was done.
    Refused,
}

impl Outcome {
    /// The outcome of a run that has ended.
    pub fn of(run: &JobRun) -> Option<Self> {
        let conditions = &run.status.as_ref()?.conditions;
        if condition_is_true(conditions, "Complete") {
            return Some(Self::Complete);
        }
        let failed = find_condition(conditions, "Failed").filter(|c| c.status == "True")?;
        Some(match failed.reason.as_str() {
            "Cancelled" => Self::Cancelled,
            _ if condition_is_true(conditions, "Planned") => Self::Failed,
            _ => Self::Refused,
        })
    }

    pub const fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Failed => 1,
            Self::Cancelled => 2,
            Self::Refused => 3,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Outcome;
    use crds::v1alpha1::JobRun;

    /// A run with these conditions, each `Type=Status/Reason`.
    pub fn run(conditions: &[&str]) -> JobRun {
        let condition = |text: &&str| {
            let (type_, rest) = text.split_once('=').expect("Type=");
            let (status, reason) = rest.split_once('/').expect("Status/Reason");
            serde_json::json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let conditions: Vec<_> = conditions.iter().map(condition).collect();
        serde_json::from_value(serde_json::json!({
            "apiVersion": "pilothouse.dev/v1alpha1", "kind": "JobRun",
            "metadata": {"name": "r", "namespace": "n", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"jobRef": {"name": "j"}, "requestedBy": {"user": "alice"}},
            "status": {"conditions": conditions},
        }))
        .expect("a run")
    }

    #[test]
    fn the_outcome_is_read_from_conditions() {
        for (conditions, outcome) in [
            (
                &["Planned=True/Frozen", "Running=True/InProgress"][..],
                None,
            ),
            (&["Planned=True/Frozen", "Complete=True/Skipped"], Some(0)),
            (&["Planned=True/Frozen", "Failed=True/StepsFailed"], Some(1)),
            (&["Planned=True/Frozen", "Failed=True/Cancelled"], Some(2)),
            (
                &["Planned=False/Cancelled", "Failed=True/Cancelled"],
                Some(2),
            ),
            (
                &["Planned=False/CycleInNeeds", "Failed=True/CycleInNeeds"],
                Some(3),
            ),
        ] {
            assert_eq!(
                Outcome::of(&run(conditions)).map(Outcome::code),
                outcome,
                "{conditions:?}"
            );
        }
    }
}
