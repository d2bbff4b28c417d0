//! Tables: what rules and people add up to, what cannot be judged, and what policies ask of what is risky.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

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

fn merged(base: Value, over: &Value) -> Value {
    let Value::Object(mut all) = base else {
        panic!("an object");
    };
    all.extend(over.as_object().expect("fields").clone());
    Value::Object(all)
}

/// A ticket of rita's for ivan, from ten to noon of a Saturday, with one level of review.
fn ticket(over: &Value) -> ChangeTicket {
    let spec = json!({"title": "t", "type": "Urgent", "level": "A", "submit": true, "plan": {"guide": "g"},
        "window": {"start": "2026-12-05T10:00:00Z", "end": "2026-12-05T12:00:00Z"}, "requestedBy": {"user": "rita"},
        "scope": {"hosts": ["h1"]}, "implementers": {"users": ["ivan"]}, "review": [{"name": "l", "users": ["bob"]}]});
    read(
        json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ChangeTicket",
        "metadata": {"name": "move", "namespace": "shop", "labels": {"tier": "gold"}}, "spec": merged(spec, over)}),
    )
}

/// One of these people that has ended.
fn ended(name: &str, over: &Value, outcome: &str, at: &str) -> Past {
    let mut one = serde_json::to_value(ticket(over)).expect("JSON");
    one["metadata"]["name"] = name.into();
    one["status"] = json!({"conditions": [], "finishedAt": at, "result": {"outcome": outcome}});
    Past::of(&read(one)).expect("it has ended")
}

fn of(user: &str) -> Value {
    json!({"implementers": {"users": [user]}, "requestedBy": {"user": format!("{user}-wrote")}})
}

fn policy(name: &str, mode: &str, risk: &Value) -> ProtectionPolicy {
    read(
        json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ProtectionPolicy", "metadata": {"name": name},
        "spec": {"mode": mode, "reason": "r", "rules": [{"resources": ["pods"]}], "require": {"ticket": {"risk": risk}}}}),
    )
}

fn rule(name: &str, score: i32, when: &str) -> Value {
    json!({"name": name, "sort": "Business", "when": when, "score": score, "why": format!("{name} hurts")})
}

/// What there is besides: conflicts, calendars and the past, with labels and without a Job.
#[derive(Default)]
struct Around {
    labels: BTreeMap<String, String>,
    conflicts: Vec<Found>,
    past: Vec<Past>,
    calendars: BTreeMap<CalendarRef, Arc<Calendar>>,
}

impl Around {
    fn facts(&self) -> Facts<'_> {
        Facts {
            labels: Some(&self.labels),
            job: None,
            conflicts: &self.conflicts,
            past: &self.past,
            calendars: &self.calendars,
        }
    }

    fn weighed(&self, ticket: &ChangeTicket, policies: &[ProtectionPolicy]) -> Weighed {
        let scales: Vec<_> = policies.iter().filter_map(Scale::of).collect();
        weigh(ticket, &scales, &self.facts(), early())
    }
}

/// What counts, and for how much.
fn counted(weighed: &Weighed) -> Vec<(&str, i32)> {
    let risk = weighed.risk.as_ref().expect("it was weighed");
    let reasons = risk.reasons.iter();
    reasons.map(|one| (&*one.rule, one.score)).collect()
}

#[test]
fn a_rule_counts_where_it_is_true_and_in_full_where_it_cannot_be_judged() {
    let around = Around {
        labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
        conflicts: vec![Found {
            conflict: read(
                json!({"reason": "ItemBooked", "severity": "High", "with": {"kind": "ChangeTicket", "namespace": "shop", "name": "other"},
                "from": "2026-12-05T10:00:00Z", "until": "2026-12-05T12:00:00Z", "message": "m"}),
            ),
            gives_way: false,
        }],
        ..Around::default()
    };
    for (when, expected) in [
        (
            "ticket.spec.level == 'A' && ticket.spec.type == 'Urgent'",
            Some("one hurts"),
        ),
        ("ticket.spec.level == 'B'", None),
        (
            "ticket.metadata.name == 'move' && ticket.metadata.namespace == 'shop'",
            Some("one hurts"),
        ),
        ("ticket.metadata.labels.tier == 'gold'", Some("one hurts")),
        (
            "ticket.spec.scope.hosts.exists(h, h.startsWith('h'))",
            Some("one hurts"),
        ),
        ("size(ticket.spec.scope.hosts) > 5", None),
        (
            "namespaceObject.metadata.name == 'shop' && namespaceObject.metadata.labels.env == 'prod'",
            Some("one hurts"),
        ),
        (
            "'env' in namespaceObject.metadata.labels",
            Some("one hurts"),
        ),
        ("'tier' in namespaceObject.metadata.labels", None),
        ("job == null", Some("one hurts")),
        ("job != null && !has(job.onFailure)", None),
        (
            "conflicts.exists(c, c.severity == 'High')",
            Some("one hurts"),
        ),
        ("has(ticket.spec.description)", None),
        ("ticket.spec.description == 'x'", Some("No such key")),
        ("ticket.spec.level", Some("not a boolean")),
        ("ticket.spec.level ==", Some(":1:")),
        ("secrets.a == 'b'", Some("secrets")),
    ] {
        let scale = json!({"rules": [rule("one", 30, when)]});
        let weighed = around.weighed(&ticket(&json!({})), &[policy("p", "Enforce", &scale)]);
        let counts: &[_] = expected.map_or(&[], |_| &[("one", 30)]);
        assert_eq!(counted(&weighed), counts, "{when}");
        let risk = weighed.risk.expect("it was weighed");
        let why = risk.reasons.first().map(|reason| reason.why.as_str());
        let is_judged = expected.is_none_or(|said| said == "one hurts");
        let says = |why: &str| expected.is_some_and(|said| why.contains(said));
        assert_eq!(
            why.is_none_or(|why| !why.contains("judged")),
            is_judged,
            "{when}: {why:?}"
        );
        assert!(why.is_none_or(says), "{when}: {why:?}");
    }
}

#[test]
fn what_cannot_be_judged_says_so_and_what_is_not_known_is_left_out() {
    let around = Around::default();
    let why = |when: &str, facts: &Facts<'_>, ticket: &ChangeTicket| {
        let scale = json!({"rules": [rule("one", 30, when)]});
        let weighed = weigh(
            ticket,
            &Scale::of(&policy("p", "Warn", &scale)),
            facts,
            early(),
        );
        let reasons = weighed.risk.expect("it was weighed").reasons;
        reasons.first().map(|reason| reason.why.clone())
    };
    let own = ticket(&json!({}));
    let facts = around.facts();
    assert_eq!(why("true", &facts, &own).as_deref(), Some("one hurts"));
    let said = why("ticket.spec.description == 'x'", &facts, &own).expect("it counts");
    for told in [
        "one hurts (it cannot be judged, and counts in full: when",
        "No such key",
    ] {
        assert!(said.contains(told), "no {told:?} in {said}");
    }
    let unknown = Facts {
        labels: None,
        ..facts
    };
    assert_eq!(
        why(
            "namespaceObject.metadata.labels.env == 'prod'",
            &unknown,
            &own
        ),
        None
    );
    assert!(why("nowhere.labels.env == 'prod'", &unknown, &own).is_some());
    let with_job = ticket(&json!({"plan": {"job": {"jobRef": {"name": "j"}}}}));
    assert_eq!(why("job != null", &facts, &with_job), None);
    let job = read(json!({"steps": [{"name": "s", "inline": {"content": "true"}}]}));
    let known = Facts {
        job: Some(&job),
        ..facts
    };
    assert!(why("job.steps.exists(s, has(s.inline))", &known, &with_job).is_some());
    assert_eq!(
        why("job.steps.exists(s, has(s.script))", &known, &with_job),
        None
    );
}

#[test]
fn whoever_has_had_a_part_in_a_change_that_ended_well_does_it_not_for_the_first_time() {
    let groups = json!({"implementers": {"groups": ["crew"]}});
    let noon = "2026-11-30T12:00:00Z";
    for (what, own, past, is_first) in [
        ("nothing was done", json!({}), vec![], true),
        (
            "ivan did",
            json!({}),
            vec![ended("a", &of("ivan"), "Success", noon)],
            false,
        ),
        (
            "ivan wrote",
            json!({}),
            vec![ended(
                "a",
                &json!({"implementers": {"users": ["eve"]}, "requestedBy": {"user": "ivan"}}),
                "Success",
                noon,
            )],
            false,
        ),
        (
            "ivan failed",
            json!({}),
            vec![ended("a", &of("ivan"), "Failed", noon)],
            true,
        ),
        (
            "eve did",
            json!({}),
            vec![ended("a", &of("eve"), "Success", noon)],
            true,
        ),
        (
            "rita, who wrote it, did",
            json!({}),
            vec![ended("a", &of("rita"), "Success", noon)],
            true,
        ),
        (
            "only groups carry it out, and rita did",
            groups.clone(),
            vec![ended("a", &of("rita"), "Success", noon)],
            false,
        ),
        (
            "only groups carry it out, and rita did nothing",
            groups,
            vec![],
            true,
        ),
        (
            "one of two did",
            json!({"implementers": {"users": ["eve", "ivan"]}}),
            vec![ended("a", &of("ivan"), "Success", noon)],
            false,
        ),
    ] {
        let around = Around {
            past,
            ..Around::default()
        };
        let scale = json!({"personnel": {"firstTime": 20}});
        let weighed = around.weighed(&ticket(&own), &[policy("p", "Enforce", &scale)]);
        let expected: &[_] = if is_first { &[("firstTime", 20)] } else { &[] };
        assert_eq!(counted(&weighed), expected, "{what}");
    }
}

#[test]
fn a_part_in_a_change_is_had_by_whoever_started_or_reported_it_and_what_was_cancelled_says_nothing()
{
    let mut one =
        serde_json::to_value(ticket(&json!({"implementers": {"groups": ["crew"]}}))).expect("JSON");
    let taken = |action: &str, by: &str| json!({"uid": action, "action": action, "by": by, "at": "2026-11-30T12:00:00Z"});
    one["status"] = json!({"conditions": [], "finishedAt": "2026-11-30T12:00:00Z", "result": {"outcome": "Success"},
        "started": {"at": "2026-11-30T10:00:00Z", "by": "sue", "digest": "d", "closes": "2026-11-30T12:00:00Z", "onClose": "Finish", "level": "C"},
        "actions": [taken("Complete", "ron"), taken("Start", "sue")]});
    let past = Past::of(&read(one.clone())).expect("it has ended");
    assert_eq!(
        past.people,
        ["rita", "ron", "sue"].map(str::to_owned).into()
    );
    let status = one["status"].as_object_mut().expect("a status");
    status.remove("result");
    assert_eq!(Past::of(&read(one)), None);
}

#[test]
fn failures_count_once_while_they_are_recent() {
    let failed = |name: &str, user: &str, at: &str| ended(name, &of(user), "Failed", at);
    for (past, said) in [
        (vec![], None),
        (vec![failed("a", "eve", "2026-11-30T12:00:00Z")], None),
        (vec![failed("a", "ivan", "2026-11-28T00:00:00Z")], None),
        (
            vec![failed("a", "ivan", "2026-11-30T12:00:00Z")],
            Some("ivan had a part in ChangeTicket a, which failed at 2026-11-30T12:00:00Z"),
        ),
        (
            vec![
                failed("a", "ivan", "2026-11-30T12:00:00Z"),
                failed("b", "rita", "2026-11-30T13:00:00Z"),
            ],
            Some(
                "rita had a part in ChangeTicket b, which failed at 2026-11-30T13:00:00Z, and so did 1 more within 48h",
            ),
        ),
        (
            vec![ended("a", &of("ivan"), "Success", "2026-11-30T12:00:00Z")],
            None,
        ),
    ] {
        let around = Around {
            past,
            ..Around::default()
        };
        let scale = json!({"personnel": {"recentFailures": {"score": 40, "within": "48h"}}});
        let weighed = around.weighed(&ticket(&json!({})), &[policy("p", "Enforce", &scale)]);
        let risk = weighed.risk.expect("it was weighed");
        assert_eq!(risk.reasons.first().map(|reason| &*reason.why), said);
        assert_eq!(risk.score, if said.is_some() { 40 } else { 0 });
    }
}

#[test]
fn a_failure_is_remembered_for_as_long_as_it_counts() {
    let scale = |personnel: &Value| {
        let scale = json!({"personnel": personnel});
        Scale::of(&policy("p", "Warn", &scale)).expect("it weighs")
    };
    let counts = scale(&json!({"recentFailures": {"score": 40, "within": "48h"}}));
    let past = |outcome| ended("a", &of("ivan"), outcome, "2026-11-30T12:00:00Z");
    let until = at("2026-12-02T12:00:00Z");
    assert_eq!(counts.remembers(&past("Failed")), Some(until));
    assert_eq!(counts.remembers(&past("Success")), None);
    let other = scale(&json!({"firstTime": 5}));
    assert_eq!(other.remembers(&past("Failed")), None);
}

#[test]
fn a_window_is_out_of_hours_unless_its_calendar_is_open_all_through_it() {
    let hours: CalendarRef = read(json!({"namespace": "ops", "name": "hours"}));
    let opened = |start: &str, duration: &str| {
        let event =
            json!({"name": "day", "effect": "Window", "start": start, "duration": duration});
        let spec = read(json!({"default": "Closed", "timeZone": "UTC", "events": [event]}));
        Some(Arc::new(Calendar::read(&spec).expect("a calendar")))
    };
    for (calendar, said) in [
        (None, Some("ops/hours of the hours of work is not there")),
        (opened("2026-12-05T09:00", "8h"), None),
        (opened("2026-12-05T10:00", "2h"), None),
        (
            opened("2026-12-05T11:00", "8h"),
            Some("is closed at 2026-12-05T10:00:00Z"),
        ),
        (
            opened("2026-12-05T09:00", "2h"),
            Some("closes at 2026-12-05T11:00:00Z"),
        ),
    ] {
        let calendars = calendar
            .into_iter()
            .map(|one| (hours.clone(), one))
            .collect();
        let around = Around {
            calendars,
            ..Around::default()
        };
        let scale = json!({"personnel": {"outOfHours": {"score": 10, "calendar": hours}}});
        let weighed = around.weighed(&ticket(&json!({})), &[policy("p", "Enforce", &scale)]);
        let reasons = weighed.risk.expect("it was weighed").reasons;
        let why = reasons.first().map(|reason| reason.why.as_str());
        assert_eq!(why.is_some(), said.is_some(), "{why:?}");
        assert!(
            said.is_none_or(|said| why.is_some_and(|why| why.contains(said))),
            "{why:?}"
        );
    }
    let scale = json!({"personnel": {"outOfHours": {"score": 10, "calendar": hours}}});
    let scale = Scale::of(&policy("p", "Warn", &scale)).expect("it weighs");
    assert_eq!(scale.hours(), Some(&hours));
}

#[test]
fn rules_are_compiled_once_for_all_tickets_and_one_that_cannot_be_used_counts_in_full_for_each() {
    let deep = format!("{}true", "!".repeat(17));
    let rules = [
        rule("cut-off", 40, "ticket.spec.level =="),
        rule("too-deep", 30, &deep),
        rule("elsewhere", 20, "secrets.a == 'b'"),
        rule("urgent", 5, "ticket.spec.type == 'Urgent'"),
    ];
    let policies = [policy("p", "Enforce", &json!({"rules": rules}))];
    let scale = Scale::of(&policies[0]).expect("it weighs");
    let around = Around::default();
    for (own, expected) in [
        (
            json!({}),
            &["cut-off", "too-deep", "elsewhere", "urgent"][..],
        ),
        (
            json!({"type": "Regular"}),
            &["cut-off", "too-deep", "elsewhere"],
        ),
    ] {
        let own = ticket(&own);
        let weighed = weigh(&own, [&scale], &around.facts(), early());
        let counts: Vec<_> = counted(&weighed)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(counts, expected);
        let reasons = &weighed.risk.as_ref().expect("it was weighed").reasons;
        let unjudged = |reason: &&RiskReason| reason.why.contains("counts in full: ");
        assert_eq!(reasons.iter().filter(unjudged).count(), 3, "{reasons:?}");
        assert_eq!(
            weighed,
            around.weighed(&own, &policies),
            "as if compiled anew"
        );
    }
}

#[test]
fn a_score_is_a_sum_of_a_hundred_at_most_and_the_highest_of_all_policies() {
    let (around, own) = (Around::default(), ticket(&json!({})));
    assert_eq!(around.weighed(&own, &[]), Weighed::default());
    let many = policy(
        "many",
        "Audit",
        &json!({"rules": [rule("a", 50, "true"), rule("b", 70, "true"), rule("c", 9, "false")]}),
    );
    let few = policy("few", "Enforce", &json!({"rules": [rule("d", 30, "true")]}));
    let off = policy(
        "off",
        "Disabled",
        &json!({"rules": [rule("e", 100, "true")]}),
    );
    let weighed = around.weighed(&own, &[few, many, off]);
    let risk = weighed.risk.as_ref().expect("it was weighed");
    assert_eq!((risk.score, &*risk.policy), (100, "many"));
    assert_eq!(counted(&weighed), [("b", 70), ("a", 50)]);
    assert_eq!(
        weighed.told.as_deref(),
        Some("Risk: the risk is 100 of 100 (b 70, a 50) by ProtectionPolicy many")
    );
    let none = policy("p", "Enforce", &json!({"rules": [rule("c", 9, "false")]}));
    let weighed = around.weighed(&own, &[none]);
    assert_eq!(
        (weighed.risk.expect("it was weighed").score, weighed.told),
        (0, None)
    );
}

/// Levels of review by their users.
fn reviewed(of: &[&[&str]]) -> Value {
    let level = |(n, users): (usize, &&[&str])| json!({"name": format!("l{n}"), "users": users});
    json!({"review": of.iter().enumerate().map(level).collect::<Vec<_>>()})
}

/// A policy whose one rule gives this score, and that asks for more.
fn asks(mode: &str, score: i32, over: &Value) -> ProtectionPolicy {
    let scale = merged(json!({"rules": [rule("a", score, "true")]}), over);
    policy("p", mode, &scale)
}

/// Why a ticket with so many levels of review is kept back, how many are asked for, and whether something is lacking.
fn answered(
    policies: &[ProtectionPolicy],
    levels: usize,
) -> (Option<&'static str>, Option<i32>, bool) {
    let people: [&[&str]; 3] = [&["bob"], &["carol"], &["dave"]];
    let own = ticket(&reviewed(&people[..levels]));
    let weighed = Around::default().weighed(&own, policies);
    let risk = weighed.risk.expect("it was weighed");
    let reason = weighed.refusal.map(|refusal| refusal.reason);
    (reason, risk.review_levels, risk.lacks.is_some())
}

#[test]
fn a_risk_asks_for_levels_of_review_or_is_too_high_and_keeps_back_while_that_is_enforced() {
    let two = json!({"review": [{"score": 60, "levels": 2}]});
    let most = json!({"review": [{"score": 1, "levels": 2}, {"score": 50, "levels": 3}]});
    let blocks = json!({"blockAt": 80});
    let (small, high) = (Some("ReviewTooSmall"), Some("RiskTooHigh"));
    for (mode, score, over, levels, expected) in [
        ("Enforce", 59, &two, 1, (None, None, false)),
        ("Enforce", 60, &two, 1, (small, Some(2), true)),
        ("Enforce", 60, &two, 2, (None, Some(2), false)),
        ("Enforce", 60, &most, 2, (small, Some(3), true)),
        ("Enforce", 79, &blocks, 1, (None, None, false)),
        ("Enforce", 80, &blocks, 3, (high, None, true)),
        ("Warn", 60, &two, 1, (None, None, true)),
        ("Audit", 80, &blocks, 3, (None, None, true)),
    ] {
        let policies = [asks(mode, score, over)];
        assert_eq!(
            answered(&policies, levels),
            expected,
            "{mode} {score} {over} {levels}"
        );
    }
}

#[test]
fn each_policy_asks_by_its_own_score_and_the_strictest_holds() {
    let levels = |score: i32, levels: i32| json!({"review": [{"score": score, "levels": levels}]});
    let apart = [
        asks("Enforce", 10, &levels(60, 2)),
        asks("Enforce", 90, &json!({})),
    ];
    assert_eq!(answered(&apart, 1), (None, None, false));
    let warns = [
        asks("Warn", 90, &json!({"blockAt": 1})),
        asks("Enforce", 60, &levels(60, 2)),
    ];
    assert_eq!(answered(&warns, 1), (Some("ReviewTooSmall"), Some(2), true));
    assert_eq!(answered(&warns, 2), (None, Some(2), true));
    let several = [
        asks("Enforce", 60, &levels(60, 2)),
        asks("Enforce", 50, &json!({"blockAt": 1})),
        asks("Enforce", 70, &levels(1, 3)),
    ];
    assert_eq!(answered(&several, 1), (Some("RiskTooHigh"), Some(3), true));
    let off = [
        asks("Disabled", 60, &levels(60, 2)),
        asks("Enforce", 1, &json!({})),
    ];
    assert_eq!(answered(&off, 1), (None, None, false));
}

#[test]
fn what_is_lacking_names_the_policy_the_reasons_and_the_way_out() {
    let rules: Vec<_> = (0..20)
        .map(|n| rule(&format!("{n:a<63}"), 90 - n, "true"))
        .collect();
    let scale = json!({"rules": rules, "review": [{"score": 60, "levels": 2}]});
    let own = ticket(&json!({}));
    let weighed = Around::default().weighed(&own, &[policy(&"p".repeat(253), "Enforce", &scale)]);
    let refusal = weighed.refusal.expect("it is kept back");
    for told in [
        "the risk is 100 of 100 (0aaa",
        " 88 and 17 more) by ProtectionPolicy ppp",
        "which asks for 2 levels of review of other people each, and spec.review has 1; add levels, or make it less risky (status.risk.reasons)",
    ] {
        assert!(refusal.message.contains(told), "no {told:?} in {refusal}");
    }
    assert!(
        weighed
            .told
            .is_some_and(|told| told.starts_with("ReviewTooSmall: the risk is 100 of 100"))
    );
    assert_eq!(
        weighed.risk.and_then(|risk| risk.lacks),
        Some(refusal.message)
    );
}

#[test]
fn levels_that_one_person_agrees_for_are_one() {
    let table: [(&[&[&str]], i32); 6] = [
        (&[], 0),
        (&[&["bob"]], 1),
        (&[&["bob"], &["bob"]], 1),
        (&[&["bob"], &["carol"]], 2),
        (&[&["bob", "carol"], &["bob"], &["carol"]], 2),
        (&[&["a"], &["a", "b"], &["b", "c"], &["c", "d"], &["d"]], 3),
    ];
    for (of, expected) in table {
        let ticket = ticket(&reviewed(of));
        assert_eq!(levels::apart(&ticket.spec.review), expected, "{of:?}");
    }
    let groups = json!({"review": [{"name": "a", "users": ["bob"], "groups": ["g"]}, {"name": "b", "users": ["carol"], "groups": ["g"]}]});
    assert_eq!(levels::apart(&ticket(&groups).spec.review), 1);
}

#[test]
fn rules_that_cannot_be_used_are_named_with_the_position() {
    let rules = [
        rule("fine", 1, "ticket.spec.level == 'A'"),
        rule("cut-off", 1, "ticket.spec.level =="),
        rule("elsewhere", 1, "secrets.a == 'b'"),
    ];
    let scale = read(json!({"rules": rules}));
    let wrong: Vec<_> = check(&scale)
        .into_iter()
        .map(|refusal| refusal.message)
        .collect();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    for told in ["spec.require.ticket.risk.rules[cut-off].when", ":1:"] {
        assert!(wrong[0].contains(told), "no {told:?} in {wrong:?}");
    }
    assert!(
        wrong[1].contains("it names secrets; it can name ticket, namespaceObject, job, conflicts"),
        "{wrong:?}"
    );
}
