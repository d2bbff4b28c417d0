//! A ticket by region and its parts, turn by turn: what is approved, what is made at most once, and how it ends.

use std::collections::BTreeMap;

use crds::v1alpha1::{
    Approval, ChangeAction, ChangeTicketStatus, JobRun, JobRunStatus, OnConflict, Requester,
    Verdict, Verified, find_condition, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::{
    change::{Effect, SolutionSeen, Turn, conflict::Booking, risk::Weighed, turn},
    schedule::Gate,
};

const UID: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
const EU: &str = "move-eu-3f2504e0";
const US: &str = "move-us-3f2504e0";

fn at(second: i64) -> Timestamp {
    Timestamp::constant(second, 0)
}

fn window(start: i64, end: i64) -> Value {
    json!({"start": at(start).to_string(), "end": at(end).to_string()})
}

/// A ticket of rita's from 100 to 400: eu on h1 from 100 to 200, us on h2 by uma from 300 to 400; bob agrees.
struct Floor {
    whole: ChangeTicket,
    parts: BTreeMap<String, ChangeTicket>,
    runs: BTreeMap<String, JobRun>,
    approvals: Vec<Approval>,
    actions: Vec<ChangeAction>,
    job: JobSeen,
    solution: Option<SolutionSeen>,
    created: usize,
}

impl Floor {
    fn set(over: &Value) -> Self {
        let mut spec = json!({
            "title": "t", "type": "Regular", "level": "C", "submit": true, "window": window(100, 400),
            "plan": {"job": {"jobRef": {"name": "j"}, "parameters": {"to": "db", "size": "1"}}},
            "scope": {"hosts": ["h1", "h2"]}, "implementers": {"users": ["ivan"]},
            "review": [{"name": "leads", "users": ["bob", "uma"]}], "requestedBy": {"user": "rita"},
            "regions": [{"name": "eu", "window": window(100, 200), "hosts": ["h1"], "parameters": {"to": "eu-db"}},
                {"name": "us", "window": window(300, 400), "hosts": ["h2"], "implementers": {"users": ["uma"]}}],
        });
        let over = over.as_object().expect("an object").clone();
        spec.as_object_mut().expect("an object").extend(over);
        let spec = serde_json::from_value(spec).expect("a spec");
        let mut whole = ChangeTicket::new("move", spec);
        whole.metadata.uid = Some(UID.into());
        whole.metadata.generation = Some(1);
        Self {
            whole,
            parts: BTreeMap::new(),
            runs: BTreeMap::new(),
            approvals: Vec::new(),
            actions: Vec::new(),
            job: JobSeen {
                revision: "sha256:first".into(),
                writers: BTreeSet::from(["wanda".to_owned()]),
            },
            solution: None,
            created: 0,
        }
    }

    /// Agreed to as it is now.
    fn agreed(mut self) -> Self {
        self.says("bob", "Approve");
        self
    }

    fn says(&mut self, user: &str, decision: &str) {
        let digest = Content::of(&self.whole, Some(&self.job), self.solution.as_ref()).digest;
        let spec = json!({"subject": {"kind": "ChangeTicket", "name": "move"}, "digest": digest, "decision": decision,
            "reason": "r", "requestedBy": {"user": user, "groups": []}});
        let spec = serde_json::from_value(spec).expect("a spec");
        self.approvals.push(Approval::new("a", spec));
    }

    fn does(&mut self, action: &str) {
        let spec = json!({"ticketRef": {"name": "move"}, "action": action, "reason": "because",
            "requestedBy": {"user": "ivan", "groups": []}});
        let mut action = ChangeAction::new("a", serde_json::from_value(spec).expect("a spec"));
        action.metadata.uid = Some("action".into());
        self.actions.push(action);
    }

    fn look(&self, ticket: &ChangeTicket, second: i64) -> Turn {
        let is_part = ticket.spec.part_of.is_some();
        let name = ticket.metadata.name.as_deref().unwrap_or_default();
        let parts: Vec<_> = self.parts.values().cloned().collect();
        let world = World {
            job: Ok(Some(self.job.clone())),
            solution: self.solution.as_ref(),
            told: false,
            barred: None,
            approvals: &self.approvals,
            calendars: &Gate::default(),
            conflicts: &[],
            on_conflict: OnConflict::default(),
            risk: &Weighed::default(),
            run: self.runs.get(name),
            actions: if is_part { &[] } else { &self.actions },
            whole: is_part.then_some(&self.whole),
            parts: if is_part { &[] } else { &parts },
        };
        turn(ticket, &world, at(second))
    }

    /// Turns of the whole and of each part, until all is at rest; answers of the whole.
    fn turns(&mut self, second: i64) -> Vec<Result<(), &'static str>> {
        let mut answers = Vec::new();
        for _ in 0..12 {
            let before = json!([self.whole, self.parts]);
            let looked = self.look(&self.whole, second);
            for one in &looked.for_parts {
                self.carry_out(one);
            }
            let answered = looked.answers.into_iter();
            answers.extend(answered.map(|a| a.map_err(|refusal| refusal.reason)));
            self.actions.clear();
            self.whole.status = Some(looked.status);
            let names: Vec<_> = self.parts.keys().cloned().collect();
            for name in names {
                self.turn_of(&name, second);
            }
            if before == json!([self.whole, self.parts]) {
                return answers;
            }
        }
        panic!("it comes to no rest");
    }

    fn turn_of(&mut self, name: &str, second: i64) {
        let looked = self.look(&self.parts[name], second);
        if looked.effect == Some(Effect::Create) {
            self.created += 1;
            let spec = serde_json::from_value(json!({"jobRef": {"name": "j"}}));
            let run = JobRun::new("run", spec.expect("a spec"));
            let before = self.runs.insert(name.to_owned(), run);
            assert!(before.is_none(), "it is there already");
        }
        let part = self.parts.get_mut(name).expect("it is there");
        part.status = Some(looked.status);
    }

    fn carry_out(&mut self, one: &ForPart) {
        match one {
            ForPart::Create(name, spec) => {
                let mut part = ChangeTicket::new(name, (**spec).clone());
                part.metadata.uid = Some(format!("uid-of-{name}"));
                part.metadata.generation = Some(1);
                let operator = json!({"user": "operator", "groups": []});
                part.spec.requested_by = serde_json::from_value(operator).expect("somebody");
                let before = self.parts.insert(name.clone(), part);
                assert!(before.is_none(), "it is there already");
            }
            ForPart::Write(name, spec) => {
                self.edit(name, |part| part.spec = (**spec).clone());
            }
        }
    }

    fn edit(&mut self, name: &str, edit: impl Fn(&mut ChangeTicket)) {
        let part = self.parts.get_mut(name).expect("it is there");
        edit(part);
        part.metadata.generation = part.metadata.generation.map(|one| one + 1);
    }

    fn run_ends(&mut self, name: &str, how: &'static str) {
        let mut status = JobRunStatus::default();
        set_condition(
            &mut status.conditions,
            &Verdict::yes(how, "Ended", ""),
            None,
            at(0),
        );
        self.runs.get_mut(name).expect("a run").status = Some(status);
    }

    fn of(&self, name: &str) -> &ChangeTicketStatus {
        let ticket = self.parts.get(name).unwrap_or(&self.whole);
        ticket.status.as_ref().expect("it was looked at")
    }

    /// Why a ticket is ready or not, and whether it is live.
    fn told(&self, name: &str) -> (&str, Option<bool>) {
        let status = self.of(name);
        let ready = find_condition(&status.conditions, "Ready").expect("it says how it is");
        (&ready.reason, status.live)
    }

    /// What the whole says of its regions.
    fn summaries(&self) -> Vec<&str> {
        let regions = self.of("move").regions.iter();
        let summary = regions.map(|region| region.summary.as_deref().unwrap_or_default());
        summary.collect()
    }
}

#[test]
fn a_part_is_what_the_whole_says_with_what_differs_in_its_region() {
    let floor = Floor::set(&json!({}));
    let regions = &floor.whole.spec.regions;
    let eu = part(&floor.whole, &regions[0], "d");
    assert_eq!(eu.title, "t (eu)");
    assert_eq!(eu.window, regions[0].window);
    assert_eq!(eu.scope.hosts, ["h1"]);
    assert_eq!(eu.implementers.users, ["ivan"]);
    let job = eu.plan.job.as_ref().expect("a job");
    let given: Vec<_> = job.parameters.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(given, [("size", "1"), ("to", "eu-db")]);
    assert!(eu.regions.is_empty() && eu.submit && eu.requested_by.is_none());
    let of = eu.part_of.as_ref().expect("it says so");
    assert_eq!(
        (&*of.name, &*of.uid, &*of.digest, &*of.region),
        ("move", UID, "d", "eu")
    );
    let us = part(&floor.whole, &regions[1], "d");
    assert_eq!(us.implementers.users, ["uma"]);
    let long = json!({"title": "ä".repeat(128), "scope": {"hosts": []}, "plan": {"job": {"jobRef": {"name": "j"},
        "secretParameters": {"to": {"name": "s", "key": "k"}}}}});
    let floor = Floor::set(&long);
    let eu = part(&floor.whole, &floor.whole.spec.regions[0], "d");
    assert!(eu.title.ends_with("… (eu)") && eu.title.len() <= 128);
    assert!(eu.plan.job.expect("a job").secret_parameters.is_empty());
}

#[test]
fn a_part_has_a_name_of_its_own_that_a_run_can_take_over() {
    let mut whole = Floor::set(&json!({})).whole;
    assert_eq!(part_name(&whole, "eu"), EU);
    whole.metadata.name = Some("a.".repeat(60));
    let name = part_name(&whole, "a-region-of-thirty-two-characters"[..32].trim());
    assert!(name.len() <= 63 && !name.contains(".-"), "{name}");
    whole.metadata.uid = Some("ffffffff-0000".into());
    assert_ne!(
        part_name(&whole, "eu"),
        EU,
        "another ticket of the same name"
    );
}

#[test]
fn without_regions_a_ticket_is_decided_on_as_it_always_was() {
    let whole = Floor::set(&json!({})).whole;
    let mut plain = whole.clone();
    plain.spec.regions = Vec::new();
    let said = serde_json::to_value(&plain.spec).expect("plain data");
    assert!(said.get("regions").is_none() && said.get("partOf").is_none());
    let digest = |ticket: &ChangeTicket| Content::of(ticket, None, None).digest;
    assert_ne!(digest(&whole), digest(&plain), "regions are agreed to");
}

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
fn a_part_that_says_anything_else_is_approved_by_nobody() {
    type Edit = fn(&mut ChangeTicket);
    let edits: [(&str, Edit); 4] = [
        ("PartChanged", |part| part.spec.title.push('!')),
        ("PartChanged", |part| {
            part.spec.implementers.users.push("mallory".into());
        }),
        ("PartChanged", |part| {
            let plan = part.spec.plan.job.as_mut().expect("a job");
            plan.parameters.insert("to".into(), "elsewhere".into());
        }),
        ("RegionNotPlanned", |part| {
            let of = part.spec.part_of.as_mut().expect("it says so");
            of.region = "mars".into();
        }),
    ];
    for (reason, edit) in edits {
        let mut floor = Floor::set(&json!({})).agreed();
        floor.turns(50);
        floor.edit(EU, edit);
        floor.turns(100);
        assert_eq!(floor.told(EU), (reason, Some(false)));
        assert_eq!(floor.created, 0, "{reason}");
    }
    // The same, while it goes on: what was started ends as it was agreed to, and nobody does any more by hand.
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(100);
    assert_eq!(floor.told(EU).1, Some(true));
    floor.edit(EU, edits[1].1);
    floor.turns(110);
    assert_eq!(floor.told(EU), ("Executing", Some(false)));
}

#[test]
fn nobody_makes_a_part_by_writing_one() {
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(50);
    let forged = |floor: &mut Floor, name: &str, uid: &str| {
        let mut part = floor.parts[EU].clone();
        part.metadata.name = Some(name.into());
        part.status = None;
        part.spec.part_of.as_mut().expect("it says so").uid = uid.into();
        let told = floor.look(&part, 150).status;
        let ready = find_condition(&told.conditions, "Ready").expect("it says how it is");
        assert_eq!((told.live, told.started), (Some(false), None));
        ready.reason.clone()
    };
    // One that says the very same would have it done twice.
    assert_eq!(forged(&mut floor, "twin", UID), "PartChanged");
    assert_eq!(forged(&mut floor, EU, "another"), "WholeGone");
    floor.approvals.clear();
    assert_eq!(forged(&mut floor, EU, UID), "AwaitingApproval");
    floor.says("bob", "Approve");
    floor.whole.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(forged(&mut floor, EU, UID), "WholeGone");
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
fn what_has_the_name_of_a_part_and_is_none_is_told_and_left_alone() {
    let mut floor = Floor::set(&json!({})).agreed();
    let mut foreign = ChangeTicket::new(EU, floor.whole.spec.clone());
    foreign.spec.regions = Vec::new();
    foreign.metadata.uid = Some("foreign".into());
    floor.parts.insert(EU.into(), foreign);
    let looked = floor.look(&floor.whole, 50);
    let names = looked.for_parts.iter().map(|one| match one {
        ForPart::Create(name, _) | ForPart::Write(name, _) => name.as_str(),
    });
    assert_eq!(names.collect::<Vec<_>>(), [US]);
    let ready = find_condition(&looked.status.conditions, "Ready").expect("it says how it is");
    assert_eq!((&*ready.reason, &*ready.status), ("NameTaken", "False"));
    assert!(ready.message.contains(EU), "{}", ready.message);
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
fn a_part_that_was_deleted_is_not_made_again() {
    let mut floor = Floor::set(&json!({})).agreed();
    floor.turns(50);
    assert!(knows(&floor.whole, &floor.parts[EU]));
    floor.parts.remove(EU);
    floor.turns(100);
    assert_eq!(floor.summaries(), ["Deleted", "Scheduled"]);
    assert!(!floor.parts.contains_key(EU));
    assert_eq!(floor.created, 0);
}

#[test]
fn a_part_is_kept_until_its_whole_has_seen_it_and_its_end() {
    let mut floor = Floor::set(&json!({})).agreed();
    let unseen = floor.whole.clone();
    floor.turns(100);
    let begun = floor.whole.clone();
    floor.run_ends(EU, "Complete");
    floor.turn_of(EU, 110);
    let eu = floor.parts[EU].clone();
    assert!(eu.is_finished());
    assert!(!knows(&unseen, &eu) && !knows(&begun, &eu));
    let mut leaving = begun.clone();
    leaving.metadata.deletion_timestamp = Some(Time(at(1)));
    assert!(knows(&leaving, &eu), "nobody will look at it");
    floor.turns(110);
    assert!(knows(&floor.whole, &eu));
    assert_eq!(sought(&floor.whole), BTreeSet::from([US.to_owned()]));
    let mut twin = eu;
    twin.metadata.name = Some("twin".into());
    assert!(knows(&begun, &twin), "it is no part");
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
