//! Misfires, concurrency, limits and what the status says of them.

use super::*;
use crds::v1alpha1::{ScheduledTaskStatus, set_condition};
use serde_json::{Value, json};

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A task at 03:15 in Shanghai, created before and looked at until then.
fn task(over: Value, settled: &str) -> ScheduledTask {
    let mut spec = json!({"schedule": {"cron": "0 15 3 ? * *", "timeZone": "Asia/Shanghai"}, "jobRef": {"name": "j"}});
    let Value::Object(over) = over else {
        panic!("an object")
    };
    spec.as_object_mut().expect("an object").extend(over);
    let mut task = ScheduledTask::new("nightly", serde_json::from_value(spec).expect("a spec"));
    task.metadata.uid = Some("3f2504e0-4f89-11d3-9a0c-0305e82c3301".into());
    task.metadata.creation_timestamp = Some(Time(at("2026-01-01T00:00:00Z")));
    task.metadata.generation = Some(1);
    task.status = Some(ScheduledTaskStatus {
        settled_until: Some(Time(at(settled))),
        schedule_digest: Some(digest(&task.spec)),
        ..ScheduledTaskStatus::default()
    });
    task
}

fn turn(task: &ScheduledTask, world: &World, now: &str) -> (Next, ScheduledTaskStatus) {
    let now = at(now);
    let table = Timetable::read(&task.spec, at("2026-01-01T00:00:00Z")).expect("a schedule");
    let next = next(task, due(task, &table, now), world, now);
    let told = Ok(Told {
        table: &table,
        next: &next,
        world: Some(world),
    });
    let status = status(task, &told, now);
    (next, status)
}

fn told(next: &Next) -> (Vec<String>, Vec<(String, &str)>) {
    let start = next.start.iter().map(ToString::to_string).collect();
    let suppressed = next.suppressed.iter();
    let suppressed = suppressed.map(|s| (s.at.0.to_string(), s.reason.as_str()));
    (start, suppressed.collect())
}

#[test]
fn a_firing_that_is_due_starts_once_and_the_next_five_are_foretold() {
    let task = task(json!({}), "2026-11-23T19:15:00Z");
    let (next, status) = turn(&task, &World::default(), "2026-11-24T19:15:00.02Z");
    assert_eq!(told(&next), (vec!["2026-11-24T19:15:00Z".into()], vec![]));
    assert_eq!(next.again, Some(at("2026-11-25T19:15:00Z")));
    assert_eq!(status.next_firings.len(), 5);
    assert_eq!(
        status.last_run.as_deref(),
        Some("nightly-20261124t191500-3f2504e0")
    );
    assert_eq!(status.runs, Some(1));
    let after = ScheduledTask {
        status: Some(status),
        ..task
    };
    let (next, _) = turn(&after, &World::default(), "2026-11-24T19:15:01Z");
    assert_eq!(told(&next), (vec![], vec![]));
}

/// As often as one looks, also where it is long.
#[test]
fn of_a_stretch_of_closed_dates_is_told_once_and_nobody_looks_again_before_it_opens() {
    for (calendars, reason, opens) in [
        (
            json!({"include": [{"from": "2026-12-24"}]}),
            "NotIncludedDate",
            Some(at("2026-12-24T00:00:00Z")),
        ),
        (
            json!({"exclude": [{"from": "2026-11-24", "to": "2026-11-30"}]}),
            "ExcludedDate",
            Some(at("2026-12-01T00:00:00Z")),
        ),
        (
            json!({"exclude": [{"from": "2026-11-24", "to": "9999-12-31"}]}),
            "ExcludedDate",
            None,
        ),
    ] {
        let schedule = json!({"every": "5s", "from": "2026-11-20T00:00:00Z"});
        let over = json!({"schedule": schedule, "calendars": calendars, "jitter": "89s"});
        let mut task = task(over, "2026-11-24T09:59:58Z");
        let (next, status) = turn(&task, &World::default(), "2026-11-24T10:00:03Z");
        let first = ("2026-11-24T10:00:00Z".to_owned(), reason);
        assert_eq!(told(&next), (vec![], vec![first]));
        task.status = Some(status.clone());
        for now in ["24T10:00:03Z", "24T10:20:00Z", "26T10:00:00Z"] {
            let (next, after) = turn(&task, &World::default(), &format!("2026-11-{now}"));
            assert_eq!(told(&next), (vec![], vec![]), "{now}");
            let again = next
                .again
                .map(|at| at.duration_since(opens.expect("it opens")));
            assert_eq!(again.is_some(), opens.is_some());
            assert!(again.is_none_or(|late| late < SignedDuration::from_secs(89)));
            assert_eq!(after, status, "nothing is written at {now}");
        }
    }
}

/// Whatever Git says, a status can hold whole seconds alone.
#[test]
fn a_firing_at_a_fraction_of_a_second_starts_once() {
    let half = "2026-11-24T10:00:00.5Z";
    for schedule in [
        json!({"at": half}),
        json!({"every": "1h", "from": half}),
        json!({"every": "1500ms"}),
    ] {
        let over = json!({"schedule": schedule, "expires": half, "concurrency": "Allow"});
        let task = task(over, "2026-11-24T09:59:59Z");
        let (next, status) = turn(&task, &World::default(), "2026-11-24T10:00:01Z");
        assert_eq!(next.start, [at("2026-11-24T10:00:00Z")], "{schedule}");
        let written = serde_json::to_value(&status).expect("JSON");
        let after = ScheduledTask {
            status: serde_json::from_value(written).expect("a status"),
            ..task
        };
        for now in ["2026-11-24T10:00:01Z", "2026-11-24T10:00:30Z"] {
            let (next, _) = turn(&after, &World::default(), now);
            assert_eq!(told(&next), (vec![], vec![]), "{schedule} at {now}");
        }
    }
}

/// Found at so many seconds past the third of three hourly firings, with a deadline of 90 minutes.
#[test]
fn what_was_missed_runs_as_the_policy_says() {
    let first = "2026-11-24T01:00:00Z";
    let of = |hour: u8| format!("2026-11-24T0{hour}:00:00Z");
    let missed = |hours: &[u8]| {
        hours
            .iter()
            .map(|&h| (of(h), "Misfire"))
            .collect::<Vec<_>>()
    };
    for (policy, now, starts, suppressed) in [
        ("RunOnce", "2026-11-24T03:00:30Z", vec![3], missed(&[1, 2])),
        ("RunOnce", "2026-11-24T03:20:00Z", vec![3], missed(&[1, 2])),
        ("Skip", "2026-11-24T03:00:30Z", vec![3], missed(&[1, 2])),
        ("Skip", "2026-11-24T03:20:00Z", vec![], missed(&[1, 2, 3])),
        ("RunAll", "2026-11-24T03:20:00Z", vec![2, 3], missed(&[1])),
        ("RunAll", "2026-11-24T02:25:00Z", vec![1, 2], missed(&[])),
    ] {
        let over = json!({"schedule": {"every": "1h", "from": first}, "misfire": {"policy": policy, "deadline": "90m"}, "concurrency": "Allow"});
        let (next, _) = turn(&task(over, "2026-11-24T00:30:00Z"), &World::default(), now);
        let starts: Vec<_> = starts.into_iter().map(of).collect();
        let (started, others) = told(&next);
        let others: Vec<_> = others.into_iter().collect();
        assert_eq!((started, others), (starts, suppressed), "{policy} {now}");
    }
}

#[test]
fn a_weekend_without_an_operator_is_told_as_one() {
    let over = json!({"schedule": {"every": "1s", "from": "2026-11-20T00:00:00Z"}, "concurrency": "Allow", "misfire": {"policy": "RunAll"}});
    let (next, status) = turn(
        &task(over, "2026-11-20T00:00:00Z"),
        &World::default(),
        "2026-11-23T00:00:00Z",
    );
    assert_eq!(
        next.start.len(),
        61 + CAUGHT_UP,
        "those of the last minute are no misfires"
    );
    assert_eq!(status.suppressed.len(), 2);
    assert!(
        status.suppressed[1]
            .message
            .contains("spec.misfire.deadline 10m")
    );
    assert_eq!(status.suppressed[1].at.0, at("2026-11-20T00:00:01Z"));
}

#[test]
fn an_earlier_run_forbids_is_replaced_or_does_not_matter() {
    let busy = World {
        active: 1,
        barred: None,
    };
    let now = "2026-11-24T19:15:00Z";
    let of = |policy: &str| {
        let (next, _) = turn(
            &task(json!({"concurrency": policy}), "2026-11-24T00:00:00Z"),
            &busy,
            now,
        );
        let reasons: Vec<_> = next.suppressed.iter().map(|s| s.reason.clone()).collect();
        (next.start.len(), next.replace, reasons)
    };
    assert_eq!(
        of("Forbid"),
        (0, false, vec!["PreviousRunActive".to_owned()])
    );
    assert_eq!(of("Allow"), (1, false, vec![]));
    assert_eq!(of("Replace"), (1, true, vec![]));
}

#[test]
fn nothing_fires_while_suspended_and_nothing_is_made_up_for() {
    let suspended = task(json!({"suspend": true}), "2026-11-24T00:00:00Z");
    let (next, status) = turn(&suspended, &World::default(), "2026-11-24T12:00:00Z");
    assert_eq!((next.start.len(), next.again), (0, None));
    let ready = find_condition(&status.conditions, "Ready").expect("a condition");
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("True", "Suspended")
    );
    let mut resumed = task(json!({}), "2026-11-24T00:00:00Z");
    resumed.status = Some(status);
    let (next, status) = turn(&resumed, &World::default(), "2026-11-24T19:15:10Z");
    assert_eq!(
        told(&next),
        (vec![], vec![("2026-11-24T19:15:00Z".into(), "Suspended")])
    );
    let mut months = resumed.clone();
    months.metadata.name = Some("months".into());
    let (later, _) = turn(&months, &World::default(), "2027-03-01T00:00:00Z");
    let reasons: Vec<_> = told(&later)
        .1
        .into_iter()
        .map(|(_, reason)| reason)
        .collect();
    assert_eq!(reasons, ["Suspended"], "told as one, and as no misfire");
    let resumed = ScheduledTask {
        status: Some(status),
        ..resumed
    };
    let (next, _) = turn(&resumed, &World::default(), "2026-11-25T19:15:00Z");
    assert_eq!(next.start.len(), 1);
}

#[test]
fn a_schedule_that_was_changed_makes_up_for_nothing_of_the_one_before() {
    let mut changed = task(json!({}), "2026-11-24T00:00:00Z");
    changed.spec.schedule.cron = Some("0 0 3 ? * *".into());
    let (next, status) = turn(&changed, &World::default(), "2026-11-24T19:05:00Z");
    assert_eq!(
        told(&next),
        (vec![], vec![]),
        "03:00 was five minutes before the change"
    );
    assert_eq!(status.next_firings[0].0, at("2026-11-25T19:00:00Z"));
}

#[test]
fn a_task_that_nobody_has_looked_at_yet_fires_from_its_creation_on() {
    let over = json!({"schedule": {"every": "10s"}});
    let mut task = task(over, "2026-01-01T00:00:00Z");
    task.status = Some(ScheduledTaskStatus {
        observed_generation: Some(-1),
        ..ScheduledTaskStatus::default()
    });
    let (next, _) = turn(&task, &World::default(), "2026-01-01T00:00:11Z");
    assert_eq!(told(&next), (vec!["2026-01-01T00:00:10Z".into()], vec![]));
}

#[test]
fn a_clock_that_was_ahead_holds_nothing_up() {
    let ahead = task(json!({}), "2027-06-01T00:00:00Z");
    let (next, _) = turn(&ahead, &World::default(), "2026-11-24T00:00:00Z");
    assert_eq!(next.again, Some(at("2026-11-24T19:15:00Z")));
}

#[test]
fn jitter_is_the_same_whenever_one_asks_and_below_its_bound() {
    let task = task(json!({"jitter": "10m"}), "2026-11-24T00:00:00Z");
    let (early, _) = turn(&task, &World::default(), "2026-11-24T19:00:00Z");
    let again = early.again.expect("a time");
    let delay = again.duration_since(at("2026-11-24T19:15:00Z"));
    assert!(
        !delay.is_negative() && delay < SignedDuration::from_mins(10),
        "{delay}"
    );
    let (before, _) = turn(&task, &World::default(), "2026-11-24T19:15:00Z");
    assert_eq!((before.start.len(), before.again), (0, Some(again)));
    let (then, _) = turn(&task, &World::default(), &again.to_string());
    assert_eq!(then.start, [at("2026-11-24T19:15:00Z")]);
}

#[test]
fn what_would_be_refused_does_not_start_and_says_why() {
    let world = World {
        active: 0,
        barred: Some(Refusal::new(
            "WriterNotEntitled",
            "Job j was last written by mallory",
        )),
    };
    let task = task(json!({}), "2026-11-24T00:00:00Z");
    let (next, status) = turn(&task, &world, "2026-11-24T19:15:00Z");
    assert_eq!(
        told(&next).1,
        [("2026-11-24T19:15:00Z".into(), "WriterNotEntitled")]
    );
    let ready = find_condition(&status.conditions, "Ready").expect("a condition");
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "WriterNotEntitled")
    );
    let healed = ScheduledTask {
        status: Some(status),
        ..task
    };
    let (_, status) = turn(&healed, &World::default(), "2026-11-24T20:00:00Z");
    assert!(find_condition(&status.conditions, "Stalled").is_none());
    assert_eq!(
        status.last_suppressed.as_deref(),
        Some("2026-11-25 03:15:00 WriterNotEntitled")
    );
}

#[test]
fn a_task_is_finished_after_its_last_run_and_stalled_where_it_can_have_none() {
    let ready = |over: Value, runs: Option<i32>| {
        let mut task = task(over, "2026-11-24T00:00:00Z");
        task.status.as_mut().expect("a status").runs = runs;
        let (_, status) = turn(&task, &World::default(), "2026-11-24T12:00:00Z");
        let ready = find_condition(&status.conditions, "Ready").expect("a condition");
        (ready.status.clone(), ready.reason.clone())
    };
    let is = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(
        ready(json!({"maxRuns": 3}), Some(3)),
        is("True", "Finished")
    );
    assert_eq!(
        ready(json!({"maxRuns": 3}), Some(2)),
        is("True", "Scheduled")
    );
    assert_eq!(
        ready(json!({"expires": "2026-11-24T10:00:00Z"}), Some(1)),
        is("True", "Finished")
    );
    assert_eq!(
        ready(json!({"expires": "2026-11-24T10:00:00Z"}), None),
        is("False", "NeverFires")
    );
    assert_eq!(
        ready(json!({"schedule": {"at": "2025-01-01T00:00:00Z"}}), None),
        is("False", "InThePast")
    );
    assert_eq!(
        ready(
            json!({"schedule": {"cron": "0 0 0 31 4 ?", "timeZone": "UTC"}}),
            None
        ),
        is("False", "NeverFires")
    );
    let closed = json!({"calendars": {"exclude": [{"from": "2026-01-01", "to": "9999-12-31"}]}});
    assert_eq!(ready(closed, Some(4)), is("False", "NeverFires"));
}

#[test]
fn a_schedule_that_cannot_be_read_is_told_once() {
    let mut task = task(json!({}), "2026-11-24T00:00:00Z");
    let refusal = Err(Refusal::new("TimeZoneUnknown", "no such zone"));
    let told = status(&task, &refusal, at("2026-11-24T12:00:00Z"));
    assert!(find_condition(&told.conditions, "Stalled").is_some());
    task.status = Some(told);
    let again = status(&task, &refusal, at("2026-11-24T12:00:09Z"));
    assert_eq!(task.status, Some(again), "there is nothing new to write");
}

#[test]
fn what_did_not_fire_before_and_after_a_run_is_told_apart() {
    let busy = World {
        active: 1,
        barred: None,
    };
    let mut task = task(json!({}), "2026-11-23T00:00:00Z");
    let nights = ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26"];
    for (night, world) in nights.iter().zip([&busy, &World::default(), &busy, &busy]) {
        let (_, status) = turn(&task, world, &format!("{night}T19:15:00Z"));
        task.status = Some(status);
    }
    let suppressed = task.status.expect("a status").suppressed;
    let told: Vec<_> = suppressed.iter().map(|s| s.at.0).collect();
    assert_eq!(
        told,
        [at("2026-11-25T19:15:00Z"), at("2026-11-23T19:15:00Z")]
    );
}

#[test]
fn history_is_looked_through_now_and_then() {
    let prunes = |runs: i32, started: usize| {
        let mut task = task(json!({}), "2026-11-24T00:00:00Z");
        task.status.as_mut().expect("a status").runs = Some(runs);
        let start = vec![at("2026-11-24T00:00:00Z"); started];
        super::prunes(
            &task,
            &Next {
                start,
                ..Next::default()
            },
        )
    };
    assert_eq!(
        [(0, 1), (1, 1), (2, 1), (2, 0), (3, 1), (0, 9)].map(|(r, n)| prunes(r, n)),
        [false, false, true, false, false, true]
    );
}

#[test]
fn names_of_runs_are_short_valid_and_those_of_one_firing() {
    let long = "a".repeat(253);
    let name = run_name(
        &long,
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        at("2026-11-24T19:15:00Z"),
    );
    assert_eq!(name.len(), 36 + 1 + 15 + 1 + 8);
    let dotted = run_name("a.", "0305e82c", at("2026-11-24T19:15:01Z"));
    assert_eq!(dotted, "a-20261124t191501-0305e82c");
}

#[test]
fn a_condition_of_another_generation_is_kept_until_somebody_looks() {
    let mut task = task(json!({}), "2026-11-24T00:00:00Z");
    let barred = crds::v1alpha1::Verdict::no("Entitled", "JobNotFound", "there is no Job j");
    let status = task.status.as_mut().expect("a status");
    set_condition(
        &mut status.conditions,
        &barred,
        Some(1),
        at("2026-11-24T00:00:00Z"),
    );
    let now = at("2026-11-24T12:00:00Z");
    let table = Timetable::read(&task.spec, now).expect("a schedule");
    let next = next(&task, due(&task, &table, now), &World::default(), now);
    let told = Ok(Told {
        table: &table,
        next: &next,
        world: None,
    });
    let after = super::status(&task, &told, now);
    let ready = find_condition(&after.conditions, "Ready").expect("a condition");
    assert_eq!(ready.reason, "JobNotFound");
}

fn gate(calendars: &[(&str, Option<Value>)]) -> Gate {
    let specs: Vec<_> = calendars
        .iter()
        .map(|(name, spec)| {
            (
                *name,
                spec.clone()
                    .map(|spec| serde_json::from_value(spec).expect("a spec")),
            )
        })
        .collect();
    Gate::read(specs.iter().map(|(name, spec)| (*name, spec.as_ref())))
}

fn year_end() -> Value {
    json!({"default": "Open", "timeZone": "Asia/Shanghai", "events": [{"name": "year-end", "effect": "Freeze", "reason": "books", "start": "2026-12-24", "end": "2027-01-03"}]})
}

/// A turn of a task that refers to calendars, and what its status says of whether it is ready.
fn guarded(over: Value, gate: Gate, settled: &str, now: &str) -> (Next, ScheduledTaskStatus) {
    let task = task(over, settled);
    let table = Timetable::read(&task.spec, at("2026-01-01T00:00:00Z")).expect("a schedule");
    let (table, world, now) = (table.guarded(gate), World::default(), at(now));
    let next = next(&task, due(&task, &table, now), &world, now);
    let told = Ok(Told {
        table: &table,
        next: &next,
        world: Some(&world),
    });
    let status = status(&task, &told, now);
    (next, status)
}

fn ready(status: &ScheduledTaskStatus) -> (&str, &str, bool) {
    let ready = find_condition(&status.conditions, "Ready").expect("it is told");
    let stalled = find_condition(&status.conditions, "Stalled").is_some();
    (&ready.status, &ready.reason, stalled)
}

#[test]
fn what_falls_while_a_calendar_is_closed_is_suppressed_and_the_next_firings_are_after_it() {
    let refs = json!({"calendarRefs": [{"name": "freezes"}]});
    let gate = gate(&[("freezes", Some(year_end()))]);
    let (next, status) = guarded(refs, gate, "2026-12-23T19:00:00Z", "2026-12-23T19:15:01Z");
    assert_eq!(
        told(&next),
        (
            vec![],
            vec![("2026-12-23T19:15:00Z".into(), "CalendarClosed")]
        )
    );
    let message =
        "ChangeCalendar freezes is closed by year-end (books), until 2027-01-03T16:00:00Z";
    assert_eq!(status.suppressed[0].message, message);
    assert_eq!(status.next_firings[0].0, at("2027-01-03T19:15:00Z"));
    assert_eq!(status.next_suppressed.len(), 1);
    assert_eq!(ready(&status), ("True", "Scheduled", false));
}

#[test]
fn what_was_missed_before_a_calendar_closed_does_not_start_while_it_is() {
    let late = json!({"calendarRefs": [{"name": "freezes"}], "schedule": {"every": "24h", "from": "2026-12-23T15:50:00Z"}, "misfire": {"deadline": "2h"}});
    let gate = gate(&[("freezes", Some(year_end()))]);
    let (next, _) = guarded(late, gate, "2026-12-23T15:00:00Z", "2026-12-23T16:20:00Z");
    assert_eq!(
        told(&next),
        (
            vec![],
            vec![("2026-12-23T15:50:00Z".into(), "CalendarClosed")]
        )
    );
}

#[test]
fn a_task_waits_for_a_calendar_that_is_not_there_cannot_be_read_or_never_opens() {
    let mut unread = year_end();
    unread["timeZone"] = json!("Mars/Olympus");
    let closed = json!({"default": "Closed", "timeZone": "UTC"});
    for (found, reason, fired) in [
        (None, "CalendarNotFound", "CalendarNotFound"),
        (Some(unread), "CalendarNotReady", "CalendarNotReady"),
        (Some(closed), "CalendarClosed", "CalendarClosed"),
    ] {
        let refs = json!({"calendarRefs": [{"name": "freezes"}]});
        let gate = gate(&[("freezes", found)]);
        let (next, status) = guarded(
            refs,
            gate,
            "2026-11-23T19:15:00Z",
            "2026-11-24T19:15:00.02Z",
        );
        assert_eq!(told(&next).1, [("2026-11-24T19:15:00Z".into(), fired)]);
        assert_eq!(
            ready(&status),
            ("False", reason, false),
            "{:?}",
            status.conditions
        );
        assert!(status.next_firings.is_empty() && next.start.is_empty());
        assert!(status.suppressed[0].message.contains("freezes"));
    }
}

#[test]
fn references_that_change_make_another_schedule_and_none_are_as_before() {
    let none = task(json!({}), "2026-11-23T19:15:00Z");
    let with = task(
        json!({"calendarRefs": [{"name": "a"}]}),
        "2026-11-23T19:15:00Z",
    );
    assert_ne!(digest(&none.spec), digest(&with.spec));
    let known = json!([none.spec.schedule, none.spec.calendars, none.spec.dst]).to_string();
    assert_eq!(
        digest(&none.spec),
        format!("sha256:{}", hex::encode(Sha256::digest(known))),
        "an upgrade forgets no firing"
    );
}
