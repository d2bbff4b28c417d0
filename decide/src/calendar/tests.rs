//! Tables over zones and both changes of summer time, and what holds of every calendar.

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn spec(default: &str, zone: &str, events: Value) -> ChangeCalendarSpec {
    let Value::Array(mut events) = events else {
        panic!("a list")
    };
    for (number, event) in events.iter_mut().enumerate() {
        let fields = event.as_object_mut().expect("an object");
        fields.entry("name").or_insert(json!(format!("e{number}")));
    }
    let spec = json!({"default": default, "timeZone": zone, "events": events});
    serde_json::from_value(spec).expect("a spec")
}

pub(super) fn calendar(default: &str, zone: &str, events: Value) -> Calendar {
    Calendar::read(&spec(default, zone, events)).expect("a calendar")
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// The first flips, each as a clock of the calendar shows it.
fn flips(calendar: &Calendar, after: &str, many: usize) -> Vec<String> {
    let flips = calendar.flips(at(after)).take(many);
    let told = flips.map(|flip| {
        let there = flip.at.to_zoned(calendar.zone().clone());
        let word = if flip.open { "opens" } else { "closes" };
        format!(
            "{} {word} {}",
            there.strftime("%F %H:%M%:z"),
            flip.event.name
        )
    });
    told.collect()
}

#[test]
fn a_freeze_of_whole_days_closes_from_the_first_midnight_to_that_after_the_last() {
    let freeze = json!([{"name": "year-end", "effect": "Freeze", "reason": "books", "start": "2026-12-24", "end": "2027-01-03"}]);
    let calendar = calendar("Open", "Asia/Shanghai", freeze);
    assert_eq!(
        flips(&calendar, "2026-11-01T00:00:00Z", 9),
        [
            "2026-12-24 00:00+08:00 closes year-end",
            "2027-01-04 00:00+08:00 opens year-end"
        ]
    );
    let state = calendar.at(at("2026-12-31T00:00:00Z"));
    assert!(!state.open && state.until == Some(at("2027-01-03T16:00:00Z")));
    assert_eq!(state.event.map(|e| e.reason.as_str()), Some("books"));
    let after = calendar.at(at("2027-01-03T16:00:00Z"));
    assert!(after.open && after.event.is_none() && after.until.is_none());
}

#[test]
fn adjacent_windows_are_one_open_time_and_a_freeze_within_closes_it() {
    let weekend = json!({"name": "weekend", "effect": "Window", "start": "2026-01-01", "rrule": "FREQ=WEEKLY;BYDAY=SA,SU"});
    let friday = json!({"name": "friday", "effect": "Window", "start": "2026-01-02T20:00", "end": "2026-01-03T00:00", "rrule": "FREQ=WEEKLY;BYDAY=FR"});
    let both = calendar("Closed", "Asia/Shanghai", json!([weekend, friday]));
    assert_eq!(
        flips(&both, "2026-11-02T00:00:00Z", 3),
        [
            "2026-11-06 20:00+08:00 opens friday",
            "2026-11-09 00:00+08:00 closes weekend",
            "2026-11-13 20:00+08:00 opens friday"
        ]
    );
    let freeze = json!({"name": "freeze", "effect": "Freeze", "start": "2026-11-07T12:00", "duration": "6h"});
    let frozen = calendar("Closed", "Asia/Shanghai", json!([weekend, friday, freeze]));
    assert_eq!(
        flips(&frozen, "2026-11-02T00:00:00Z", 4)[1..],
        [
            "2026-11-07 12:00+08:00 closes freeze",
            "2026-11-07 18:00+08:00 opens weekend",
            "2026-11-09 00:00+08:00 closes weekend"
        ]
    );
    let state = frozen.at(at("2026-11-07T05:00:00Z"));
    assert_eq!(state.event.map(|e| e.name.as_str()), Some("freeze"));
}

/// A night's window by the clock, one of eight hours, and a whole day, over both changes.
#[test]
fn windows_keep_their_local_times_through_summer_time() {
    for (zone, night, by_clock, by_hours, day) in [
        (
            "Europe/Berlin",
            "2026-03-28",
            "2026-03-29 06:00+02:00",
            "2026-03-29 07:00+02:00",
            "2026-03-30 00:00+02:00",
        ),
        (
            "Europe/Berlin",
            "2026-10-24",
            "2026-10-25 06:00+01:00",
            "2026-10-25 05:00+01:00",
            "2026-10-26 00:00+01:00",
        ),
        (
            "America/New_York",
            "2026-03-07",
            "2026-03-08 06:00-04:00",
            "2026-03-08 07:00-04:00",
            "2026-03-09 00:00-04:00",
        ),
        (
            "America/New_York",
            "2026-10-31",
            "2026-11-01 06:00-05:00",
            "2026-11-01 05:00-05:00",
            "2026-11-02 00:00-05:00",
        ),
        (
            "Australia/Lord_Howe",
            "2026-10-03",
            "2026-10-04 06:00+11:00",
            "2026-10-04 06:30+11:00",
            "2026-10-05 00:00+11:00",
        ),
        (
            "Australia/Lord_Howe",
            "2026-04-04",
            "2026-04-05 06:00+10:30",
            "2026-04-05 05:30+10:30",
            "2026-04-06 00:00+10:30",
        ),
    ] {
        let after = format!("{night}T20:00[{zone}]")
            .parse::<jiff::Zoned>()
            .expect("a time");
        let after = after.timestamp().to_string();
        let closes = |length: Value, start: &str, rrule: &str| {
            let mut event = json!({"effect": "Window", "start": start, "rrule": rrule});
            event
                .as_object_mut()
                .expect("an object")
                .extend(length.as_object().expect("an object").clone());
            let calendar = calendar("Closed", zone, json!([event]));
            flips(&calendar, &after, 2)[1].clone()
        };
        let nightly = "FREQ=DAILY";
        let clock = closes(
            json!({"end": "2025-01-02T06:00"}),
            "2025-01-01T22:00",
            nightly,
        );
        assert_eq!(clock, format!("{by_clock} closes e0"), "{zone} {night}");
        let hours = closes(json!({"duration": "8h"}), "2025-01-01T22:00", nightly);
        assert_eq!(hours, format!("{by_hours} closes e0"), "{zone} {night}");
        let sunday = closes(json!({}), "2025-01-01", "FREQ=WEEKLY;BYDAY=SU");
        assert_eq!(sunday, format!("{day} closes e0"), "{zone} {night}");
    }
}

#[test]
fn a_start_that_does_not_exist_comes_after_the_change_and_one_that_exists_twice_comes_first() {
    let window = json!([{"effect": "Window", "start": "2026-01-01T02:30", "duration": "10m", "rrule": "FREQ=DAILY"}]);
    let calendar = calendar("Closed", "Europe/Berlin", window);
    assert_eq!(
        flips(&calendar, "2026-03-28T12:00:00Z", 1),
        ["2026-03-29 03:30+02:00 opens e0"]
    );
    assert_eq!(
        flips(&calendar, "2026-10-24T12:00:00Z", 3),
        [
            "2026-10-25 02:30+02:00 opens e0",
            "2026-10-25 02:40+02:00 closes e0",
            "2026-10-26 02:30+01:00 opens e0"
        ]
    );
}

#[test]
fn count_until_and_exdates_end_and_leave_out_what_they_say() {
    let opens = |over: Value| {
        let mut event = json!({"effect": "Window", "start": "2026-11-02T10:00", "duration": "1h"});
        event
            .as_object_mut()
            .expect("an object")
            .extend(over.as_object().expect("an object").clone());
        let calendar = calendar("Closed", "Asia/Shanghai", json!([event]));
        let flips = flips(&calendar, "2026-11-01T00:00:00Z", 20);
        let opens = flips.iter().filter(|flip| flip.contains("opens"));
        opens.map(|flip| flip[8..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        opens(json!({"rrule": "FREQ=DAILY;COUNT=3"})),
        ["02", "03", "04"]
    );
    for until in [
        "20261104",
        "20261104T100000",
        "20261104T020000Z",
        "2026-11-04",
    ] {
        let rrule = format!("FREQ=DAILY;UNTIL={until}");
        assert_eq!(
            opens(json!({"rrule": rrule})),
            ["02", "03", "04"],
            "{until}"
        );
    }
    assert_eq!(
        opens(json!({"rrule": "FREQ=DAILY;UNTIL=20261104T015959Z"})),
        ["02", "03"]
    );
    for exdate in ["2026-11-03", "2026-11-03T10:00", "2026-11-03T02:00Z"] {
        let over = json!({"rrule": "FREQ=DAILY;COUNT=3", "exdates": [exdate]});
        assert_eq!(opens(over), ["02", "04"], "{exdate}");
    }
}

#[test]
fn an_event_ends_with_a_whole_second() {
    let short = json!([{"effect": "Freeze", "start": "2026-11-02T10:00Z", "duration": "1500ms"}]);
    let flips: Vec<_> = calendar("Open", "UTC", short)
        .flips(at("2026-11-01T00:00:00Z"))
        .map(|flip| flip.at)
        .collect();
    let [begins, ends] = ["2026-11-02T10:00:00Z", "2026-11-02T10:00:01Z"].map(at);
    assert_eq!(flips, [begins, ends]);
}

#[test]
fn all_that_is_wrong_is_told_with_its_event() {
    let events = json!([
        {"name": "a", "effect": "Freeze", "start": "2026-02-30"},
        {"name": "b", "effect": "Freeze", "start": "2026-02-01", "rrule": "FREQ=SECONDLY"},
        {"name": "c", "effect": "Freeze", "start": "2026-02-01", "rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"},
        {"name": "d", "effect": "Freeze", "start": "2026-02-01", "end": "2027-03-01", "rrule": "FREQ=YEARLY"},
        {"name": "e", "effect": "Freeze", "start": "2026-02-01T10:00", "end": "2026-02-01T10:00"},
        {"name": "f", "effect": "Freeze", "start": "2026-02-01"},
    ]);
    let refused = Calendar::read(&spec("Open", "UTC", events)).expect_err("refused");
    let told: Vec<_> = refused
        .iter()
        .map(|r| (r.reason, &r.message[..13]))
        .collect();
    assert_eq!(
        told,
        [
            ("EventInvalid", "spec.events a"),
            ("RecurrenceInvalid", "spec.events b"),
            ("RecurrenceInvalid", "spec.events c"),
            ("RecurrenceInvalid", "spec.events d"),
            ("EventInvalid", "spec.events e"),
        ]
    );
    assert!(
        refused[1]
            .message
            .contains("FREQ=SECONDLY is not supported"),
        "{refused:?}"
    );
    assert!(
        refused[2].message.contains("within ten years"),
        "{refused:?}"
    );
    let nowhere = Calendar::read(&spec("Open", "Mars/Olympus", json!([]))).expect_err("refused");
    assert_eq!(nowhere[0].reason, "TimeZoneUnknown");
}

#[test]
fn several_are_closed_where_any_is_and_open_when_all_are() {
    let weekend = calendar(
        "Closed",
        "UTC",
        json!([{"effect": "Window", "start": "2026-01-01", "rrule": "FREQ=WEEKLY;BYDAY=SA,SU"}]),
    );
    let freeze = calendar(
        "Open",
        "UTC",
        json!([{"name": "f", "effect": "Freeze", "start": "2026-11-07", "end": "2026-11-08"}]),
    );
    let both: Calendars = [
        ("freeze".to_owned(), freeze),
        ("weekend".to_owned(), weekend),
    ]
    .into_iter()
    .collect();
    let closed = both.closed(at("2026-11-06T12:00:00Z")).expect("closed");
    assert_eq!(
        (closed.calendar, closed.opens),
        ("weekend", Some(at("2026-11-14T00:00:00Z")))
    );
    let closed = both.closed(at("2026-11-07T12:00:00Z")).expect("closed");
    assert_eq!(closed.calendar, "freeze");
    assert!(both.closed(at("2026-11-14T12:00:00Z")).is_none());
    assert!(
        Calendars::default()
            .closed(at("2026-11-14T12:00:00Z"))
            .is_none()
    );
    let never: Calendars = [("never".to_owned(), calendar("Closed", "UTC", json!([])))]
        .into_iter()
        .collect();
    assert_eq!(
        never
            .closed(at("2026-11-14T12:00:00Z"))
            .and_then(|c| c.opens),
        None
    );
}

#[test]
fn a_time_is_typed_with_an_offset_or_by_the_calendar_s_clock() {
    let calendar = calendar("Open", "Asia/Shanghai", json!([]));
    let noon = Some(at("2026-12-24T04:00:00Z"));
    for typed in [
        "2026-12-24T04:00:00Z",
        "2026-12-24T05:00:00+01:00",
        "2026-12-24T12:00",
    ] {
        assert_eq!(calendar.instant(typed), noon, "{typed}");
    }
    assert_eq!(
        calendar.instant("2026-12-25"),
        Some(at("2026-12-24T16:00:00Z"))
    );
    assert_eq!(calendar.instant("tomorrow"), None);
}

#[test]
fn a_status_says_what_holds_and_what_comes_and_stalls_where_it_cannot() {
    use crds::v1alpha1::{ChangeCalendar, condition_is_true, find_condition};
    let window = json!([{"name": "night", "effect": "Window", "start": "2026-01-01T22:00", "end": "2026-01-02T06:00", "rrule": "FREQ=DAILY"}]);
    let mut object = ChangeCalendar::new("c", spec("Closed", "UTC", window));
    let now = at("2026-11-01T23:00:00Z");
    let told = status(&object, &Calendar::read(&object.spec), now);
    assert_eq!(
        (told.state, told.event.as_deref()),
        (Some(CalendarState::Open), Some("night"))
    );
    assert_eq!(
        told.next_flip.as_ref().map(|at| at.0),
        Some(at("2026-11-02T06:00:00Z"))
    );
    assert_eq!(
        (told.upcoming.len(), told.upcoming[0].state),
        (5, CalendarState::Closed)
    );
    assert!(condition_is_true(&told.conditions, "Ready"));
    object.status = Some(told.clone());
    assert_eq!(
        status(&object, &Calendar::read(&object.spec), now),
        told,
        "there is nothing new to write"
    );
    object.spec.time_zone = "Mars/Olympus".into();
    let told = status(&object, &Calendar::read(&object.spec), now);
    let ready = find_condition(&told.conditions, "Ready").expect("it is there");
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "TimeZoneUnknown")
    );
    assert!(
        condition_is_true(&told.conditions, "Stalled")
            && told.state.is_none()
            && told.upcoming.is_empty()
    );
}

/// An event of any kind.
fn any_event() -> impl Strategy<Value = Value> {
    let rules = [
        "",
        "FREQ=DAILY",
        "FREQ=WEEKLY;BYDAY=SA,SU",
        "FREQ=WEEKLY;INTERVAL=3",
        "FREQ=MONTHLY;BYDAY=-1FR",
        "FREQ=MONTHLY;BYMONTHDAY=31",
        "FREQ=YEARLY;BYMONTH=3,10;BYDAY=-1SU",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "FREQ=DAILY;COUNT=40",
        "FREQ=DAILY;UNTIL=20260601",
        "FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=0,30",
    ];
    let lengths = [
        json!({"start": "2026-01-01"}),
        json!({"start": "2026-01-01", "end": "2026-01-03"}),
        json!({"start": "2026-01-01T22:00", "end": "2026-01-02T06:00"}),
        json!({"start": "2026-01-02T02:30", "duration": "45m"}),
        json!({"start": "2026-01-01T00:00", "duration": "24h"}),
        json!({"start": "2026-01-01T01:00Z", "duration": "240h"}),
    ];
    let effects = ["Window", "Freeze"];
    let parts = (
        prop::sample::select(rules.to_vec()),
        prop::sample::select(lengths.to_vec()),
        prop::sample::select(effects.to_vec()),
    );
    parts.prop_map(|(rule, mut event, effect)| {
        event["effect"] = json!(effect);
        if !rule.is_empty() {
            event["rrule"] = json!(rule);
        }
        event
    })
}

fn any_zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
}

fn instants() -> impl Strategy<Value = Timestamp> {
    // The first ten months of 2026, with a month before.
    (1_764_500_000_i64..1_793_000_000).prop_map(|s| Timestamp::from_second(s).expect("a time"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Before each flip it is the other way, from it on it is so, and between two nothing else is.
    #[test]
    fn what_it_is_at_an_instant_agrees_with_its_flips(events in prop::collection::vec(any_event(), 0..5), zone in any_zone(), default in prop::sample::select(&["Open", "Closed"]), after in instants(), part in 0..1000_i64) {
        let calendar = calendar(default, zone, Value::Array(events));
        let before = calendar.at(after);
        let flips: Vec<_> = calendar.flips(after).take(12).collect();
        prop_assert_eq!(before.until, flips.first().map(|flip| flip.at));
        let (mut open, mut since) = (before.open, after);
        for flip in &flips {
            prop_assert!(flip.at > since && flip.open != open);
            let between = since + (flip.at.duration_since(since) * i32::try_from(part).expect("small")) / 1000;
            for (instant, is) in [(between, open), (flip.at - SignedDuration::from_nanos(1), open), (flip.at, flip.open)] {
                prop_assert_eq!(calendar.is_open(instant), is, "{}", instant);
            }
            (open, since) = (flip.open, flip.at);
        }
    }

    /// Each event by itself says whether it holds; a freeze wins over windows, and windows over the default.
    #[test]
    fn a_freeze_wins_and_then_a_window(events in prop::collection::vec(any_event(), 1..5), zone in any_zone(), default in prop::sample::select(&["Open", "Closed"]), instant in instants()) {
        let holds = |event: &Value, effect: &str| {
            let without = if effect == "Freeze" { "Open" } else { "Closed" };
            let alone = calendar(without, zone, json!([event]));
            event["effect"] == effect && alone.is_open(instant) == (effect == "Window")
        };
        let any = |effect: &str| events.iter().any(|event| holds(event, effect));
        let expected = !any("Freeze") && (any("Window") || default == "Open");
        let together = calendar(default, zone, Value::Array(events.clone()));
        prop_assert_eq!(together.is_open(instant), expected);
    }

    /// Occurrences that are found where one looks are those that are counted from the start.
    #[test]
    fn looking_anywhere_finds_what_counting_finds(event in any_event(), zone in any_zone(), instant in instants()) {
        let rule = event["rrule"].as_str().unwrap_or_default().to_owned();
        prop_assume!(!rule.is_empty() && !rule.contains("COUNT") && !rule.contains("UNTIL"));
        let mut counted = event.clone();
        counted["rrule"] = json!(format!("{rule};COUNT=300"));
        let [looked, counted] = [event, counted].map(|event| calendar("Closed", zone, json!([event])));
        let [looked, counted] = [&looked, &counted].map(|calendar| {
            let event = &calendar.events[0].times;
            (event.hold(instant), event.begins_after(instant))
        });
        // Of thousands in a year the first hundreds end before.
        prop_assume!(counted.1.is_some());
        prop_assert_eq!(looked, counted);
    }
}
