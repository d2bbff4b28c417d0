//! Who agrees, to what, and for how long that holds.

use sha2::{Digest as _, Sha256};

use super::*;

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
