//! A ticket that uses what others have agreed to once.

use crds::v1alpha1::{Requester, SolutionUsed};

use super::*;

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
