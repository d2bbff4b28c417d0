//! What a Job's status says: whether a run of it could be planned, and whose turn it is if not.

use crds::v1alpha1::{Job, JobStatus, Verdict, set_condition};
use jiff::Timestamp;

/// Refusals that go away when a Script or another Job is applied, which may be on its way together with this one.
const OF_OTHERS: [&str; 8] = [
    "JobNotFound",
    "ScriptNotFound",
    "UnknownParameter",
    "MissingParameter",
    "ParameterNotFound",
    "ParameterVersionNotFound",
    "SensitiveInPlain",
    "ValueNotAllowed",
];

/// The status after a look; the verdict is Ready, and the revision that of a job that is.
pub fn status(job: &Job, ready: &Verdict, revision: Option<String>, now: Timestamp) -> JobStatus {
    let generation = job.metadata.generation;
    let mut status = job.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    status.revision = revision;
    status.steps = i32::try_from(job.spec.steps.len()).ok();
    if ready.status == "False" && !OF_OTHERS.contains(&ready.reason) {
        let stalled = Verdict::yes("Stalled", ready.reason, &ready.message);
        set_condition(&mut status.conditions, &stalled, generation, now);
    } else {
        status.conditions.retain(|c| c.type_ != "Stalled");
    }
    set_condition(&mut status.conditions, ready, generation, now);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::v1alpha1::condition_is_true;

    #[test]
    fn a_job_is_stalled_while_nothing_but_its_own_correction_helps() {
        let spec = serde_json::json!({"steps": [{"name": "a", "inline": {"content": "true"}}]});
        let mut job = Job::new("j", serde_json::from_value(spec).expect("a spec"));
        for (verdict, stalled) in [
            (Verdict::no("Ready", "CycleInNeeds", ""), true),
            (Verdict::no("Ready", "ScriptNotFound", ""), false),
            (Verdict::no("Ready", "TooManyParameters", ""), true),
            (Verdict::unknown("Ready", "Observe", ""), false),
            (Verdict::no("Ready", "BadTemplate", ""), true),
            (Verdict::yes("Ready", "Plannable", ""), false),
        ] {
            let told = status(&job, &verdict, None, Timestamp::UNIX_EPOCH);
            let is = condition_is_true(&told.conditions, "Stalled");
            assert_eq!(is, stalled, "{}", verdict.reason);
            job.status = Some(told);
            let again = status(&job, &verdict, None, Timestamp::MAX);
            assert_eq!(job.status, Some(again), "there is nothing new to write");
        }
    }
}
