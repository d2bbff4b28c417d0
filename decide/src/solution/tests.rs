//! A solution from draft to use: who agrees, what makes that fall, and that every end counts once whatever is lost on the way.

use std::collections::BTreeSet;

use crds::v1alpha1::{
    ChangeSolutionSpec, ChangeTicketSpec, condition_is_true, find_condition, set_condition,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::constant(second, 0)
}

/// A solution of rita's with Job `j`, and the world around it.
struct Desk {
    solution: ChangeSolution,
    job: Result<Option<JobSeen>, Refusal>,
    barred: Option<Refusal>,
    approvals: Vec<Approval>,
    ended: Vec<ChangeTicket>,
}

impl Desk {
    fn with(over: &Value) -> Self {
        let mut spec = json!({
            "title": "t", "submit": true, "openParameters": ["unit"],
            "plan": {"job": {"jobRef": {"name": "j"}, "parameters": {"unit": "web", "how": "softly"}}},
            "review": [{"name": "leads", "users": ["bob"], "groups": ["board"]}, {"name": "cab", "users": ["carol"]}],
            "requestedBy": {"user": "rita"},
        });
        let over = over.as_object().expect("an object").clone();
        spec.as_object_mut().expect("an object").extend(over);
        let spec: ChangeSolutionSpec = serde_json::from_value(spec).expect("a spec");
        let mut solution = ChangeSolution::new("restart", spec);
        solution.metadata.uid = Some("solution-1".into());
        solution.metadata.generation = Some(1);
        Self {
            solution,
            job: Ok(Some(JobSeen {
                revision: "sha256:first".into(),
                writers: BTreeSet::from(["wanda".to_owned()]),
            })),
            barred: None,
            approvals: Vec::new(),
            ended: Vec::new(),
        }
    }

    fn digest(&self) -> String {
        let job = self.job.as_ref().ok().and_then(Option::as_ref);
        Content::of_solution(&self.solution, job).digest
    }

    fn says(&mut self, user: &str, groups: &[&str], decision: &str) {
        let spec = json!({"subject": {"kind": "ChangeSolution", "name": "restart"}, "digest": self.digest(), "decision": decision,
            "reason": "r", "requestedBy": {"user": user, "groups": groups}});
        let spec = serde_json::from_value(spec).expect("a spec");
        self.approvals.push(Approval::new("a", spec));
    }

    fn agreed(mut self) -> Self {
        for user in ["bob", "carol"] {
            self.says(user, &[], "Approve");
        }
        self
    }

    fn look(&self, second: i64) -> Told {
        let world = World {
            job: self.job.clone(),
            barred: self.barred.clone(),
            approvals: &self.approvals,
            ended: &self.ended,
        };
        status(&self.solution, &world, at(second))
    }

    /// The word and the reason after a turn.
    fn turn(&mut self, second: i64) -> (String, String) {
        let status = self.look(second).status;
        let ready = find_condition(&status.conditions, "Ready").expect("it says how it is");
        let told = (
            status.summary.clone().expect("a word"),
            ready.reason.clone(),
        );
        self.solution.status = Some(status);
        told
    }

    fn used_by(&self, parameters: &Value) -> Result<SolutionSeen, Refusal> {
        let planned = json!({"name": "restart", "parameters": parameters});
        let planned = serde_json::from_value(planned).expect("a solution that is used");
        let job = self.job.as_ref().ok().and_then(Option::as_ref);
        usable(&self.solution, job, &self.approvals, &planned, at(0))
    }

    fn status(&self) -> &ChangeSolutionStatus {
        self.solution.status.as_ref().expect("a status")
    }
}

fn told(word: &str, reason: &str) -> (String, String) {
    (word.to_owned(), reason.to_owned())
}

#[test]
fn a_solution_is_used_once_every_level_has_agreed_to_it_and_no_draft_is() {
    let mut desk = Desk::with(&json!({"submit": false})).agreed();
    assert_eq!(desk.turn(0), told("Draft", "Draft"));
    assert!(desk.status().digest.is_none() && desk.used_by(&json!({})).is_err());
    desk.solution.spec.submit = true;
    assert_eq!(desk.turn(1), told("Approved", "Approved"));

    let mut desk = Desk::with(&json!({}));
    desk.says("bob", &[], "Approve");
    assert_eq!(desk.turn(0), told("InReview", "AwaitingApproval"));
    let refused = desk.used_by(&json!({})).expect_err("carol has not agreed");
    assert_eq!(refused.reason, "SolutionNotApproved");
    assert!(refused.message.contains("approve solution/restart"));
    desk.says("carol", &[], "Approve");
    assert_eq!(desk.turn(1), told("Approved", "Approved"));
    assert!(condition_is_true(&desk.status().conditions, "Approved"));
    assert_eq!(desk.status().digest.as_ref(), Some(&desk.digest()));
    assert_eq!(desk.status().levels.len(), 2);
    assert_eq!(
        desk.look(1).status,
        *desk.status(),
        "it is not written again"
    );
    desk.says("bob", &[], "Reject");
    assert_eq!(desk.turn(2), told("Rejected", "Rejected"));
    assert!(desk.used_by(&json!({})).is_err());
}

#[test]
fn nobody_agrees_to_what_they_wrote_and_a_level_without_others_says_so() {
    for (user, groups, why) in [
        ("rita", &["board"][..], "OwnWork"),
        ("wanda", &["board"], "OwnWork"),
        ("mallory", &[], "NotReviewer"),
        ("erin", &["board"], ""),
    ] {
        let mut desk = Desk::with(&json!({}));
        desk.says(user, groups, "Approve");
        let job = desk.job.clone().expect("a job");
        let content = Content::of_solution(&desk.solution, job.as_ref());
        let counts = change::counts(&desk.solution, &content, &desk.approvals[0], at(0));
        assert_eq!(counts.map_or_else(|r| r.reason, |()| ""), why, "{user}");
    }
    let mut desk = Desk::with(&json!({"review": [{"name": "l", "users": ["wanda"]}]}));
    assert_eq!(desk.turn(0), told("Blocked", "NobodyToReview"));
    let mut desk = Desk::with(&json!({"requestedBy": null}));
    assert_eq!(desk.turn(0), told("Blocked", "NotStamped"));
}

#[test]
fn whoever_wrote_what_is_there_now_is_remembered_when_another_has_written_it_too() {
    let mut desk = Desk::with(&json!({}));
    desk.turn(0);
    desk.solution.spec.requested_by = Some(crds::v1alpha1::Requester {
        user: "bob".into(),
        groups: Vec::new(),
    });
    desk.turn(1);
    assert_eq!(desk.status().writers, ["bob", "rita"]);
}

#[test]
fn every_change_of_solution_or_job_makes_approvals_fall() {
    let edits: [fn(&mut Desk); 5] = [
        |desk| desk.solution.spec.title = "another".into(),
        |desk| desk.solution.spec.open_parameters.push("how".into()),
        |desk| {
            let job = desk.solution.spec.plan.job.as_mut().expect("a job");
            job.service_account_name = "root".into();
        },
        |desk| {
            let seen = desk.job.as_mut().expect("a job").as_mut();
            seen.expect("a job").revision = "sha256:second".into();
        },
        |desk| desk.solution.metadata.uid = Some("solution-2".into()),
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let mut desk = Desk::with(&json!({})).agreed();
        assert_eq!(desk.turn(0), told("Approved", "Approved"));
        edit(&mut desk);
        assert_eq!(desk.turn(1), told("InReview", "AwaitingApproval"), "{n}");
        assert!(desk.used_by(&json!({})).is_err(), "{n}");
    }
}

#[test]
fn a_job_that_cannot_be_run_blocks_its_solution() {
    let mut desk = Desk::with(&json!({})).agreed();
    desk.barred = Some(Refusal::new("WriterNotEntitled", "rita"));
    assert_eq!(desk.turn(0), told("Blocked", "WriterNotEntitled"));
    desk.barred = None;
    desk.job = Err(Refusal::new("JobNotFound", "there is no Job j"));
    assert_eq!(desk.turn(1), told("Blocked", "JobNotFound"));
    assert!(condition_is_true(&desk.status().conditions, "Stalled"));
    assert!(desk.status().digest.is_none());
}

#[test]
fn a_ticket_gives_what_is_open_and_nothing_else() {
    let desk = Desk::with(&json!({})).agreed();
    let seen = desk.used_by(&json!({})).expect("it is approved");
    assert_eq!(seen.used.digest, desk.digest());
    assert!(seen.writers.contains("rita") && seen.writers.contains("wanda"));
    let values = |given: &Value| {
        let job = desk.used_by(given).expect("it is approved").job;
        json!(job.expect("a job").parameters)
    };
    let own = json!({"unit": "web", "how": "softly"});
    assert_eq!(values(&json!({})), own);
    let given = json!({"unit": "db", "how": "softly"});
    assert_eq!(values(&json!({"unit": "db"})), given);
    let refused = desk.used_by(&json!({"how": "hard"}));
    let refused = refused.expect_err("it is not open");
    assert_eq!(refused.reason, "ParameterNotOpen");
    assert!(refused.message.contains("only these: unit"));
}

/// A ticket that has ended with the solution at a second.
fn ended(n: usize, second: i64, well: bool) -> ChangeTicket {
    let spec = json!({"title": "t", "type": "Regular", "level": "C", "plan": {"solution": {"name": "restart"}},
        "window": {"start": at(0).to_string(), "end": at(1000).to_string()},
        "implementers": {"users": ["ivan"]}, "review": [{"name": "l", "users": ["bob"]}]});
    let spec: ChangeTicketSpec = serde_json::from_value(spec).expect("a spec");
    let mut ticket = ChangeTicket::new(&format!("t{n}"), spec);
    ticket.metadata.uid = Some(format!("ticket-{n}"));
    let status = json!({"summary": if well { "Succeeded" } else { "Failed" }, "finishedAt": at(second).to_string(),
        "solution": {"name": "restart", "uid": "solution-1", "digest": "sha256:s"},
        "started": {"at": at(second - 1).to_string(), "digest": "sha256:d", "closes": at(900).to_string(), "onClose": "Finish", "level": "C"}});
    let mut status: crds::v1alpha1::ChangeTicketStatus =
        serde_json::from_value(status).expect("a status");
    let (type_, reason) = if well {
        ("Complete", "Succeeded")
    } else {
        ("Failed", "RunFailed")
    };
    let end = Verdict::yes(type_, reason, "");
    set_condition(&mut status.conditions, &end, None, at(second));
    ticket.status = Some(status);
    ticket
}

#[test]
fn an_end_counts_once_and_only_where_the_ticket_was_started_with_this_very_solution() {
    let mut desk = Desk::with(&json!({})).agreed();
    desk.ended = vec![ended(1, 10, true), ended(2, 20, false)];
    let edits: [fn(&mut ChangeTicket); 4] = [
        |ticket| ticket.status.as_mut().expect("given").started = None,
        |ticket| ticket.status.as_mut().expect("given").solution = None,
        |ticket| ticket.status.as_mut().expect("given").conditions.clear(),
        |ticket| {
            let solution = &mut ticket.status.as_mut().expect("given").solution;
            solution.as_mut().expect("given").uid = "another".into();
        },
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let mut other = ended(n + 3, 30, true);
        edit(&mut other);
        desk.ended.push(other);
    }
    for _ in 0..2 {
        desk.turn(40);
        let status = desk.status();
        assert_eq!((status.succeeded, status.failed), (1, 1));
        assert_eq!(status.last_used.as_ref().map(|t| t.0), Some(at(19)));
        let told = status.results.iter();
        let told: Vec<_> = told.map(|r| (&*r.ticket, &*r.result, &*r.reason)).collect();
        assert_eq!(
            told,
            [
                ("t2", "Failed", "RunFailed"),
                ("t1", "Succeeded", "Succeeded")
            ]
        );
    }
    // An edit of the solution takes nothing of that away.
    desk.solution.spec.title = "another".into();
    desk.turn(41);
    assert_eq!(desk.status().results.len(), 2);
}

/// What happens around the tickets of a solution.
#[derive(Clone, Debug)]
enum Event {
    Ends(bool),
    /// A turn of the solution; whether its status is written, or the operator dies first.
    Turns(bool),
    /// A ticket looks whether the solution knows it; whether that is written.
    Looks(usize, bool),
    /// Somebody deletes a ticket, which goes once it owes nothing.
    Deletes(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => any::<bool>().prop_map(Event::Ends),
        3 => prop::bool::weighted(0.7).prop_map(Event::Turns),
        4 => (0..40_usize, prop::bool::weighted(0.8)).prop_map(|(n, written)| Event::Looks(n, written)),
        1 => (0..40_usize).prop_map(Event::Deletes),
    ]
}

proptest! {
    /// Whatever is lost and whoever deletes what: every end is counted once, and the last ten are kept.
    #[test]
    fn every_end_counts_once(events in prop::collection::vec(event(), 1..160)) {
        let mut desk = Desk::with(&json!({})).agreed();
        let (mut made, mut well) = (0, 0);
        let look = |desk: &mut Desk, n: usize| {
            let told = desk.ended.get(n).is_some_and(|ticket| knows(&desk.solution, ticket));
            if let Some(used) = desk.ended.get_mut(n).and_then(|t| t.status.as_mut()?.solution.as_mut()) {
                used.told |= told;
            }
        };
        for event in events {
            match event {
                Event::Ends(success) => {
                    made += 1;
                    well += i64::from(success);
                    let second = i64::try_from(made).expect("few") * 2;
                    desk.ended.push(ended(made, second, success));
                }
                Event::Turns(true) => {
                    desk.turn(0);
                }
                Event::Looks(n, true) => look(&mut desk, n),
                Event::Turns(false) | Event::Looks(_, false) => {}
                Event::Deletes(n) => {
                    if desk.ended.get(n).is_some_and(|ticket| owing(ticket).is_none()) {
                        desk.ended.remove(n);
                    }
                }
            }
        }
        while desk.ended.iter().any(|ticket| owing(ticket).is_some()) {
            desk.turn(0);
            for n in 0..desk.ended.len() {
                look(&mut desk, n);
            }
        }
        desk.turn(0);
        let status = desk.status();
        prop_assert_eq!(status.succeeded, well);
        prop_assert_eq!(status.succeeded + status.failed, i64::try_from(made).expect("few"));
        prop_assert_eq!(status.results.len(), made.min(10));
        let uids: BTreeSet<_> = status.results.iter().map(|result| &result.uid).collect();
        prop_assert_eq!(uids.len(), status.results.len());
    }
}
