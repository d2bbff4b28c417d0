//! Whether a run may begin: not when its name has begun before, and not when nobody has looked at it in time. So what a backup, an etcd of yesterday or Git
//! brings back does nothing a second time.

use crds::{receipt::Receipt, v1alpha1::JobRun};
use jiff::{SignedDuration, Timestamp};

use crate::Refusal;

/// The refusal of a run whose name another run has had.
pub const ALREADY_BEGUN: &str = "AlreadyBegun";

/// A run that nobody has ever looked at, and that is older than its start deadline.
pub fn overdue(run: &JobRun, now: Timestamp) -> Option<Refusal> {
    let created = run.metadata.creation_timestamp.as_ref()?.0;
    let deadline = run.spec.start_deadline;
    let allowed = SignedDuration::try_from(deadline.get()).unwrap_or(SignedDuration::MAX);
    if run.was_seen() || now.duration_since(created) <= allowed {
        return None;
    }
    Some(Refusal::new(
        "StartDeadlineExceeded",
        format!(
            "nobody looked at this run within {deadline} of its creation (spec.startDeadline), so it is not known whether it began before; create another one, or one with a longer deadline"
        ),
    ))
}

/// The receipt that stands under a run's name is another's, or speaks of another plan.
pub fn repeated(claimed: &Receipt, stands: &Receipt) -> Option<Refusal> {
    let (reason, began) = match (
        claimed.run_uid == stands.run_uid,
        claimed.plan == stands.plan,
    ) {
        (true, true) => return None,
        (true, false) => (
            "PlanLost",
            format!(
                "this run began at {:.0} with a plan that is lost",
                stands.at
            ),
        ),
        (false, _) => (
            ALREADY_BEGUN,
            format!(
                "a run of this name began at {:.0} (UID {})",
                stands.at, stands.run_uid
            ),
        ),
    };
    Some(Refusal::new(
        reason,
        format!(
            "{began}, and no name begins twice in a namespace, so that a run that is restored or applied anew does nothing; create it under another name, or with generateName"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::v1alpha1::JobRunStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn run(deadline: &str) -> JobRun {
        let spec = serde_json::json!({"jobRef": {"name": "j"}, "startDeadline": deadline});
        let mut run = JobRun::new("r", serde_json::from_value(spec).expect("a spec"));
        run.metadata.creation_timestamp = Some(Time(at(1_000)));
        run
    }

    #[test]
    fn a_run_is_too_late_only_while_nobody_has_looked_at_it() {
        assert_eq!(overdue(&run("1m"), at(1_060)), None);
        let late = overdue(&run("1m"), at(1_061)).expect("refused");
        assert_eq!(late.reason, "StartDeadlineExceeded");
        let seen_as = |generation| JobRun {
            status: Some(JobRunStatus {
                observed_generation: Some(generation),
                ..JobRunStatus::default()
            }),
            ..run("1m")
        };
        assert!(overdue(&seen_as(-1), at(9_000)).is_some());
        assert_eq!(overdue(&seen_as(1), at(9_000)), None);
    }

    #[test]
    fn a_name_begins_once_and_a_run_goes_on_with_the_plan_it_began_with() {
        let receipt = |uid: &str, plan: &str| Receipt {
            namespace: "n".into(),
            namespace_uid: "n-uid".into(),
            run: "r".into(),
            run_uid: uid.into(),
            plan: plan.into(),
            at: at(1_000),
        };
        let stands = receipt("1", "p");
        let verdict = |uid, plan| repeated(&receipt(uid, plan), &stands);
        assert_eq!(verdict("1", "p"), None);
        let lost = verdict("1", "q").expect("refused");
        assert_eq!(lost.reason, "PlanLost");
        let again = verdict("2", "p").expect("refused");
        assert_eq!(again.reason, "AlreadyBegun");
        assert!(again.message.contains("UID 1"), "{again}");
    }
}
