//! What is held in memory of the objects that are watched: no more than turns look at. Runs that have ended are many, and little of them matters.

use crds::v1alpha1::{JobRun, JobRunStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Resource, ResourceExt as _,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::watcher::Event,
};

/// What kubectl keeps for itself in each object that it applies.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Lets go of what nobody here asks for.
pub fn object<K>(object: &mut DeserializeGuard<K>)
where
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}

/// The same of a run; of one that has ended, what is left to do needs who it is, how it ended and when it goes.
pub fn run(guarded: &mut DeserializeGuard<JobRun>) {
    object(guarded);
    let Some(run) = guarded.0.as_mut().ok().filter(|run| run.is_finished()) else {
        return;
    };
    run.spec.job = None;
    run.spec.requested_by = None;
    run.spec.parameters.clear();
    run.spec.secret_parameters.clear();
    run.spec.parameter_refs.clear();
    run.status = run.status.take().map(|status| JobRunStatus {
        conditions: ends(status.conditions),
        started_at: status.started_at,
        finished_at: status.finished_at,
        ..JobRunStatus::default()
    });
}

/// What is heard of objects, as if those that are done were not there.
pub fn without<K>(event: Event<K>, is_done: impl Fn(&K) -> bool) -> Option<Event<K>> {
    match event {
        Event::Apply(object) if is_done(&object) => Some(Event::Delete(object)),
        Event::InitApply(object) if is_done(&object) => None,
        event => Some(event),
    }
}

/// Complete and Failed, without what they say to people.
fn ends(all: Vec<Condition>) -> Vec<Condition> {
    let ends = all
        .into_iter()
        .filter(|c| matches!(c.type_.as_str(), "Complete" | "Failed"));
    let silent = |condition| Condition {
        message: String::new(),
        ..condition
    };
    let mut ends: Vec<_> = ends.map(silent).collect();
    // The room of those that went was kept.
    ends.shrink_to_fit();
    ends
}

#[cfg(test)]
mod tests {
    use crds::v1alpha1::{Verdict, find_condition, set_condition};
    use jiff::Timestamp;

    use super::*;

    fn run_with(condition: &'static str) -> DeserializeGuard<JobRun> {
        let text = r#"{"job": {"steps": [{"name": "one", "pause": {"duration": "1s"}}]}}"#;
        let mut run = JobRun::new("r", serde_json::from_str(text).expect("a spec"));
        let noted = (LAST_APPLIED.to_owned(), "{}".to_owned());
        run.annotations_mut().extend([noted]);
        let mut status = JobRunStatus::default();
        let verdict = Verdict::yes(condition, "Reason", "long");
        set_condition(
            &mut status.conditions,
            &verdict,
            None,
            Timestamp::UNIX_EPOCH,
        );
        run.status = Some(status);
        DeserializeGuard(Ok(run))
    }

    #[test]
    fn what_is_done_is_as_if_it_were_not_there() {
        let heard = [
            Event::Init,
            Event::InitApply(1),
            Event::InitApply(2),
            Event::InitDone,
        ];
        let changed = [Event::Apply(3), Event::Apply(4), Event::Delete(5)];
        let events = heard.into_iter().chain(changed);
        let left: Vec<_> = events.filter_map(|e| without(e, |n| n % 2 == 1)).collect();
        let left = format!("{left:?}");
        assert_eq!(
            left,
            "[Init, InitApply(2), InitDone, Delete(3), Apply(4), Delete(5)]"
        );
    }

    #[test]
    fn of_a_run_that_has_ended_its_work_is_let_go_and_its_end_stays() {
        let [mut ended, mut going] = ["Complete", "Running"].map(run_with);
        run(&mut ended);
        run(&mut going);
        let ([ended, going], now) = (
            [ended, going].map(|g| g.0.expect("valid")),
            Timestamp::UNIX_EPOCH,
        );
        assert!(ended.annotations().is_empty() && going.annotations().is_empty());
        assert!(ended.spec.job.is_none() && going.spec.job.is_some());
        let status = ended.status.expect("it has one");
        let complete = find_condition(&status.conditions, "Complete").expect("it is there");
        assert_eq!(
            (complete.reason.as_str(), complete.message.as_str()),
            ("Reason", "")
        );
        assert!(complete.last_transition_time.0 >= now);
    }
}
