//! Tables: each of the seven reasons, what is no conflict, and who gives way.

use std::sync::Arc;

use crds::v1alpha1::{ChangeCalendar, ChangeTicket, Host};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::calendar::Calendar;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// Long before every window.
fn early() -> Timestamp {
    at("2026-12-01T00:00:00Z")
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

/// A ticket from ten to noon of the fifth, handed in at a minute of the first.
fn ticket(name: &str, since: u8, over: &Value) -> ChangeTicket {
    let mut spec = json!({"title": "t", "type": "Regular", "level": "C", "submit": true, "plan": {"guide": "g"},
        "window": {"start": "2026-12-05T10:00:00Z", "end": "2026-12-05T12:00:00Z"},
        "implementers": {"users": [format!("of-{name}")]}, "review": [{"name": "l", "users": ["bob"]}]});
    let over = over.as_object().expect("fields").clone();
    spec.as_object_mut().expect("a spec").extend(over);
    read(
        json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ChangeTicket",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 1}, "spec": spec,
        "status": {"observedGeneration": 1, "conditions": [condition("Submitted", &format!("2026-12-01T00:{since:02}:00Z"))]}}),
    )
}

fn condition(type_: &str, since: &str) -> Value {
    json!({"type": type_, "status": "True", "reason": "R", "message": "", "lastTransitionTime": since})
}

fn hosts(names: &[&str]) -> Value {
    json!({"scope": {"hosts": names}})
}

fn object(group: &str, resource: &str, name: &str) -> Value {
    json!({"scope": {"objects": [{"group": group, "resource": resource, "name": name}]}})
}

fn window(start: &str, end: &str) -> Value {
    let at = |time: &str| format!("2026-12-05T{time}:00Z");
    json!({"scope": {"hosts": ["h1"]}, "window": {"start": at(start), "end": at(end)}})
}

fn calendar(default: &str, events: &Value) -> Arc<Calendar> {
    let spec = read(json!({"default": default, "timeZone": "UTC", "events": events}));
    Arc::new(Calendar::read(&spec).expect("a calendar"))
}

/// Frozen from eleven on, that day.
fn frozen() -> Arc<Calendar> {
    calendar(
        "Open",
        &json!([{"name": "sale", "effect": "Freeze", "reason": "it sells", "start": "2026-12-05T11:00Z", "duration": "10h"}]),
    )
}

/// Open until eleven, that day.
fn opened() -> Arc<Calendar> {
    calendar(
        "Closed",
        &json!([{"name": "morning", "effect": "Window", "start": "2026-12-05T08:00Z", "duration": "3h"}]),
    )
}

fn applied_to(calendar: Arc<Calendar>, rules: Option<Value>) -> Applied {
    Applied {
        namespace: "ops".into(),
        name: "c".into(),
        calendar,
        rules: rules.map(read),
    }
}

/// Service web and budget web stand on Deployment web, whose pod is on node n1, which is Host h1; Deployment db shares the node.
fn shop() -> Graph {
    let pod = |name: &str, owner: &str| {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "u", "controller": true});
        read::<Pod>(
            json!({"metadata": {"name": name, "labels": {"app": owner["name"]}, "ownerReferences": [owner]}, "spec": {"nodeName": "n1", "containers": []}}),
        )
    };
    let set = |name: &str, owner: &str| Owned {
        item: Item::new("apps", "replicasets", name),
        meta: read(
            json!({"name": name, "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": owner, "uid": "u", "controller": true}]}),
        ),
    };
    let services = [
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web-1"}}}),
        json!({"metadata": {"name": "outside"}, "spec": {}}),
    ];
    let budget = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web-1"]}]}}});
    let host = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "Host", "metadata": {"name": "h1"},
        "spec": {"type": "VirtualMachine", "address": "192.0.2.1", "credentialsRef": {"name": "k"}, "nodeName": "n1"}});
    Graph::of(
        &[pod("web-1-a", "web-1"), pod("db-1-a", "db-1")],
        &[set("web-1", "web"), set("db-1", "db")],
        &services.map(read::<Service>),
        &[read::<PodDisruptionBudget>(budget)],
        &[read::<Host>(host)],
    )
}

fn looked(own: &ChangeTicket, around: &Around) -> Vec<Found> {
    conflicts(&Booking::of(own), around, early())
}

fn reasons(found: &[Found]) -> Vec<&'static str> {
    let reasons = found.iter().map(|found| found.conflict.reason.name());
    reasons.collect()
}

/// What a ticket conflicts with in another one alone.
fn with(own: &Value, other: &ChangeTicket) -> Vec<&'static str> {
    let around = Around {
        others: vec![Booking::of(other)],
        graph: shop(),
        ..Around::default()
    };
    reasons(&looked(&ticket("own", 30, own), &around))
}

#[test]
fn tickets_conflict_by_their_objects_by_what_is_related_and_by_people() {
    let web = object("apps", "deployments", "web");
    let by_hand = |name: &str| json!({"allow": [{"groups": ["apps"], "resources": ["deployments"], "names": [name], "operations": ["Update"]}]});
    let users = |names: &[&str]| json!({"implementers": {"users": names, "groups": ["crew"]}});
    for (own, other, reason) in [
        (hosts(&["h0", "h1"]), hosts(&["h1"]), "ItemBooked"),
        (hosts(&["h1"]), hosts(&["h2"]), ""),
        (web.clone(), web.clone(), "ItemBooked"),
        (web.clone(), by_hand("web"), "ItemBooked"),
        (web.clone(), by_hand("w*"), "ItemBooked"),
        (by_hand("we*"), by_hand("w*"), "ItemBooked"),
        (by_hand("x*"), by_hand("w*"), ""),
        (web.clone(), object("", "services", "web"), "RelatedBooked"),
        (
            object("policy", "poddisruptionbudgets", "web"),
            web.clone(),
            "RelatedBooked",
        ),
        (web.clone(), object("", "nodes", "n1"), "RelatedBooked"),
        (web.clone(), hosts(&["h1"]), "RelatedBooked"),
        (
            hosts(&["h1"]),
            object("", "services", "web"),
            "RelatedBooked",
        ),
        // They only share a node.
        (web.clone(), object("apps", "deployments", "db"), ""),
        (web.clone(), object("", "services", "outside"), ""),
        (web, object("extra", "deployments", "web"), ""),
        (
            users(&["ivan"]),
            users(&["eve", "ivan"]),
            "ImplementerBooked",
        ),
        // Of a group there are others.
        (users(&["ivan"]), users(&["eve"]), ""),
        (json!({}), json!({}), ""),
    ] {
        let found = with(&own, &ticket("other", 10, &other));
        assert_eq!(
            found,
            Vec::from_iter((!reason.is_empty()).then_some(reason)),
            "{own} {other}"
        );
    }
}

#[test]
fn what_only_touches_has_ended_was_rejected_or_is_a_draft_is_in_nobodys_way() {
    let own = hosts(&["h1"]);
    for (start, end, overlaps) in [
        ("08:00", "10:00", false),
        ("08:00", "10:01", true),
        ("12:00", "13:00", false),
        ("11:59", "13:00", true),
        ("10:30", "11:00", true),
    ] {
        let found = with(&own, &ticket("other", 10, &window(start, end)));
        assert_eq!(!found.is_empty(), overlaps, "{start} {end}");
    }
    let mut ended = ticket("other", 10, &own);
    let conditions = &mut ended.status.as_mut().expect("a status").conditions;
    conditions.push(read(condition("Failed", "2026-12-02T00:00:00Z")));
    let mut rejected = ticket("other", 10, &own);
    let conditions = &mut rejected.status.as_mut().expect("a status").conditions;
    conditions.push(read(json!({"type": "Approved", "status": "False", "reason": "Rejected", "message": "", "lastTransitionTime": "2026-12-02T00:00:00Z"})));
    let mut draft = ticket("other", 10, &own);
    draft.status = None;
    let mut elsewhere = ticket("other", 10, &own);
    elsewhere.metadata.namespace = Some("web".into());
    for other in [ended, rejected, draft, elsewhere, ticket("own", 10, &own)] {
        assert_eq!(with(&own, &other), [""; 0]);
    }
    let around = Around {
        others: vec![Booking::of(&ticket("other", 10, &window("10:00", "10:30")))],
        ..Around::default()
    };
    let booking = Booking::of(&ticket("own", 30, &own));
    let later = conflicts(&booking, &around, at("2026-12-05T10:30:00Z"));
    assert!(later.is_empty(), "what has passed: {later:?}");
    assert!(conflicts(&booking, &around, at("2026-12-06T00:00:00Z")).is_empty());
}

#[test]
fn calendars_conflict_by_freezes_and_by_the_lack_of_windows() {
    let web = object("apps", "deployments", "web");
    let rule = |resource: &str, names: &[&str]| json!([{"resources": [resource], "names": names}]);
    let labels = json!([{"resources": ["*"], "operations": ["Update"], "selector": {"matchLabels": {"a": "b"}}}]);
    for (calendar, rules, reason) in [
        (frozen(), None, "InsideFreeze"),
        (opened(), None, "OutsideWindow"),
        (calendar("Open", &json!([])), None, ""),
        (
            frozen(),
            Some(json!([{"resources": ["*"]}])),
            "InsideFreeze",
        ),
        (frozen(), Some(rule("deployments", &["w*"])), "InsideFreeze"),
        (opened(), Some(rule("deployments", &[])), "OutsideWindow"),
        (
            frozen(),
            Some(rule("services", &["web"])),
            "RelatedInsideFreeze",
        ),
        (opened(), Some(rule("nodes", &[])), "RelatedOutsideWindow"),
        (frozen(), Some(rule("services", &["outside"])), ""),
        (frozen(), Some(rule("statefulsets", &[])), ""),
        (frozen(), Some(labels), ""),
    ] {
        let around = Around {
            calendars: vec![applied_to(calendar, rules.clone())],
            graph: shop(),
            ..Around::default()
        };
        let found = reasons(&looked(&ticket("own", 30, &web), &around));
        assert_eq!(
            found,
            Vec::from_iter((!reason.is_empty()).then_some(reason)),
            "{rules:?}"
        );
    }
}

#[test]
fn a_calendar_is_told_once_of_each_sort_with_the_time_and_the_way_out() {
    let both = json!([
        {"name": "morning", "effect": "Window", "start": "2026-12-05T08:00Z", "duration": "3h"},
        {"name": "sale", "effect": "Freeze", "reason": "it sells", "start": "2026-12-05T10:10Z", "duration": "10m"},
        {"name": "again", "effect": "Freeze", "start": "2026-12-05T10:30Z", "duration": "10m"},
    ]);
    let around = Around {
        calendars: vec![applied_to(calendar("Closed", &both), None)],
        ..Around::default()
    };
    let found = looked(&ticket("own", 30, &json!({})), &around);
    assert_eq!(reasons(&found), ["InsideFreeze", "OutsideWindow"]);
    let times = |found: &Found| {
        let ChangeConflict { from, until, .. } = &found.conflict;
        (from.0, until.0)
    };
    let day = |time: &str| at(&format!("2026-12-05T{time}:00Z"));
    assert_eq!(times(&found[0]), (day("10:10"), day("10:20")));
    assert_eq!(times(&found[1]), (day("11:00"), day("12:00")));
    assert_eq!(
        found[0].conflict.message,
        "ChangeCalendar c is closed by sale (it sells) from 2026-12-05T10:10:00Z until 2026-12-05T10:20:00Z; move the window to when it is open"
    );
}

#[test]
fn the_ticket_gives_way_that_came_later_and_what_has_started_never_does() {
    let blocked = |own: &ChangeTicket, other: &ChangeTicket| {
        let around = Around {
            others: vec![Booking::of(other)],
            ..Around::default()
        };
        blocking(&looked(own, &around)).map(|refusal| refusal.reason)
    };
    let (first, second) = (
        ticket("a", 10, &hosts(&["h1"])),
        ticket("b", 20, &hosts(&["h1"])),
    );
    assert_eq!(blocked(&first, &second), None);
    assert_eq!(blocked(&second, &first), Some("ItemBooked"));
    let same = ticket("b", 10, &hosts(&["h1"]));
    assert_eq!(blocked(&first, &same), None);
    assert_eq!(blocked(&same, &first), Some("ItemBooked"));
    // What was changed has to be handed in anew.
    let mut moved = first.clone();
    moved.metadata.generation = Some(2);
    assert_eq!(blocked(&moved, &second), Some("ItemBooked"));
    let mut started = second.clone();
    let status = started.status.as_mut().expect("a status");
    status.started = Some(read(
        json!({"at": "2026-12-05T10:00:00Z", "digest": "d", "closes": "2026-12-05T12:00:00Z", "onClose": "Finish", "level": "C"}),
    ));
    assert_eq!(blocked(&first, &started), Some("ItemBooked"));
    // A related object is for people to judge.
    let people = json!({"implementers": {"users": ["ivan"]}});
    assert_eq!(
        blocked(&ticket("b", 20, &people), &ticket("a", 10, &people)),
        None
    );
}

#[test]
fn the_worst_are_told_first_and_no_more_than_a_status_holds() {
    let other = |n: u8| Booking::of(&ticket(&format!("t{n:02}"), n, &hosts(&["h1"])));
    let around = Around {
        others: (0..50).map(other).collect(),
        calendars: vec![applied_to(frozen(), None)],
        ..Around::default()
    };
    let found = looked(&ticket("own", 30, &hosts(&["h1"])), &around);
    assert_eq!(found.len(), TOLD);
    assert!(found.iter().all(|found| found.gives_way), "those first");
    let long = "x".repeat(253);
    let around = Around {
        others: vec![Booking::of(&ticket(&long, 1, &hosts(&[long.as_str()])))],
        ..Around::default()
    };
    let found = looked(&ticket("own", 30, &hosts(&[long.as_str()])), &around);
    let ChangeConflict { item, message, .. } = &found[0].conflict;
    let item = item.as_deref().expect("an item");
    assert!(item.len() <= SAID && message.len() <= SAID, "{message}");
}

#[test]
fn policies_say_what_is_blocked_while_they_are_enforced_and_the_strictest_holds() {
    let policy = |mode: &str, conflict: Value| {
        read::<ProtectionPolicy>(
            json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ProtectionPolicy", "metadata": {"name": "p"},
            "spec": {"mode": mode, "reason": "r", "rules": [{"resources": ["pods"]}], "require": {"ticket": {"onConflict": conflict}}}}),
        )
    };
    let modes = |policies: &[ProtectionPolicy]| {
        let OnConflict { submit, start } = on_conflict(policies);
        (submit, start)
    };
    let (warn, block) = (ConflictMode::Warn, ConflictMode::Block);
    assert_eq!(modes(&[]), (warn, warn));
    let submit = policy("Enforce", json!({"submit": "Block"}));
    let start = policy("Enforce", json!({"start": "Block"}));
    assert_eq!(modes(std::slice::from_ref(&submit)), (block, warn));
    assert_eq!(modes(&[submit, start]), (block, block));
    assert_eq!(
        modes(&[policy("Warn", json!({"submit": "Block"}))]),
        (warn, warn)
    );
}

#[test]
fn a_diary_knows_tickets_and_calendars_by_what_it_was_told_last() {
    let mut diary = Diary::default();
    let other = ticket("other", 10, &hosts(&["h1"]));
    let freeze: ChangeCalendar = read(
        json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ChangeCalendar", "metadata": {"name": "freezes", "namespace": "shop"},
        "spec": {"default": "Open", "timeZone": "UTC", "events": [{"name": "sale", "effect": "Freeze", "start": "2026-12-05"}]}}),
    );
    let policy: ProtectionPolicy = read(
        json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ProtectionPolicy", "metadata": {"name": "p"},
        "spec": {"reason": "r", "namespaces": ["shop"], "rules": [{"resources": ["*"]}], "require": {"openCalendars": [{"namespace": "shop", "name": "freezes"}]}}}),
    );
    let own = ticket("own", 30, &hosts(&["h1"]));
    let told = |diary: &Diary| reasons(&diary.conflicts(&own, early()));
    assert_eq!(told(&diary), [""; 0]);
    other.keep(&mut diary);
    freeze.keep(&mut diary);
    assert_eq!(told(&diary), ["ItemBooked"]);
    policy.keep(&mut diary);
    assert_eq!(told(&diary), ["ItemBooked", "InsideFreeze"]);
    let mut draft = other;
    draft.status = None;
    draft.keep(&mut diary);
    ChangeCalendar::forget(&mut diary, "shop", "freezes");
    assert_eq!(told(&diary), [""; 0]);
    own.keep(&mut diary);
    assert_eq!(told(&diary), [""; 0], "a ticket is in its own way");
}

#[test]
fn a_change_by_region_is_in_the_way_in_each_window_of_its_own_and_nowhere_else() {
    let at = |start: &str, end: &str| window(start, end)["window"].clone();
    let regions = json!({"scope": {"hosts": ["h1", "h2"]}, "regions": [
        {"name": "eu", "window": at("10:00", "10:30"), "hosts": ["h1"]},
        {"name": "us", "window": at("11:00", "12:00"), "hosts": ["h2"]}]});
    let around = Around {
        others: Booking::each(&ticket("whole", 10, &regions)),
        ..Around::default()
    };
    for (host, start, end, is_booked) in [
        ("h1", "10:00", "10:30", true),
        ("h1", "10:30", "12:00", false),
        ("h2", "10:00", "11:00", false),
        ("h2", "10:00", "11:30", true),
    ] {
        let over = json!({"scope": {"hosts": [host]}, "window": at(start, end)});
        let found = looked(&ticket("own", 30, &over), &around);
        let told: Vec<_> = found
            .iter()
            .map(|f| (f.gives_way, f.conflict.reason))
            .collect();
        let wanted = is_booked.then_some((true, ConflictReason::ItemBooked));
        assert_eq!(told, Vec::from_iter(wanted), "{host} from {start}");
    }
    // What it takes itself is looked at region by region, and told once.
    let whole = ticket("whole", 40, &regions);
    let other = ticket("other", 10, &hosts(&["h1", "h2"]));
    let around = Around {
        others: Booking::each(&other),
        ..Around::default()
    };
    let found = conflicts_of_all(&Booking::each(&whole), &around, early());
    let from: Vec<_> = found
        .iter()
        .map(|f| f.conflict.from.0.to_string())
        .collect();
    assert_eq!(from, ["2026-12-05T10:00:00Z", "2026-12-05T11:00:00Z"]);
}

#[test]
fn what_is_told_within_the_window_is_the_same_from_turn_to_turn() {
    let own = Booking::of(&ticket("own", 30, &hosts(&["h1"])));
    let around = Around {
        others: vec![Booking::of(&ticket("other", 10, &hosts(&["h1"])))],
        calendars: vec![applied_to(frozen(), None)],
        ..Around::default()
    };
    let told = |minute: &str| {
        let found = conflicts(&own, &around, at(&format!("2026-12-05T{minute}:00Z")));
        let told = found.into_iter().map(|found| found.conflict);
        told.map(|told| (told.reason.name(), told.from.0.to_string(), told.message))
            .collect::<Vec<_>>()
    };
    let first = told("09:00");
    let from = |at: usize| (first[at].0, &*first[at].1);
    assert_eq!(from(0), ("ItemBooked", "2026-12-05T10:00:00Z"));
    assert_eq!(from(1), ("InsideFreeze", "2026-12-05T11:00:00Z"));
    for minute in ["10:15", "10:45", "11:15", "11:45"] {
        assert_eq!(told(minute), first, "{minute}");
    }
    assert!(told("12:00").is_empty(), "it is over");
}
