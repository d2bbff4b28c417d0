//! Tables: by which calendars a policy is open, what closes it, and when that changes.

use crds::v1alpha1::{
    BreakGlass, CalendarRef, CalendarState, ChangeCalendarSpec, ChangeTicket, ProtectionPolicy,
    Requester, find_condition,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn policy(require: &Value) -> ProtectionPolicy {
    let spec = json!({"rules": [{"resources": ["deployments"]}], "require": require, "reason": "it sells"});
    let mut policy = ProtectionPolicy::new("shop", serde_json::from_value(spec).expect("a spec"));
    policy.metadata.generation = Some(3);
    policy
}

fn calendar(default: &str, events: &Value) -> ChangeCalendarSpec {
    let spec = json!({"default": default, "timeZone": "UTC", "events": events});
    serde_json::from_value(spec).expect("a calendar")
}

fn year_end() -> ChangeCalendarSpec {
    calendar(
        "Open",
        &json!([{"name": "year-end", "effect": "Freeze", "reason": "the books are closed", "start": "2026-12-24", "end": "2026-12-31"}]),
    )
}

/// Open each night from ten to four.
fn nights() -> ChangeCalendarSpec {
    calendar(
        "Closed",
        &json!([{"name": "night", "effect": "Window", "start": "2026-12-01T22:00", "end": "2026-12-02T04:00", "rrule": "FREQ=DAILY"}]),
    )
}

/// The status of a policy that refers to these calendars of namespace ops.
fn told(found: &[(&str, Result<Option<ChangeCalendarSpec>, &str>)], now: &str) -> Told {
    let refs: Vec<_> = found
        .iter()
        .map(|(name, _)| CalendarRef {
            namespace: "ops".into(),
            name: (*name).into(),
        })
        .collect();
    let policy = policy(&json!({"openCalendars": refs}));
    let found = found.iter().map(|(_, found)| match found {
        Ok(spec) => Ok(spec.as_ref()),
        Err(why) => Err(*why),
    });
    status(&policy, refs.iter().zip(found), [], [], at(now))
}

/// State, reason and next flip.
fn words(told: &Told) -> (&str, &str, Option<Timestamp>) {
    let state = match told.status.state.expect("a state") {
        CalendarState::Open => "Open",
        CalendarState::Closed => "Closed",
    };
    let reason = told.status.reason.as_deref().unwrap_or_default();
    (state, reason, told.status.next_flip.as_ref().map(|at| at.0))
}

fn ready(told: &Told) -> (&str, &str) {
    let ready = find_condition(&told.status.conditions, "Ready").expect("it is always there");
    (&ready.status, &ready.reason)
}

#[test]
fn a_policy_is_open_while_all_of_its_calendars_are() {
    let both = [
        ("freezes", Ok(Some(year_end()))),
        ("nights", Ok(Some(nights()))),
    ];
    for (now, state, reason, flip) in [
        ("2026-12-10T23:00:00Z", "Open", "", "2026-12-11T04:00:00Z"),
        (
            "2026-12-11T04:00:00Z",
            "Closed",
            "ChangeCalendar ops/nights is closed by default, until 2026-12-11T22:00:00Z",
            "2026-12-11T22:00:00Z",
        ),
        // Closed by both: it opens with the first night after the freeze.
        (
            "2026-12-25T12:00:00Z",
            "Closed",
            "ChangeCalendar ops/freezes is closed by year-end (the books are closed), until 2027-01-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
        ),
    ] {
        let told = told(&both, now);
        assert_eq!(words(&told), (state, reason, Some(at(flip))), "{now}");
        assert_eq!(ready(&told), ("True", "InForce"), "{now}");
        assert_eq!(told.status.observed_generation, Some(3));
    }
}

#[test]
fn whatever_can_change_the_reason_is_looked_at_in_its_time() {
    let both = [
        ("freezes", Ok(Some(year_end()))),
        ("nights", Ok(Some(nights()))),
    ];
    let told = told(&both, "2026-12-25T12:00:00Z");
    assert_eq!(told.again, Some(at("2026-12-25T22:00:00Z")));
}

#[test]
fn what_is_not_there_or_cannot_be_read_closes_and_says_so() {
    let astray: ChangeCalendarSpec =
        serde_json::from_value(json!({"default": "Open", "timeZone": "Mars/Olympus"}))
            .expect("a calendar");
    for (found, reason, word) in [
        (Ok(None), "CalendarNotFound", "ops/freezes; create it"),
        (Ok(Some(astray)), "CalendarNotReady", "Mars/Olympus"),
        (
            Err("missing field `default`"),
            "CalendarNotReady",
            "missing field",
        ),
    ] {
        let open = ("always", Ok(Some(calendar("Open", &json!([])))));
        let told = told(&[open, ("freezes", found)], "2026-06-01T00:00:00Z");
        let (state, why, flip) = words(&told);
        assert_eq!(
            (state, flip, told.again),
            ("Closed", None, None),
            "{reason}"
        );
        assert!(why.contains(word), "{why}");
        assert_eq!(ready(&told), ("False", reason));
    }
}

#[test]
fn nobody_opens_a_policy_that_is_never_open() {
    let policy = policy(&json!({"nobody": {}}));
    let told = status(&policy, [], [], [], at("2026-06-01T00:00:00Z"));
    let expected = ("Closed", "spec.require.nobody: it is never open", None);
    assert_eq!(words(&told), expected);
    assert_eq!(ready(&told), ("True", "InForce"));
}

/// A ticket of a namespace that ivan implements, whose window ends at four; `live` is what its status says.
fn ticket(namespace: &str, live: bool) -> ChangeTicket {
    let spec = json!({"title": "t", "type": "Regular", "level": "C", "plan": {"guide": "g"}, "implementers": {"users": ["ivan"]},
        "window": {"start": "2026-06-01T00:00:00Z", "end": "2026-06-01T04:00:00Z"}, "review": [{"name": "leads", "groups": ["leads"]}],
        "allow": [{"groups": ["apps"], "resources": ["deployments"], "names": ["web"], "operations": ["Delete"]}]});
    let mut ticket = ChangeTicket::new("move", serde_json::from_value(spec).expect("a spec"));
    ticket.metadata.namespace = Some(namespace.to_owned());
    ticket.metadata.generation = Some(2);
    let status = json!({"observedGeneration": 2, "live": live});
    ticket.status = Some(serde_json::from_value(status).expect("a status"));
    ticket
}

#[test]
fn live_tickets_of_the_namespace_let_their_implementers_pass_until_the_window_ends() {
    let mut policy = policy(&json!({"ticket": {}}));
    policy.spec.namespaces = vec!["shop".to_owned()];
    let passes = |ticket: &ChangeTicket, now: &str| {
        let told = status(&policy, [], [ticket], [], at(now));
        assert_eq!(words(&told).0, "Closed");
        (told.status.passes.len(), told.again)
    };
    let (shop, end) = (ticket("shop", true), at("2026-06-01T04:00:00Z"));
    assert_eq!(passes(&shop, "2026-06-01T01:00:00Z"), (1, Some(end)));
    assert_eq!(passes(&shop, "2026-06-01T04:00:00Z"), (0, None));
    let now = "2026-06-01T01:00:00Z";
    assert_eq!(passes(&ticket("shop", false), now).0, 0);
    assert_eq!(passes(&ticket("bank", true), now).0, 0);
    let mut changed = shop.clone();
    changed.metadata.generation = Some(3);
    assert_eq!(passes(&changed, now).0, 0, "nobody has looked at it since");
    let mut nothing = shop;
    nothing.spec.allow.clear();
    assert_eq!(passes(&nothing, now).0, 0);
}

#[test]
fn who_wrote_a_ticket_or_agreed_to_it_is_left_out_of_its_pass_and_named_there() {
    let policy = policy(&json!({"ticket": {}}));
    let mut own = ticket("shop", true);
    let by = |user: &str| Requester {
        user: user.into(),
        groups: Vec::new(),
    };
    own.spec.requested_by = Some(by("ivan"));
    own.spec.implementers.users = ["ivan", "mia", "rita"].map(Into::into).into();
    own.spec.implementers.groups = vec!["crew".into()];
    let agreed = json!([{"name": "leads", "approved": 1, "needed": 1, "by": ["bob"]}]);
    let told = own.status.as_mut().expect("it has one");
    told.writers = vec!["rita".into()];
    told.levels = serde_json::from_value(agreed).expect("a level");
    let now = at("2026-06-01T01:00:00Z");
    let passes = status(&policy, [], [&own], [], now).status.passes;
    assert_eq!(passes[0].users, ["mia"]);
    assert_eq!(passes[0].groups, ["crew"]);
    assert_eq!(passes[0].except, ["bob", "ivan", "rita"]);
}

#[test]
fn a_ticket_for_which_there_is_no_room_is_named_and_takes_no_place_from_others() {
    let policy = policy(&json!({"ticket": {}}));
    let (mut long, short) = (ticket("bank", true), ticket("shop", true));
    let names = (0..50).map(|n| format!("{n}{}", "x".repeat(240)));
    long.spec.allow[0].names = names.collect();
    long.spec.allow = vec![long.spec.allow[0].clone(); 20];
    let now = at("2026-06-01T01:00:00Z");
    let told = status(&policy, [], [&long, &short], [], now);
    let passing: Vec<_> = told.status.passes.iter().map(|p| &p.namespace).collect();
    assert_eq!(passing, ["shop"]);
    assert!(
        words(&told)
            .1
            .starts_with("ChangeTicket bank/move lets nobody pass")
    );
    let many: Vec<_> = (10..75).map(|n| ticket(&format!("n{n}"), true)).collect();
    let told = status(&policy, [], &many, [], now);
    assert_eq!(told.status.passes.len(), 64);
    assert!(words(&told).1.starts_with("ChangeTicket n74/move"));
}

/// One that is live for four hours from midnight.
fn glass(namespace: &str, user: &str) -> BreakGlass {
    let glass = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "BreakGlass", "metadata": {"name": "pager", "namespace": namespace},
        "spec": {"reason": "r", "incident": "i", "requestedBy": {"user": user, "groups": ["sre"]}},
        "status": {"openedAt": "2026-06-01T00:00:00Z", "expiresAt": "2026-06-01T04:00:00Z"}});
    serde_json::from_value(glass).expect("a BreakGlass")
}

#[test]
fn where_a_record_is_needed_the_status_has_those_that_are_live_as_far_as_there_is_room() {
    let mut policy = policy(&json!({"nobody": {}}));
    let broken = |policy: &ProtectionPolicy, glasses: &[BreakGlass], now: &str| {
        let told = status(policy, [], [], glasses, at(now));
        let users = told.status.broken.iter().map(|b| b.user.clone());
        (users.collect::<Vec<_>>(), told.again)
    };
    let (noon, end) = ("2026-06-01T02:00:00Z", at("2026-06-01T04:00:00Z"));
    let eve = [glass("shop", "eve")];
    for record in ["Optional", "Required"] {
        let set = json!({"groups": ["sre"], "record": record});
        policy.spec.break_glass = serde_json::from_value(set).expect("a glass");
        let wanted = match record {
            "Required" => (vec!["eve".to_owned()], Some(end)),
            _ => (Vec::new(), None),
        };
        assert_eq!(broken(&policy, &eve, noon), wanted, "{record}");
    }
    assert_eq!(broken(&policy, &eve, "2026-06-01T04:00:00Z").0, [""; 0]);
    let many: Vec<_> = (0..70).map(|n| glass("shop", &format!("u{n}"))).collect();
    assert_eq!(broken(&policy, &many, noon).0.len(), 64);
    let long: Vec<_> = (10..80)
        .map(|n| glass("shop", &format!("{}{n}", "u".repeat(510))))
        .collect();
    let room = broken(&policy, &long, noon).0.len();
    assert!((10..20).contains(&room), "{room}");
    let twice = [eve[0].clone(), eve[0].clone()];
    assert_eq!(broken(&policy, &twice, noon).0, ["eve"]);
    let mut none = eve[0].clone();
    none.spec.requested_by = none.spec.requested_by.map(|by| Requester {
        groups: Vec::new(),
        ..by
    });
    assert_eq!(broken(&policy, &[none], noon).0, [""; 0], "of no group");
    policy.spec.namespaces = vec!["bank".into()];
    assert_eq!(
        broken(&policy, &eve, noon).0,
        [""; 0],
        "of another namespace"
    );
}

#[test]
fn what_was_corrected_is_in_force() {
    let lacking = told(&[("freezes", Ok(None))], "2026-06-01T00:00:00Z");
    let of = CalendarRef {
        namespace: "ops".into(),
        name: "freezes".into(),
    };
    let mut policy = policy(&json!({"openCalendars": [of]}));
    policy.status = Some(lacking.status);
    let found = year_end();
    let told = status(
        &policy,
        [(&of, Ok(Some(&found)))],
        [],
        [],
        at("2026-06-01T00:00:01Z"),
    );
    assert_eq!(ready(&told), ("True", "InForce"));
    assert_eq!(words(&told), ("Open", "", Some(at("2026-12-24T00:00:00Z"))));
}
