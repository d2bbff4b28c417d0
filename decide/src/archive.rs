//! What is kept of a run that has ended, before the cluster may let it go: itself, and what people did to it.

use crds::{
    archive::Archived,
    v1alpha1::{JobRun, RunAction, find_condition},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

/// The run and the actions about it; nothing while one has no answer yet, unless it or the run goes.
pub fn of(run: &JobRun, actions: &[RunAction], namespace_uid: &str) -> Option<Vec<Archived>> {
    let status = run.status.as_ref()?;
    let ended = status.finished_at.as_ref();
    let ended = ended.map_or(Timestamp::UNIX_EPOCH, |at| at.0);
    let summary = status.summary.as_deref().unwrap_or_default();
    let how = ("JobRun", summary, ended);
    let mut all = vec![archived(how, &run.metadata, namespace_uid, run)];
    for action in actions {
        let outcome = match answer(action) {
            Some(answer) => answer,
            None if goes(&run.metadata) || goes(&action.metadata) => "Unanswered",
            None => return None,
        };
        let how = ("RunAction", outcome, ended);
        all.push(archived(how, &action.metadata, namespace_uid, action));
    }
    Some(all)
}

fn goes(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

fn answer(action: &RunAction) -> Option<&str> {
    let conditions = &action.status.as_ref()?.conditions;
    let applied = find_condition(conditions, "Applied")?;
    Some(match applied.status.as_str() {
        "True" => "Applied",
        _ => &applied.reason,
    })
}

/// An object that has ended: its kind, how and when, and what it is.
fn archived(
    (kind, outcome, finished_at): (&str, &str, Timestamp),
    metadata: &ObjectMeta,
    namespace_uid: &str,
    object: &impl Serialize,
) -> Archived {
    let mut object = serde_json::to_value(object).expect("an object of a cluster is JSON");
    if let Some(metadata) = object["metadata"].as_object_mut() {
        // Who wrote which field is of use to writers only, and half of the object.
        metadata.remove("managedFields");
    }
    let known = |text: &Option<String>| text.clone().unwrap_or_default();
    Archived {
        kind: kind.to_owned(),
        name: known(&metadata.name),
        namespace: known(&metadata.namespace),
        namespace_uid: namespace_uid.to_owned(),
        uid: known(&metadata.uid),
        outcome: outcome.to_owned(),
        finished_at,
        object,
    }
}

#[cfg(test)]
mod tests {
    use crds::v1alpha1::JobRunStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
    use serde_json::json;

    use super::*;
    use crate::{Refusal, action};

    fn run() -> JobRun {
        let spec = json!({"jobRef": {"name": "j"}});
        let mut run = JobRun::new("r", serde_json::from_value(spec).expect("a spec"));
        run.metadata.uid = Some("r-uid".into());
        run.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
        run.status = Some(JobRunStatus {
            summary: Some("Failed".into()),
            finished_at: Some(Time(Timestamp::UNIX_EPOCH)),
            ..JobRunStatus::default()
        });
        run
    }

    fn cancel(answer: Option<Result<(), Refusal>>) -> RunAction {
        let spec = json!({"runRef": {"name": "r"}, "action": "Cancel"});
        let mut cancel = RunAction::new("a", serde_json::from_value(spec).expect("a spec"));
        cancel.status =
            answer.map(|answer| action::status(&cancel, &answer, Timestamp::UNIX_EPOCH));
        cancel
    }

    #[test]
    fn a_run_is_kept_whole_with_what_people_did_to_it() {
        let late = Refusal::new("RunEnded", "it had ended before");
        let actions = [cancel(Some(Ok(()))), cancel(Some(Err(late)))];
        let all = of(&run(), &actions, "n-uid").expect("everything has an answer");
        let told: Vec<_> = all
            .iter()
            .map(|a| (&*a.kind, &*a.name, &*a.outcome))
            .collect();
        let wanted = [
            ("JobRun", "r", "Failed"),
            ("RunAction", "a", "Applied"),
            ("RunAction", "a", "RunEnded"),
        ];
        assert_eq!(told, wanted);
        let object = &all[0].object;
        assert_eq!(object["kind"], "JobRun");
        assert_eq!(object["spec"]["jobRef"]["name"], "j");
        assert_eq!(object["metadata"].get("managedFields"), None);
    }

    #[test]
    fn it_waits_for_answers_that_will_come() {
        let mut goes = cancel(None);
        assert_eq!(of(&run(), &[goes.clone()], "n-uid"), None);
        let mut run_goes = run();
        run_goes.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        goes.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        for (run, action) in [(run(), goes), (run_goes, cancel(None))] {
            let all = of(&run, &[action], "n-uid").expect("nobody answers it");
            assert_eq!(all[1].outcome, "Unanswered");
        }
        let mut goes_on = run();
        goes_on.status = None;
        assert_eq!(of(&goes_on, &[], "n-uid"), None);
    }
}
