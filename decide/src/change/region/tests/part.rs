//! What a part is, and who can make one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;

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
