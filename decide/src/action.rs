//! What a RunAction's status says once somebody has answered it.

use crds::v1alpha1::{RunAction, RunActionStatus, Verdict, set_condition};
use jiff::Timestamp;

use crate::Refusal;

/// The status after the answer: taken in, or refused. No action is answered twice.
pub fn status(action: &RunAction, answer: &Result<(), Refusal>, now: Timestamp) -> RunActionStatus {
    let generation = action.metadata.generation;
    let mut status = RunActionStatus {
        observed_generation: generation,
        ..action.status.clone().unwrap_or_default()
    };
    let mut set =
        |verdict: &Verdict| set_condition(&mut status.conditions, verdict, generation, now);
    match answer {
        Ok(()) => set(&Verdict::yes("Applied", "TakenIn", "")),
        Err(refusal) => {
            set(&Verdict::no("Applied", refusal.reason, &refusal.message));
            // kstatus knows nothing of Applied, and would take the action for one that is as it should be.
            set(&Verdict::yes("Stalled", refusal.reason, &refusal.message));
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::v1alpha1::condition_is_true;

    #[test]
    fn what_was_refused_is_stalled_and_what_was_taken_in_is_not() {
        let spec = serde_json::json!({"runRef": {"name": "r"}, "action": "Cancel"});
        let mut action = RunAction::new("a", serde_json::from_value(spec).expect("a spec"));
        action.metadata.generation = Some(1);
        let told = |answer| status(&action, &answer, Timestamp::UNIX_EPOCH);
        let taken_in = told(Ok(()));
        assert_eq!(taken_in.observed_generation, Some(1));
        assert!(condition_is_true(&taken_in.conditions, "Applied"));
        assert!(!condition_is_true(&taken_in.conditions, "Stalled"));
        let refused = told(Err(Refusal::new("RunEnded", "it had ended before")));
        assert!(!condition_is_true(&refused.conditions, "Applied"));
        assert!(condition_is_true(&refused.conditions, "Stalled"));
    }
}
