//! What is kept of a run or a ticket that has ended, before the cluster may let it go: itself, and what people did to it or said about it.

use crds::{
    archive::Archived,
    v1alpha1::{Approval, ChangeAction, ChangeTicket, Decision, JobRun, RunAction, find_condition},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use serde::Serialize;

/// The run and the actions about it; nothing while one has no answer yet, unless it or the run goes.
pub fn of_run(run: &JobRun, actions: &[RunAction], namespace_uid: &str) -> Option<Vec<Archived>> {
    let status = run.status.as_ref()?;
    let of = Ended::of(&run.metadata, status.finished_at.as_ref(), namespace_uid);
    let summary = status.summary.as_deref().unwrap_or_default();
    let own = of.archived("JobRun", summary, &run.metadata, run);
    let actions = actions.iter().map(|action| {
        let told = action.status.as_ref().map(|s| &s.conditions[..]);
        of.said("RunAction", applied(told), &action.metadata, action)
    });
    std::iter::once(Some(own)).chain(actions).collect()
}

/// The ticket, the actions about it and the decisions on it; nothing as long as one has no answer, as of a run.
pub fn of_ticket(
    ticket: &ChangeTicket,
    actions: &[ChangeAction],
    approvals: &[Approval],
    namespace_uid: &str,
) -> Option<Vec<Archived>> {
    let status = ticket.status.as_ref()?;
    let of = Ended::of(&ticket.metadata, status.finished_at.as_ref(), namespace_uid);
    let summary = status.summary.as_deref().unwrap_or_default();
    let own = of.archived("ChangeTicket", summary, &ticket.metadata, ticket);
    let actions = actions.iter().map(|action| {
        let told = action.status.as_ref().map(|s| &s.conditions[..]);
        of.said("ChangeAction", applied(told), &action.metadata, action)
    });
    let approvals = approvals.iter().map(|approval| {
        let decided = counted(approval);
        of.said("Approval", decided, &approval.metadata, approval)
    });
    let all = std::iter::once(Some(own)).chain(actions);
    all.chain(approvals).collect()
}

/// What became of an action.
fn applied(told: Option<&[Condition]>) -> Option<&str> {
    let applied = find_condition(told?, "Applied")?;
    Some(match applied.status.as_str() {
        "True" => "Applied",
        _ => &applied.reason,
    })
}

/// What a decision was, or why it does not count.
fn counted(approval: &Approval) -> Option<&str> {
    let conditions = &approval.status.as_ref()?.conditions;
    let counts = find_condition(conditions, "Counts")?;
    Some(match (counts.status.as_str(), approval.spec.decision) {
        ("True", Decision::Approve) => "Approved",
        ("True", Decision::Reject) => "Rejected",
        _ => &counts.reason,
    })
}

/// Something that has ended, when, and in which namespace.
struct Ended<'a> {
    goes: bool,
    at: Timestamp,
    namespace_uid: &'a str,
}

impl<'a> Ended<'a> {
    fn of(metadata: &ObjectMeta, at: Option<&Time>, namespace_uid: &'a str) -> Self {
        Self {
            goes: goes(metadata),
            at: at.map_or(Timestamp::UNIX_EPOCH, |at| at.0),
            namespace_uid,
        }
    }

    /// What somebody has said about it, with the answer; one that nobody will answer is kept without.
    fn said(
        &self,
        kind: &str,
        answer: Option<&str>,
        metadata: &ObjectMeta,
        object: &impl Serialize,
    ) -> Option<Archived> {
        let unanswered = || (self.goes || goes(metadata)).then_some("Unanswered");
        let outcome = answer.or_else(unanswered)?;
        Some(self.archived(kind, outcome, metadata, object))
    }

    /// An object of its kind, and how it ended.
    fn archived(
        &self,
        kind: &str,
        outcome: &str,
        metadata: &ObjectMeta,
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
            namespace_uid: self.namespace_uid.to_owned(),
            uid: known(&metadata.uid),
            outcome: outcome.to_owned(),
            finished_at: self.at,
            object,
        }
    }
}

fn goes(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests {
    use crds::v1alpha1::JobRunStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Refusal, action, approval, change};

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
        let all = of_run(&run(), &actions, "n-uid").expect("everything has an answer");
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
        assert_eq!(of_run(&run(), &[goes.clone()], "n-uid"), None);
        let mut run_goes = run();
        run_goes.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        goes.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        for (run, action) in [(run(), goes), (run_goes, cancel(None))] {
            let all = of_run(&run, &[action], "n-uid").expect("nobody answers it");
            assert_eq!(all[1].outcome, "Unanswered");
        }
        let mut goes_on = run();
        goes_on.status = None;
        assert_eq!(of_run(&goes_on, &[], "n-uid"), None);
    }

    fn ticket() -> ChangeTicket {
        let ticket = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ChangeTicket", "metadata": {"name": "t", "uid": "t-uid"},
            "spec": {"title": "t", "type": "Regular", "level": "C", "plan": {"guide": "g"}, "implementers": {"users": ["ivan"]}, "review": [{"name": "l", "users": ["bob"]}],
                "window": {"start": "2026-12-05T10:00:00Z", "end": "2026-12-05T12:00:00Z"}},
            "status": {"summary": "Succeeded", "finishedAt": "2026-12-05T11:00:00Z"}});
        serde_json::from_value(ticket).expect("a ticket")
    }

    fn said<T: serde::de::DeserializeOwned>(kind: &str, spec: &Value) -> T {
        let said = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": spec});
        serde_json::from_value(said).expect("an object")
    }

    fn start(answer: Option<Result<(), Refusal>>) -> ChangeAction {
        let spec = json!({"ticketRef": {"name": "t"}, "action": "Start"});
        let mut start: ChangeAction = said("ChangeAction", &spec);
        start.status =
            answer.map(|answer| change::answered(&start, &answer, Timestamp::UNIX_EPOCH));
        start
    }

    fn decided(decision: &str, counts: Option<Result<(), Refusal>>) -> Approval {
        let subject = json!({"kind": "ChangeTicket", "name": "t"});
        let spec = json!({"subject": subject, "digest": "d", "decision": decision});
        let mut decided: Approval = said("Approval", &spec);
        decided.status = counts.map(|c| approval::status(&decided, &c, Timestamp::UNIX_EPOCH));
        decided
    }

    #[test]
    fn a_ticket_is_kept_with_what_people_did_to_it_and_what_they_decided() {
        let refused = |reason| Some(Err(Refusal::new(reason, "why")));
        let actions = [start(Some(Ok(()))), start(refused("AlreadyStarted"))];
        let approvals = [
            decided("Approve", Some(Ok(()))),
            decided("Reject", Some(Ok(()))),
            decided("Approve", refused("Changed")),
        ];
        let all = of_ticket(&ticket(), &actions, &approvals, "n-uid").expect("all is answered");
        let told: Vec<_> = all.iter().map(|a| (&*a.kind, &*a.outcome)).collect();
        let wanted = [
            ("ChangeTicket", "Succeeded"),
            ("ChangeAction", "Applied"),
            ("ChangeAction", "AlreadyStarted"),
            ("Approval", "Approved"),
            ("Approval", "Rejected"),
            ("Approval", "Changed"),
        ];
        assert_eq!(told, wanted);
        assert_eq!(all[0].object["status"]["summary"], "Succeeded");
        let ended = all.iter().map(|one| one.finished_at.to_string());
        assert!(ended.eq(vec!["2026-12-05T11:00:00Z"; 6]), "with the ticket");
        let is_known = |one: &Archived| Archived::read_row_name(&one.row_name()).is_some();
        assert!(all.iter().all(is_known), "whoever may read the kind");
    }

    #[test]
    fn a_ticket_waits_for_its_answers_unless_it_goes() {
        let mut ticket = ticket();
        let (open, undecided) = ([start(None)], [decided("Approve", None)]);
        assert_eq!(of_ticket(&ticket, &open, &[], "n-uid"), None);
        assert_eq!(of_ticket(&ticket, &[], &undecided, "n-uid"), None);
        ticket.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let all = of_ticket(&ticket, &open, &undecided, "n-uid").expect("nobody answers");
        assert!(all[1..].iter().all(|one| one.outcome == "Unanswered"));
    }
}
