//! A ticket from draft to end: review, window, by whom, and what is started at most once whatever is lost on the way.

use std::collections::BTreeSet;

use crds::v1alpha1::{
    ChangeTicketSpec, ConflictMode, JobRunStatus, Requester, SolutionUsed, condition_is_true,
    find_condition, set_condition,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;

/// The window is open from 100 to 200, and the last 20 are kept.
const START: i64 = 100;
const CLOSES: i64 = 180;
const END: i64 = 200;

fn at(second: i64) -> Timestamp {
    Timestamp::constant(second, 0)
}

/// A ticket of rita's, and the world around it.
struct Desk {
    ticket: ChangeTicket,
    job: Result<Option<JobSeen>, Refusal>,
    solution: Option<SolutionSeen>,
    told: bool,
    barred: Option<Refusal>,
    approvals: Vec<Approval>,
    calendars: Gate,
    conflicts: Vec<conflict::Found>,
    on_conflict: OnConflict,
    risk: risk::Weighed,
    actions: Vec<ChangeAction>,
    run: Option<JobRun>,
    created: usize,
    acted: usize,
}

impl Desk {
    /// Leads bob or someone of the board, and every one of the cab; ivan and the crew carry it out.
    fn with(over: &Value) -> Self {
        let mut spec = json!({
            "title": "t", "type": "Regular", "level": "C", "submit": true,
            "window": {"start": at(START).to_string(), "end": at(END).to_string(), "reserve": "20s"},
            "plan": {"job": {"jobRef": {"name": "j"}}},
            "implementers": {"users": ["ivan", "rita"], "groups": ["crew"]},
            "review": [{"name": "leads", "users": ["bob"], "groups": ["board"]},
                {"name": "cab", "users": ["carol", "dave"], "rule": "All"}],
            "requestedBy": {"user": "rita"},
        });
        let over = over.as_object().expect("an object").clone();
        spec.as_object_mut().expect("an object").extend(over);
        let spec: ChangeTicketSpec = serde_json::from_value(spec).expect("a spec");
        let mut ticket = ChangeTicket::new("move", spec);
        ticket.metadata.uid = Some("3f2504e0-4f89-11d3-9a0c-0305e82c3301".into());
        ticket.metadata.generation = Some(1);
        let job = ticket.spec.plan.job.as_ref().map(|_| JobSeen {
            revision: "sha256:first".into(),
            writers: BTreeSet::from(["wanda".to_owned()]),
        });
        Self {
            ticket,
            job: Ok(job),
            solution: None,
            told: false,
            barred: None,
            approvals: Vec::new(),
            calendars: Gate::default(),
            conflicts: Vec::new(),
            on_conflict: OnConflict::default(),
            risk: risk::Weighed::default(),
            actions: Vec::new(),
            run: None,
            created: 0,
            acted: 0,
        }
    }

    fn guide(over: &Value) -> Self {
        let mut all = json!({"plan": {"guide": "by hand"}});
        let over = over.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(over);
        Self::with(&all)
    }

    fn digest(&self) -> String {
        let job = self.job.as_ref().ok().and_then(Option::as_ref);
        Content::of(&self.ticket, job, self.solution.as_ref()).digest
    }

    fn says(&mut self, user: &str, groups: &[&str], decision: &str) {
        let spec = json!({"subject": {"kind": "ChangeTicket", "name": "move"}, "digest": self.digest(), "decision": decision,
            "reason": "r", "requestedBy": {"user": user, "groups": groups}});
        let spec = serde_json::from_value(spec).expect("a spec");
        self.approvals.push(Approval::new("a", spec));
    }

    fn agreed(mut self) -> Self {
        for user in ["bob", "carol", "dave"] {
            self.says(user, &[], "Approve");
        }
        self
    }

    fn does(&mut self, user: &str, action: &str, result: Option<&str>) {
        let result =
            result.map(|outcome| json!({"outcome": outcome, "verified": "InWindow", "note": "n"}));
        let mut spec = json!({"ticketRef": {"name": "move"}, "action": action, "reason": "because",
            "requestedBy": {"user": user, "groups": []}});
        if let Some(result) = result {
            spec["result"] = result;
        }
        let mut action = ChangeAction::new("a", serde_json::from_value(spec).expect("a spec"));
        self.acted += 1;
        action.metadata.uid = Some(format!("action-{}", self.acted));
        self.actions.push(action);
    }

    fn look(&self, second: i64) -> Turn {
        let world = World {
            job: self.job.clone(),
            solution: self.solution.as_ref(),
            told: self.told,
            barred: self.barred.clone(),
            approvals: &self.approvals,
            calendars: &self.calendars,
            conflicts: &self.conflicts,
            on_conflict: self.on_conflict,
            risk: &self.risk,
            run: self.run.as_ref(),
            actions: &self.actions,
            whole: None,
            parts: &[],
        };
        turn(&self.ticket, &world, at(second))
    }

    /// Takes turns until nothing is left to do at this moment; what actions were answered.
    fn turns(&mut self, second: i64) -> Vec<Result<(), &'static str>> {
        let mut answers = Vec::new();
        for _ in 0..5 {
            let turn = self.look(second);
            self.carry_out(turn.effect);
            let answered = turn.answers.into_iter();
            answers.extend(answered.map(|a| a.map_err(|refusal| refusal.reason)));
            self.actions.clear();
            self.ticket.status = Some(turn.status);
            if turn.again != Some(at(second)) {
                return answers;
            }
        }
        panic!("it comes to no rest");
    }

    fn carry_out(&mut self, effect: Option<Effect>) {
        if effect == Some(Effect::Create) {
            assert!(self.run.is_none(), "it is there already");
            let spec = json!({"jobRef": {"name": "j"}});
            let run = JobRun::new(
                "move-3f2504e0",
                serde_json::from_value(spec).expect("a spec"),
            );
            self.run = Some(run);
            self.created += 1;
        }
    }

    fn run_ends(&mut self, how: &'static str, summary: &str) {
        let mut status = JobRunStatus {
            summary: Some(summary.to_owned()),
            ..JobRunStatus::default()
        };
        let ended = crds::v1alpha1::Verdict::yes(how, "Ended", "");
        set_condition(&mut status.conditions, &ended, None, at(0));
        self.run.as_mut().expect("a run").status = Some(status);
    }

    fn reason(&self) -> &str {
        let status = self.ticket.status.as_ref().expect("a status");
        let ready = find_condition(&status.conditions, "Ready").expect("it says how it is");
        &ready.reason
    }

    fn status(&self) -> &ChangeTicketStatus {
        self.ticket.status.as_ref().expect("a status")
    }
}

#[test]
fn a_draft_does_nothing_and_what_is_submitted_waits_for_every_level() {
    let mut desk = Desk::with(&json!({"submit": false})).agreed();
    desk.turns(START);
    assert_eq!((desk.reason(), desk.created), ("Draft", 0));
    assert_eq!(desk.status().live, Some(false));
    assert!(condition_is_true(&desk.status().conditions, "Ready"));

    let mut desk = Desk::with(&json!({}));
    desk.turns(50);
    assert_eq!(desk.reason(), "AwaitingApproval");
    desk.says("bob", &[], "Approve");
    desk.says("carol", &[], "Approve");
    desk.turns(50);
    let ready = find_condition(&desk.status().conditions, "Ready");
    let left = &ready.expect("it says how it is").message;
    assert!(
        left.contains("cab 1 of 2") && !left.contains("leads"),
        "{left}"
    );
    desk.says("dave", &[], "Approve");
    desk.turns(50);
    assert_eq!(desk.reason(), "WaitingForWindow");
    assert_eq!(desk.status().next_flip, Some(Time(at(START))));
    let levels = desk.status().levels.iter().map(|l| (l.approved, l.needed));
    assert_eq!(levels.collect::<Vec<_>>(), [(1, 1), (2, 2)]);
}

#[test]
fn only_those_count_who_are_of_a_level_and_have_no_other_part_in_it() {
    for (user, groups, why) in [
        ("rita", &["board"][..], "OwnWork"),
        ("wanda", &["board"], "OwnWork"),
        ("ivan", &["board"], "Implementer"),
        ("carl", &["board", "crew"], "Implementer"),
        ("mallory", &[], "NotReviewer"),
        ("erin", &["board"], ""),
        ("bob", &[], ""),
    ] {
        let mut desk = Desk::with(&json!({}));
        desk.says(user, groups, "Approve");
        let job = desk.job.clone().expect("a job");
        let content = Content::of(&desk.ticket, job.as_ref(), None);
        let counts = counts(&desk.ticket, &content, &desk.approvals[0], at(0));
        assert_eq!(counts.map_or_else(|r| r.reason, |()| ""), why, "{user}");
        desk.turns(50);
        let approved = desk.status().levels[0].approved;
        assert_eq!(approved, i32::from(why.is_empty()), "{user}");
    }
}

#[test]
fn what_was_agreed_to_before_there_were_solutions_stays_agreed_to() {
    let desk = Desk::with(&json!({}));
    let says = json!({
        "title": "t", "type": "Regular", "level": "C", "scope": {"hosts": []},
        "window": {"start": at(START).to_string(), "end": at(END).to_string(), "onClose": "Finish", "reserve": "20s"},
        "start": "AtWindow",
        "plan": {"job": {"jobRef": {"name": "j"}, "serviceAccountName": "pilothouse-runner", "parameters": {}, "secretParameters": {}}},
        "implementers": {"users": ["ivan", "rita"], "groups": ["crew"]}, "allow": [],
        "review": [{"name": "leads", "users": ["bob"], "groups": ["board"], "rule": "Any"},
            {"name": "cab", "users": ["carol", "dave"], "groups": [], "rule": "All"}],
        "calendarRefs": [], "submit": false});
    let held = json!({"ticket": desk.ticket.metadata.uid, "says": says, "job": "sha256:first"});
    let digest = hex::encode(Sha256::digest(held.to_string()));
    assert_eq!(desk.digest(), format!("sha256:{digest}"));
}

/// A ticket that runs the Job of solution `s`, to which others have agreed.
fn solved(over: &Value) -> Desk {
    let mut all = json!({"plan": {"solution": {"name": "s"}}});
    let over = over.as_object().expect("an object").clone();
    all.as_object_mut().expect("an object").extend(over);
    let mut desk = Desk::with(&all);
    desk.job = Ok(Some(JobSeen {
        revision: "sha256:first".into(),
        writers: BTreeSet::from(["wanda".to_owned()]),
    }));
    desk.solution = Some(SolutionSeen {
        used: SolutionUsed {
            name: "s".into(),
            uid: "solution-1".into(),
            digest: "sha256:solution".into(),
            told: false,
        },
        job: serde_json::from_value(json!({"jobRef": {"name": "j"}})).expect("a job"),
        requested_by: Requester::default(),
        writers: BTreeSet::from(["sol".to_owned(), "wanda".to_owned()]),
    });
    desk
}

#[test]
fn a_ticket_runs_the_job_of_its_solution_and_falls_with_every_change_of_that() {
    let mut desk = solved(&json!({})).agreed();
    desk.turns(50);
    assert_eq!(desk.reason(), "WaitingForWindow");
    let used = desk.status().solution.as_ref().expect("it says so");
    assert_eq!((&*used.name, &*used.digest), ("s", "sha256:solution"));
    desk.turns(START);
    assert_eq!((desk.reason(), desk.created), ("Executing", 1));
    let started = desk.status().started.as_ref().expect("it has started");
    assert!(started.run.is_some());

    let mut desk = solved(&json!({})).agreed();
    desk.turns(50);
    let solution = desk.solution.as_mut().expect("a solution");
    solution.used.digest = "sha256:another".into();
    desk.turns(START);
    assert_eq!((desk.reason(), desk.created), ("AwaitingApproval", 0));
}

#[test]
fn nobody_who_wrote_a_solution_agrees_to_a_ticket_that_uses_it() {
    for (user, why) in [("sol", "OwnWork"), ("wanda", "OwnWork"), ("erin", "")] {
        let mut desk = solved(&json!({}));
        desk.says(user, &["board"], "Approve");
        let job = desk.job.clone().expect("a job");
        let content = Content::of(&desk.ticket, job.as_ref(), desk.solution.as_ref());
        let counts = counts(&desk.ticket, &content, &desk.approvals[0], at(0));
        assert_eq!(counts.map_or_else(|r| r.reason, |()| ""), why, "{user}");
    }
}

#[test]
fn a_ticket_waits_while_its_solution_is_not_agreed_to_and_needs_no_other_review_after_that() {
    let mut desk = solved(&json!({})).agreed();
    desk.turns(50);
    let (job, solution) = (desk.job.clone(), desk.solution.take());
    desk.job = Err(Refusal::new("SolutionNotApproved", "it is in review"));
    desk.turns(START);
    assert_eq!((desk.reason(), desk.created), ("SolutionNotApproved", 0));
    assert!(desk.status().digest.is_none() && desk.status().solution.is_none());
    (desk.job, desk.solution) = (job, solution);
    desk.turns(START + 1);
    assert_eq!((desk.reason(), desk.created), ("Executing", 1));
}

#[test]
fn a_solution_that_changes_after_the_start_is_not_run_and_changes_no_run() {
    let mut desk = solved(&json!({})).agreed();
    desk.ticket.status = Some(desk.look(START).status);
    let solution = desk.solution.take();
    desk.job = Err(Refusal::new("SolutionNotApproved", "it is in review"));
    desk.turns(START);
    assert_eq!((desk.reason(), desk.created), ("Executing", 0));
    desk.solution = solution;
    desk.turns(START + 1);
    assert_eq!(desk.created, 1, "it is as it was again");
    desk.solution = None;
    desk.run_ends("Complete", "Succeeded");
    desk.turns(START + 2);
    assert_eq!(desk.reason(), "Succeeded");
}

#[test]
fn a_guide_of_a_solution_is_followed_by_hand() {
    let mut desk = solved(&json!({}));
    desk.job = Ok(None);
    desk.solution.as_mut().expect("a solution").job = None;
    let mut desk = desk.agreed();
    desk.turns(START);
    assert_eq!(desk.reason(), "AwaitingStart");
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(START), [Ok(())]);
    assert_eq!((desk.reason(), desk.created), ("Executing", 0));
}

#[test]
fn an_end_is_told_to_the_solution_and_changes_by_nothing_else() {
    let mut desk = solved(&json!({})).agreed();
    desk.turns(START);
    desk.run_ends("Complete", "Succeeded");
    desk.turns(START + 1);
    let ended = desk.status().clone();
    desk.turns(START + 2);
    assert_eq!(desk.status(), &ended);
    desk.told = true;
    desk.turns(START + 3);
    let used = desk.status().solution.clone().expect("it says so");
    assert!(used.told);
    let solution = ended.solution.clone();
    let told = ChangeTicketStatus {
        solution: solution.map(|used| SolutionUsed { told: true, ..used }),
        ..ended
    };
    assert_eq!(desk.status(), &told);
}

/// A conflict with what was planned before, or after.
fn booked(gives_way: bool) -> conflict::Found {
    let conflict = json!({"reason": "ItemBooked", "severity": "High", "with": {"kind": "ChangeTicket", "namespace": "n", "name": "other"},
        "from": at(START).to_string(), "until": at(END).to_string(), "message": "ChangeTicket other is first"});
    conflict::Found {
        conflict: serde_json::from_value(conflict).expect("a conflict"),
        gives_way,
    }
}

#[test]
fn a_conflict_is_told_and_blocks_where_a_policy_says_so_and_the_other_was_first() {
    let (warn, block) = (ConflictMode::Warn, ConflictMode::Block);
    for (submit, start, gives_way, submitted, started) in [
        (warn, warn, true, true, true),
        (block, block, false, true, true),
        (block, warn, true, false, true),
        (warn, block, true, true, false),
    ] {
        let mut desk = Desk::with(&json!({}));
        desk.conflicts = vec![booked(gives_way)];
        desk.on_conflict = OnConflict { submit, start };
        desk.turns(50);
        let told = &desk.status().conditions;
        assert_eq!(condition_is_true(told, "Submitted"), submitted);
        assert_eq!(desk.status().digest.is_some(), submitted);
        let free = find_condition(told, "ConflictFree").expect("it says so");
        assert_eq!((&*free.status, &*free.reason), ("False", "ItemBooked"));
        assert_eq!(desk.status().conflicts.len(), 1);
        let reason = if submitted {
            "AwaitingApproval"
        } else {
            "ItemBooked"
        };
        assert_eq!(desk.reason(), reason);
        // One that everybody had agreed to before is asked again at the start alone.
        let mut desk = desk.agreed();
        desk.turns(START);
        assert_eq!(desk.created == 1, started, "{submit:?} {start:?}");
        assert_eq!(desk.status().conflicts.len(), 1, "it is kept");
        if !started {
            assert_eq!(desk.reason(), "ItemBooked");
            desk.conflicts.clear();
            desk.turns(START + 1);
            assert_eq!((desk.created, desk.status().conflicts.len()), (1, 0));
            assert!(condition_is_true(&desk.status().conditions, "ConflictFree"));
        }
    }
}

#[test]
fn a_draft_has_no_conflicts_and_nobody_starts_a_change_that_is_blocked() {
    let mut desk = Desk::guide(&json!({})).agreed();
    desk.conflicts = vec![booked(true)];
    desk.on_conflict.start = ConflictMode::Block;
    desk.turns(START);
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(START), [Err("ItemBooked")]);
    desk.ticket.spec.submit = false;
    desk.turns(START);
    assert!(desk.status().conflicts.is_empty());
    assert!(find_condition(&desk.status().conditions, "ConflictFree").is_none());
}

/// A risk, and whether it keeps the ticket back.
fn risky(score: i32, keeps_back: bool) -> risk::Weighed {
    let refusal = || Refusal::new("ReviewTooSmall", "it asks for 3 levels of review");
    risk::Weighed {
        risk: Some(serde_json::from_value(json!({"score": score, "policy": "p"})).expect("a risk")),
        refusal: keeps_back.then(refusal),
        told: None,
    }
}

#[test]
fn a_risk_keeps_a_ticket_from_its_reviewers_and_from_its_start_and_stays_as_it_was_then() {
    let mut desk = Desk::with(&json!({}));
    desk.risk = risky(70, true);
    desk.turns(50);
    let told = &desk.status().conditions;
    for type_ in ["Submitted", "Approved", "Ready"] {
        let told = find_condition(told, type_).expect("it says so");
        assert_eq!((&*told.status, &*told.reason), ("False", "ReviewTooSmall"));
    }
    assert_eq!(
        (&desk.status().digest, desk.status().summary.as_deref()),
        (&None, Some("Blocked"))
    );
    let score = |desk: &Desk| desk.status().risk.as_ref().map(|risk| risk.score);
    assert_eq!(score(&desk), Some(70));
    desk.risk = risky(10, false);
    desk.turns(60);
    assert_eq!(
        (desk.reason(), score(&desk)),
        ("AwaitingApproval", Some(10))
    );
    let before = desk.digest();
    let mut desk = desk.agreed();
    desk.turns(70);
    assert_eq!(
        desk.digest(),
        before,
        "a risk is no part of what is approved"
    );
    // What everybody has agreed to is not sent back, and asked again at the start.
    desk.risk = risky(80, true);
    desk.turns(80);
    assert_eq!(desk.reason(), "WaitingForWindow");
    desk.turns(START);
    assert_eq!(
        (desk.reason(), desk.created, desk.status().live),
        ("ReviewTooSmall", 0, Some(false))
    );
    desk.risk = risky(20, false);
    desk.turns(START + 1);
    assert_eq!((desk.created, score(&desk)), (1, Some(20)));
    desk.risk = risk::Weighed::default();
    desk.turns(START + 2);
    assert_eq!(score(&desk), Some(20), "it is kept");
}

#[test]
fn what_is_made_of_a_ticket_after_its_start_is_agreed_to_by_as_many_as_its_risk_asks_for() {
    let mut desk = Desk::guide(&json!({})).agreed();
    desk.risk = risky(10, false);
    desk.turns(START);
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(START), [Ok(())]);
    assert_eq!(desk.status().live, Some(true));
    desk.ticket.spec.title = "Move more".into();
    desk.risk = risky(90, true);
    let mut desk = desk.agreed();
    desk.turns(START + 1);
    let approved = find_condition(&desk.status().conditions, "Approved").expect("it says so");
    assert_eq!(
        (&*approved.status, &*approved.reason),
        ("False", "ReviewTooSmall")
    );
    let score = desk.status().risk.as_ref().map(|risk| risk.score);
    assert_eq!((desk.status().live, score), (Some(false), Some(90)));
    desk.risk = risky(30, false);
    desk.turns(START + 2);
    let score = desk.status().risk.as_ref().map(|risk| risk.score);
    assert_eq!((desk.status().live, score), (Some(true), Some(30)));
    // What holds by now is kept.
    desk.risk = risk::Weighed::default();
    desk.turns(START + 3);
    let score = desk.status().risk.as_ref().map(|risk| risk.score);
    assert_eq!((desk.status().live, score), (Some(true), Some(30)));
}

#[test]
fn nobody_starts_by_hand_what_is_too_risky_and_a_draft_has_no_risk() {
    let mut desk = Desk::guide(&json!({})).agreed();
    desk.risk = risky(80, true);
    desk.turns(START);
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(START), [Err("ReviewTooSmall")]);
    desk.ticket.spec.submit = false;
    desk.turns(START);
    assert_eq!(desk.status().risk, None);
}

#[test]
fn a_level_that_can_never_agree_says_so() {
    for review in [
        json!([{"name": "l", "users": ["rita"]}]),
        json!([{"name": "l", "users": ["rita", "bob"], "rule": "All"}]),
        json!([{"name": "ok", "users": ["bob"]}, {"name": "l", "users": ["ivan", "wanda"]}]),
    ] {
        let mut desk = Desk::with(&json!({"review": review}));
        desk.turns(50);
        assert_eq!(desk.reason(), "NobodyToReview", "{review}");
        assert!(condition_is_true(&desk.status().conditions, "Stalled"));
    }
    let mut desk =
        Desk::with(&json!({"review": [{"name": "l", "users": ["rita"], "groups": ["board"]}]}));
    desk.turns(50);
    assert_eq!(
        desk.reason(),
        "AwaitingApproval",
        "somebody of the board may"
    );
}

#[test]
fn every_change_of_ticket_job_or_script_makes_approvals_fall() {
    let edits: [fn(&mut Desk); 5] = [
        |desk| desk.ticket.spec.window.end = Time(at(END + 1)),
        |desk| desk.ticket.spec.scope.hosts.push("h".into()),
        |desk| desk.ticket.spec.implementers.users.push("eve".into()),
        |desk| {
            let job = desk.ticket.spec.plan.job.as_mut().expect("a job");
            job.parameters.insert("a".into(), "b".into());
        },
        |desk| {
            let seen = desk.job.as_mut().expect("a job").as_mut();
            seen.expect("a job").revision = "sha256:second".into();
        },
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let mut desk = Desk::with(&json!({})).agreed();
        desk.turns(50);
        assert_eq!(desk.reason(), "WaitingForWindow");
        edit(&mut desk);
        desk.turns(START);
        assert_eq!(
            (desk.reason(), desk.created),
            ("AwaitingApproval", 0),
            "{n}"
        );
    }
    let mut desk = Desk::with(&json!({"submit": false})).agreed();
    desk.turns(50);
    desk.ticket.spec.submit = true;
    desk.turns(50);
    assert_eq!(
        desk.reason(),
        "WaitingForWindow",
        "handing it in changes nothing"
    );
    desk.ticket.metadata.uid = Some("another".into());
    desk.turns(50);
    assert_eq!(desk.reason(), "AwaitingApproval", "another of its name");
}

#[test]
fn whoever_wrote_it_is_not_forgotten_when_somebody_else_hands_it_in() {
    let mut desk = Desk::with(&json!({"submit": false}));
    desk.turns(10);
    desk.ticket.spec.submit = true;
    desk.ticket
        .spec
        .requested_by
        .as_mut()
        .expect("stamped")
        .user = "bob".into();
    desk.turns(10);
    assert_eq!(desk.status().writers, ["bob", "rita"]);
    desk.ticket.spec.title = "another".into();
    desk.turns(10);
    assert_eq!(desk.status().writers, ["bob"], "what it says now is bob's");
}

#[test]
fn one_reject_sends_it_back_until_it_says_something_else() {
    let mut desk = Desk::with(&json!({})).agreed();
    desk.says("mallory", &[], "Reject");
    desk.turns(50);
    assert_eq!(desk.reason(), "WaitingForWindow", "hers does not count");
    desk.says("erin", &["board"], "Reject");
    desk.turns(START);
    assert_eq!((desk.reason(), desk.created), ("Rejected", 0));
    desk.ticket.spec.title = "better".into();
    desk.turns(START);
    assert_eq!(desk.reason(), "AwaitingApproval");
}

#[test]
fn in_its_window_the_job_is_started_once_and_ends_the_ticket_of_a_low_level() {
    let mut desk = Desk::with(&json!({})).agreed();
    assert_eq!(desk.look(50).again, Some(at(START)));
    desk.turns(START);
    assert_eq!(desk.reason(), "Executing");
    let status = desk.status();
    assert_eq!(status.run.as_deref(), Some("move-3f2504e0"));
    assert_eq!(
        (status.live, &status.next_flip),
        (Some(true), &Some(Time(at(END))))
    );
    assert!(condition_is_true(&status.conditions, "Reconciling"));
    // What it was is what it is, whatever becomes of the Job.
    desk.job = Err(Refusal::new("JobNotFound", "gone"));
    desk.turns(START + 1);
    assert_eq!(
        (desk.reason(), desk.status().live),
        ("Executing", Some(true))
    );
    desk.run_ends("Complete", "Succeeded");
    desk.turns(START + 2);
    let status = desk.status();
    assert!(condition_is_true(&status.conditions, "Complete"));
    assert_eq!((status.live, desk.created), (Some(false), 1));
    assert_eq!(desk.look(END + 9).again, None);
}

#[test]
fn a_ticket_of_a_high_level_waits_for_what_an_implementer_reports() {
    for (outcome, end) in [("Success", "Complete"), ("Failed", "Failed")] {
        let mut desk = Desk::with(&json!({"level": "B"})).agreed();
        desk.turns(START);
        desk.does("ivan", "Complete", Some(outcome));
        assert_eq!(desk.turns(START), [Err("RunGoesOn")]);
        desk.run_ends("Complete", "Succeeded");
        desk.turns(START);
        assert_eq!(desk.reason(), "AwaitingResult");
        for (who, why) in [("bob", "NotImplementer"), ("rita", "OwnTicket")] {
            desk.does(who, "Complete", Some(outcome));
            assert_eq!(desk.turns(START), [Err(why)]);
        }
        desk.does("ivan", "Complete", Some(outcome));
        assert_eq!(desk.turns(END + 5), [Ok(())]);
        assert!(
            condition_is_true(&desk.status().conditions, end),
            "{outcome}"
        );
        let result = desk.status().result.as_ref().expect("a result");
        assert_eq!(result.note.as_deref(), Some("n"));
    }
}

#[test]
fn by_hand_it_is_started_within_the_window_by_an_implementer_who_is_nothing_else() {
    let mut desk = Desk::with(&json!({"start": "Manual"}));
    let refused = |desk: &mut Desk, who: &str, second: i64| {
        desk.does(who, "Start", None);
        desk.turns(second).pop().expect("an answer")
    };
    assert_eq!(refused(&mut desk, "ivan", 50), Err("NotApproved"));
    desk = desk.agreed();
    assert_eq!(refused(&mut desk, "ivan", 50), Err("WindowNotOpen"));
    assert_eq!(refused(&mut desk, "mallory", START), Err("NotImplementer"));
    assert_eq!(refused(&mut desk, "rita", START), Err("OwnTicket"));
    assert_eq!((desk.reason(), desk.created), ("AwaitingStart", 0));
    assert_eq!(desk.status().live, Some(true), "it may be started");
    assert_eq!(refused(&mut desk, "ivan", START), Ok(()));
    assert_eq!(refused(&mut desk, "ivan", START), Err("AlreadyStarted"));
    let started = desk.status().started.as_ref().expect("started");
    assert_eq!((started.by.as_str(), desk.created), ("ivan", 1));
}

#[test]
fn whoever_has_agreed_does_not_carry_it_out_even_if_they_joined_the_crew_later() {
    let mut desk = Desk::with(&json!({"start": "Manual"})).agreed();
    desk.turns(START);
    desk.does("bob", "Start", None);
    let by = desk.actions[0].spec.requested_by.as_mut().expect("stamped");
    by.groups = vec!["crew".into()];
    assert_eq!(desk.turns(START), [Err("HasReviewed")]);
}

#[test]
fn a_guide_is_started_and_closed_by_hand() {
    let mut desk = Desk::guide(&json!({"level": "D"})).agreed();
    desk.turns(START);
    assert_eq!(desk.reason(), "AwaitingStart");
    desk.does("ivan", "Complete", Some("Success"));
    assert_eq!(desk.turns(START), [Err("NotStarted")]);
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(START), [Ok(())]);
    assert_eq!((desk.reason(), desk.created), ("Executing", 0));
    desk.turns(END);
    assert_eq!(
        (desk.reason(), desk.status().live),
        ("AwaitingResult", Some(false))
    );
    desk.does("ivan", "Complete", Some("Success"));
    desk.turns(END + 1);
    assert!(condition_is_true(&desk.status().conditions, "Complete"));
}

#[test]
fn what_was_not_started_expires_when_only_the_reserve_is_left() {
    for over in [json!({}), json!({"start": "Manual"})] {
        let mut desk = Desk::with(&over);
        desk.turns(CLOSES - 1);
        assert_eq!(desk.reason(), "AwaitingApproval");
        desk = desk.agreed();
        desk.turns(CLOSES);
        assert_eq!((desk.reason(), desk.created), ("Expired", 0));
        assert_eq!(desk.status().summary.as_deref(), Some("Expired"));
    }
}

#[test]
fn what_is_created_after_its_window_does_nothing_and_is_as_it_should_be() {
    let mut desk = Desk::with(&json!({})).agreed();
    desk.ticket.metadata.creation_timestamp = Some(Time(at(CLOSES)));
    desk.turns(CLOSES);
    let told = &desk.status().conditions;
    assert_eq!((desk.reason(), desk.created), ("AlreadyOver", 0));
    assert!(condition_is_true(told, "Ready") && condition_is_true(told, "Failed"));
    assert!(find_condition(told, "Stalled").is_none());
    assert_eq!(desk.status().summary.as_deref(), Some("Expired"));
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(CLOSES + 1), [Err("TicketEnded")]);

    let mut draft = Desk::with(&json!({"submit": false}));
    draft.ticket.metadata.creation_timestamp = Some(Time(at(CLOSES)));
    draft.turns(CLOSES);
    assert_eq!(draft.reason(), "Draft");
}

#[test]
fn it_is_cancelled_before_its_start_and_in_the_middle() {
    let mut desk = Desk::with(&json!({})).agreed();
    desk.does("rita", "Cancel", None);
    assert_eq!(desk.turns(50), [Ok(())]);
    assert_eq!(desk.reason(), "Cancelled");
    desk.does("rita", "Cancel", None);
    assert_eq!(desk.turns(START), [Err("TicketEnded")]);
    assert_eq!(desk.created, 0);

    let mut desk = Desk::with(&json!({"level": "A"})).agreed();
    desk.turns(START);
    desk.does("ivan", "Cancel", None);
    let turn = desk.look(START);
    assert_eq!(
        (turn.effect, turn.again),
        (None, Some(at(START))),
        "it is written down first"
    );
    desk.ticket.status = Some(turn.status);
    assert_eq!(desk.look(START).effect, Some(Effect::Cancel));
    desk.actions.clear();
    desk.run_ends("Failed", "Cancelled");
    desk.turns(START);
    assert_eq!(desk.reason(), "Cancelled");
}

#[test]
fn the_end_of_the_window_does_what_on_close_says_and_does_it_once() {
    for (on_close, expected) in [
        ("Finish", None),
        ("Pause", Some(Effect::Suspend)),
        ("Abort", Some(Effect::Abort)),
    ] {
        let window = json!({"start": at(START).to_string(), "end": at(END).to_string(), "reserve": "20s", "onClose": on_close});
        let mut desk = Desk::with(&json!({"window": window})).agreed();
        desk.turns(START);
        assert_eq!(desk.look(CLOSES - 1).effect, None);
        let turn = desk.look(CLOSES);
        assert_eq!(turn.effect, expected, "{on_close}");
        desk.ticket.status = Some(turn.status);
        assert_eq!(desk.look(CLOSES + 1).effect, None);
        let late = desk.look(END + 1).status;
        assert_eq!(late.summary.as_deref(), Some("Executing"));
        desk.run_ends("Failed", "Cancelled");
        desk.turns(END + 1);
        let end = if on_close == "Abort" {
            "WindowClosed"
        } else {
            "RunFailed"
        };
        assert_eq!(desk.reason(), end);
    }
}

#[test]
fn a_window_that_is_widened_in_the_middle_holds_once_it_is_approved() {
    let window = json!({"start": at(START).to_string(), "end": at(END).to_string(), "reserve": "20s", "onClose": "Abort"});
    let mut desk = Desk::with(&json!({"window": window})).agreed();
    desk.turns(START);
    desk.ticket.spec.window.end = Time(at(END + 100));
    desk.turns(START + 1);
    assert_eq!(desk.status().live, Some(false), "nobody has agreed to that");
    assert_eq!(desk.look(CLOSES).effect, Some(Effect::Abort));
    let mut desk = desk.agreed();
    desk.turns(START + 2);
    assert_eq!(desk.status().live, Some(true));
    assert_eq!(desk.look(CLOSES).effect, None);
    assert_eq!(desk.look(CLOSES + 100).effect, Some(Effect::Abort));
}

#[test]
fn what_is_made_of_a_ticket_after_its_start_changes_neither_its_run_nor_its_end() {
    let window = json!({"start": at(START).to_string(), "end": at(END).to_string(), "reserve": "20s", "onClose": "Abort"});
    let mut desk = Desk::with(&json!({"level": "A", "window": window})).agreed();
    let started = desk.look(START);
    desk.ticket.status = Some(started.status);
    desk.ticket.spec.description = Some("another".into());
    assert_eq!(desk.look(START).effect, None, "nobody has agreed to that");
    desk.ticket.spec.description = None;
    desk.turns(START);
    assert_eq!(desk.created, 1);
    let spec = &mut desk.ticket.spec;
    (spec.plan.job, spec.plan.guide) = (None, Some("by hand".into()));
    spec.level = crds::v1alpha1::ChangeLevel::D;
    spec.implementers.users.push("mallory".into());
    desk.turns(START + 1);
    assert_eq!(desk.look(CLOSES).effect, Some(Effect::Abort));
    desk.run_ends("Failed", "Cancelled");
    desk.turns(CLOSES);
    assert_eq!(desk.reason(), "AwaitingResult");
    for who in ["mallory", "ivan"] {
        desk.does(who, "Complete", Some("Success"));
        assert_eq!(desk.turns(CLOSES), [Err("Changed")]);
    }
}

#[test]
fn nothing_starts_while_a_calendar_is_closed_or_a_writer_is_not_entitled() {
    let closed = serde_json::from_value(json!({"default": "Closed", "timeZone": "UTC"}));
    let closed = closed.expect("a calendar");
    for (calendar, reason) in [
        (Some(&closed), "CalendarClosed"),
        (None, "CalendarNotFound"),
    ] {
        let mut desk = Desk::with(&json!({})).agreed();
        desk.calendars = Gate::read([("c", calendar)]);
        desk.turns(START);
        assert_eq!((desk.reason(), desk.created), (reason, 0));
        assert_eq!(desk.status().live, Some(false));
        desk.calendars = Gate::default();
        desk.turns(START + 1);
        assert_eq!(desk.created, 1);
    }
    let mut desk = Desk::with(&json!({})).agreed();
    desk.barred = Some(Refusal::new("WriterNotEntitled", "rita"));
    desk.turns(START);
    assert_eq!((desk.reason(), desk.created), ("WriterNotEntitled", 0));
    assert!(condition_is_true(&desk.status().conditions, "Stalled"));
}

#[test]
fn a_run_that_somebody_deleted_ends_the_ticket_and_is_not_made_anew() {
    let mut desk = Desk::with(&json!({})).agreed();
    desk.turns(START);
    desk.run = None;
    desk.turns(START + 1);
    assert_eq!((desk.reason(), desk.created), ("RunFailed", 1));
}

#[test]
fn a_status_that_says_it_all_is_not_written_again() {
    let mut desk = Desk::with(&json!({})).agreed();
    for second in [50, START, CLOSES, END] {
        desk.turns(second);
        let again = desk.look(second);
        assert_eq!(Some(&again.status), desk.ticket.status.as_ref(), "{second}");
    }
}

/// What may happen to a ticket, in any order.
#[derive(Clone, Debug)]
enum Event {
    Passes(i64),
    Says(&'static str, &'static str),
    Does(&'static str, &'static str),
    Edits(u8),
    RunEnds(bool),
    /// A turn whose status is lost after its effect.
    Dies,
}

fn event() -> impl Strategy<Value = Event> {
    let people = || prop::sample::select(&["rita", "wanda", "ivan", "bob", "carol", "dave"][..]);
    prop_oneof![
        4 => (0..40_i64).prop_map(Event::Passes),
        6 => (people(), prop::sample::select(&["Approve", "Approve", "Approve", "Reject"][..]))
            .prop_map(|(who, what)| Event::Says(who, what)),
        3 => (people(), prop::sample::select(&["Start", "Cancel", "Complete"][..]))
            .prop_map(|(who, what)| Event::Does(who, what)),
        1 => (0..3_u8).prop_map(Event::Edits),
        1 => any::<bool>().prop_map(Event::RunEnds),
        2 => Just(Event::Dies),
    ]
}

proptest! {
    /// Whatever happens and whatever is lost: one run at most, only of what others have agreed to, only within the window; and an end is an end.
    #[test]
    fn nothing_runs_twice_or_without_those_who_have_to_agree(
        manual in any::<bool>(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let start = if manual { "Manual" } else { "AtWindow" };
        let mut desk = Desk::with(&json!({"start": start}));
        let mut now = 60;
        let mut ended: Option<ChangeTicketStatus> = None;
        for event in events {
            let mut dies = false;
            match event {
                Event::Passes(seconds) => now += seconds,
                Event::Says(who, what) => desk.says(who, &[], what),
                Event::Does(who, what) => {
                    let result = (what == "Complete").then_some("Success");
                    desk.does(who, what, result);
                }
                Event::Edits(n) => desk.ticket.spec.title = format!("title {n}"),
                Event::RunEnds(well) if desk.run.is_some() => {
                    desk.run_ends(if well { "Complete" } else { "Failed" }, "Ended");
                }
                Event::RunEnds(_) => {}
                Event::Dies => dies = true,
            }
            let turn = desk.look(now);
            if turn.effect == Some(Effect::Create) {
                prop_assert!((START..CLOSES).contains(&now));
                let started = turn.status.started.as_ref().expect("it is written down");
                let agreed = |user: &str| desk.approvals.iter().any(|a| {
                    a.spec.digest == started.digest && a.spec.decision == crds::v1alpha1::Decision::Approve
                        && a.spec.requested_by.as_ref().is_some_and(|by| by.user == user)
                });
                prop_assert!(["bob", "carol", "dave"].into_iter().all(agreed));
                prop_assert_eq!(manual, started.by == "ivan");
            }
            desk.carry_out(turn.effect);
            if dies {
                continue;
            }
            desk.actions.clear();
            if let Some(ended) = &ended {
                prop_assert_eq!(&turn.status.finished_at, &ended.finished_at);
                prop_assert_eq!(&turn.status.summary, &ended.summary);
            } else if turn.status.finished_at.is_some() {
                ended = Some(turn.status.clone());
            }
            desk.ticket.status = Some(turn.status);
        }
        prop_assert!(desk.created <= 1);
    }
}
