//! How a ticket by region is reviewed, changed, cancelled and ended as one.

use crds::v1alpha1::{Requester, Verified};

use super::*;
use crate::change::conflict::Booking;

#[test]
fn it_is_reviewed_once_and_each_region_is_done_once_in_its_window() {
    let mut floor = Floor::set(&json!({}));
    floor.turns(50);
    assert!(floor.parts.is_empty(), "nobody has agreed");
    assert_eq!(floor.told("move"), ("AwaitingApproval", Some(false)));
    // She carries it out in a region, and does not count as one who looks at it.
    floor.says("uma", "Approve");
    floor.turns(50);
    assert!(floor.parts.is_empty());
    floor.says("bob", "Approve");
    floor.turns(50);
    assert_eq!(floor.told("move"), ("WaitingForWindow", Some(false)));
    assert_eq!(floor.summaries(), ["Scheduled", "Scheduled"]);
    assert_eq!(floor.of(EU).levels[0].by, ["bob"]);
    assert!(floor.of(EU).writers.contains(&"rita".to_owned()));

    floor.turns(100);
    assert_eq!(floor.told("move"), ("Executing", Some(false)));
    assert_eq!(floor.told(EU), ("Executing", Some(true)));
    assert_eq!(floor.told(US), ("WaitingForWindow", Some(false)));
    floor.run_ends(EU, "Complete");
    floor.turns(150);
    assert_eq!(floor.told(EU).0, "Succeeded");
    assert_eq!(floor.told("move").0, "Executing");
    floor.turns(300);
    floor.run_ends(US, "Complete");
    floor.turns(310);
    assert_eq!(floor.told("move"), ("Succeeded", Some(false)));
    assert_eq!(floor.created, 2);
    let result = floor.of("move").result.clone().expect("a result");
    assert_eq!(result.verified, Some(Verified::ByRun));
}

#[test]
fn one_region_that_went_wrong_is_told_of_the_whole() {
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(100);
    floor.run_ends(EU, "Failed");
    floor.turns(150);
    floor.turns(300);
    floor.run_ends(US, "Complete");
    floor.turns(310);
    assert_eq!(floor.told("move").0, "PartsFailed");
    assert_eq!(floor.summaries(), ["Failed", "Succeeded"]);
    let note = floor.of("move").result.clone().expect("a result").note;
    let note = note.expect("a note");
    assert!(
        note.contains("eu Failed") && note.contains("us Succeeded"),
        "{note}"
    );
}

#[test]
fn a_solution_is_used_in_each_region_with_its_own_values_and_holds_parts_where_it_changes() {
    let planned = json!({"solution": {"name": "s", "parameters": {"to": "db", "size": "1"}}});
    let mut floor = Floor::set(&json!({"plan": planned}));
    floor.solution = Some(SolutionSeen {
        used: serde_json::from_value(
            json!({"name": "s", "uid": "solution-1", "digest": "sha256:s"}),
        )
        .expect("a solution"),
        job: serde_json::from_value(json!({"jobRef": {"name": "j"}})).expect("a job"),
        requested_by: Requester::default(),
        writers: BTreeSet::from(["sol".to_owned()]),
    });
    let mut floor = floor.agreed();
    floor.turns(100);
    assert_eq!(floor.created, 1);
    let used = floor.parts[EU].spec.plan.solution.as_ref();
    let values = &used.expect("it is by the solution").parameters;
    assert_eq!(
        *values,
        BTreeMap::from([("to", "eu-db"), ("size", "1")].map(|(k, v)| (k.into(), v.into())))
    );
    let solution = floor.solution.as_mut().expect("a solution");
    solution.used.digest = "sha256:another".into();
    floor.turns(310);
    assert_eq!(floor.told(EU).0, "Executing", "it has started");
    assert_eq!(floor.told(US).0, "WholeChanged");
    floor.says("bob", "Approve");
    floor.turns(320);
    assert_eq!(floor.created, 2);
}

#[test]
fn a_change_of_the_whole_is_agreed_to_before_its_parts_follow() {
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(100);
    floor.whole.spec.regions[1].window.end.0 = at(390);
    floor.turns(110);
    assert_eq!(floor.told("move").0, "Executing", "a part goes on");
    let approved = find_condition(&floor.of("move").conditions, "Approved");
    assert_eq!(approved.expect("it says so").status, "False");
    assert_eq!(floor.told(US), ("WholeChanged", Some(false)));
    assert_eq!(floor.told(EU), ("Executing", Some(false)));
    floor.turns(300);
    assert_eq!(floor.created, 1, "nobody has agreed to it");
    floor.says("bob", "Approve");
    floor.turns(310);
    assert_eq!(floor.parts[US].spec.window.end.0, at(390));
    assert_eq!(floor.created, 2);
    // And so with its Job, which what was started does not follow.
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(100);
    floor.job.revision = "sha256:second".into();
    floor.turns(110);
    assert_eq!(floor.told(EU), ("Executing", Some(true)));
    assert_eq!(floor.told(US).0, "WholeChanged");
    let before = floor.parts[EU].spec.clone();
    floor.says("bob", "Approve");
    floor.turns(120);
    assert_eq!(floor.parts[EU].spec, before);
    assert_eq!(floor.told(US).0, "WaitingForWindow");
}

#[test]
fn whoever_cancels_the_whole_cancels_what_has_not_ended() {
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(100);
    floor.does("Cancel");
    assert_eq!(floor.turns(110), [Ok(())]);
    assert_eq!(floor.told("move").0, "Cancelling");
    assert_eq!(floor.told(US).0, "Cancelled");
    assert_eq!(floor.told(EU).0, "Cancelling");
    floor.run_ends(EU, "Failed");
    floor.turns(120);
    assert_eq!(floor.told(EU).0, "Cancelled");
    assert_eq!(floor.told("move").0, "Cancelled");
    assert_eq!(floor.summaries(), ["Cancelled", "Cancelled"]);
    // What has ended well stays that, and before there are parts there is nothing to wait for.
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(100);
    floor.run_ends(EU, "Complete");
    floor.turns(110);
    floor.does("Cancel");
    floor.turns(120);
    assert_eq!(floor.summaries(), ["Succeeded", "Cancelled"]);
    let mut floor = Floor::set(&json!({}));
    floor.does("Cancel");
    floor.turns(50);
    assert_eq!(floor.told("move").0, "Cancelled");
}

#[test]
fn regions_are_started_and_closed_by_themselves() {
    for verb in ["Start", "Complete"] {
        let mut floor = Floor::set(&json!({"start": "Manual"})).agreed();
        floor.turns(150);
        assert_eq!(floor.told(EU), ("AwaitingStart", Some(true)));
        floor.does(verb);
        assert_eq!(floor.turns(150), [Err("HasRegions")]);
    }
}

#[test]
fn what_was_taken_back_or_is_too_late_starts_nowhere() {
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(50);
    floor.whole.spec.submit = false;
    floor.turns(100);
    assert_eq!(floor.told("move").0, "Draft");
    assert_eq!(floor.told(EU), ("WholeTakenBack", Some(false)));
    assert_eq!(floor.created, 0);
    let mut floor = Floor::set(&json!({}));
    floor.turns(400);
    assert_eq!(floor.told("move").0, "Expired");
    // The approval comes when one region is over.
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(250);
    assert_eq!(floor.summaries(), ["Expired", "Scheduled"]);
    floor.turns(300);
    floor.run_ends(US, "Complete");
    floor.turns(310);
    assert_eq!(floor.told("move").0, "PartsFailed");
}

#[test]
fn a_region_that_is_taken_out_after_its_start_is_waited_for() {
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(100);
    floor.whole.spec.regions.remove(0);
    floor.says("bob", "Approve");
    floor.turns(110);
    assert_eq!(floor.summaries(), ["Scheduled", "Executing"]);
    assert_eq!(floor.told(EU), ("Executing", Some(false)));
    floor.run_ends(EU, "Complete");
    floor.turns(120);
    floor.turns(300);
    floor.run_ends(US, "Complete");
    floor.turns(310);
    assert_eq!(floor.told("move").0, "Succeeded");
    // Before it is started it is no region any more.
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(50);
    floor.whole.spec.regions = Vec::new();
    floor.says("bob", "Approve");
    floor.turns(60);
    assert_eq!(floor.told("move"), ("WaitingForWindow", Some(false)));
    assert!(floor.of("move").regions.is_empty());
    assert_eq!(floor.told(EU).0, "RegionNotPlanned");
}

#[test]
fn regions_name_hosts_of_the_scope_and_no_more_parameters_than_a_run_takes() {
    let reason = |over: &Value| {
        let floor = Floor::set(over);
        check(&floor.whole.spec).map_err(|refusal| refusal.reason)
    };
    assert_eq!(reason(&json!({})), Ok(()));
    assert_eq!(reason(&json!({"scope": {"hosts": []}})), Ok(()));
    let beyond = json!({"scope": {"hosts": ["h1"]}});
    assert_eq!(reason(&beyond), Err("HostNotInScope"));
    let many: BTreeMap<_, _> = (0..300).map(|n| (format!("p{n}"), "v")).collect();
    let many = json!({"plan": {"job": {"jobRef": {"name": "j"}, "parameters": many}}});
    assert_eq!(reason(&many), Err("TooManyParameters"));
    let mut floor = Floor::set(&beyond).agreed();
    floor.turns(50);
    assert_eq!(floor.told("move").0, "HostNotInScope");
}

#[test]
fn each_region_is_booked_once_and_never_against_its_own_ticket() {
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(100);
    let all = Booking::each(&floor.whole);
    let windows: Vec<_> = all.iter().map(|one| one.window.start).collect();
    assert_eq!(windows, [at(100), at(300)]);
    assert!(all.iter().all(|one| one.since.is_some()));
    assert!(Booking::each(&floor.parts[EU]).is_empty());
    let own = Booking::own(&floor.parts[US], Some(&floor.whole));
    assert_eq!(own.len(), 1);
    assert_eq!((own[0].window, &*own[0].name), (all[1].window, "move"));
    assert!(!own[0].meets(&all[0]) && !own[0].meets(&all[1]));
    floor.run_ends(EU, "Complete");
    floor.turns(110);
    let open = Booking::each(&floor.whole);
    let since: Vec<_> = open.iter().map(|one| one.since.is_some()).collect();
    assert_eq!(since, [false, true], "what has ended is in nobody's way");
}
