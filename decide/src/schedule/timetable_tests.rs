//! Tables over zones and both changes of summer time.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn table(schedule: &Value, over: &Value) -> Result<Timetable, Refusal> {
    let mut spec = json!({"schedule": schedule, "jobRef": {"name": "j"}});
    let over = over.as_object().into_iter().flatten();
    spec.as_object_mut()
        .expect("an object")
        .extend(over.map(|(key, value)| (key.clone(), value.clone())));
    let spec = serde_json::from_value(spec).expect("a spec");
    Timetable::read(&spec, Timestamp::UNIX_EPOCH)
}

/// The first firings after a moment, each as it stands on a clock there and as an instant.
fn fires(cron: &str, zone: &str, dst: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = json!({"cron": cron, "timeZone": zone});
    let table = table(&schedule, &json!({"dst": dst})).expect("a schedule");
    let moments = table.after(after.parse().expect("a time"));
    moments
        .take(count)
        .map(|m| {
            let at = table.local(m.at).strftime("%m-%d %H:%M:%S%:z").to_string();
            m.closed
                .map_or(at.clone(), |c| format!("{at} {}", c.reason))
        })
        .collect()
}

/// The nightly firing around the change, for each policy: what does not exist, and what exists twice.
#[test]
fn a_local_time_that_is_taken_away_or_repeated_fires_as_the_policy_says() {
    // Zone, local time, the noon before the change to summer time with what fires, and the same for the change back.
    let spring = [
        (
            "Europe/Berlin",
            "0 30 2 ? * *",
            "2026-03-28T12:00:00Z",
            "03-29 03:00:00+02:00",
            "03-30 02:30:00+02:00",
        ),
        (
            "America/New_York",
            "0 30 2 ? * *",
            "2026-03-07T18:00:00Z",
            "03-08 03:00:00-04:00",
            "03-09 02:30:00-04:00",
        ),
        (
            "Australia/Lord_Howe",
            "0 15 2 ? * *",
            "2026-10-03T02:00:00Z",
            "10-04 02:30:00+11:00",
            "10-05 02:15:00+11:00",
        ),
    ];
    for (zone, cron, noon, change, next) in spring {
        for dst in ["RunOnce", "RunBoth"] {
            assert_eq!(
                fires(cron, zone, dst, noon, 2),
                [change, next],
                "{zone} {dst}"
            );
        }
        let lost = format!("{change} DstGap");
        assert_eq!(
            fires(cron, zone, "Skip", noon, 2),
            [&lost, next],
            "{zone} Skip"
        );
    }
    let autumn = [
        (
            "Europe/Berlin",
            "0 30 2 ? * *",
            "2026-10-24T12:00:00Z",
            [
                "10-25 02:30:00+02:00",
                "10-25 02:30:00+01:00",
                "10-26 02:30:00+01:00",
            ],
        ),
        (
            "America/New_York",
            "0 30 1 ? * *",
            "2026-10-31T18:00:00Z",
            [
                "11-01 01:30:00-04:00",
                "11-01 01:30:00-05:00",
                "11-02 01:30:00-05:00",
            ],
        ),
        (
            "Australia/Lord_Howe",
            "0 45 1 ? * *",
            "2026-04-04T02:00:00Z",
            [
                "04-05 01:45:00+11:00",
                "04-05 01:45:00+10:30",
                "04-06 01:45:00+10:30",
            ],
        ),
    ];
    for (zone, cron, noon, [first, second, next]) in autumn {
        for dst in ["RunOnce", "Skip"] {
            assert_eq!(
                fires(cron, zone, dst, noon, 2),
                [first, next],
                "{zone} {dst}"
            );
        }
        assert_eq!(
            fires(cron, zone, "RunBoth", noon, 3),
            [first, second, next],
            "{zone} RunBoth"
        );
    }
}

#[test]
fn a_wildcard_hour_follows_elapsed_time_through_both_changes() {
    for dst in ["RunOnce", "Skip", "RunBoth"] {
        let spring = fires(
            "0 0/30 * ? * *",
            "Europe/Berlin",
            dst,
            "2026-03-29T00:29:59Z",
            3,
        );
        assert_eq!(
            spring,
            [
                "03-29 01:30:00+01:00",
                "03-29 03:00:00+02:00",
                "03-29 03:30:00+02:00"
            ],
            "{dst}"
        );
        let autumn = fires(
            "0 0/30 * ? * *",
            "Europe/Berlin",
            dst,
            "2026-10-25T00:29:59Z",
            4,
        );
        assert_eq!(
            autumn,
            [
                "10-25 02:30:00+02:00",
                "10-25 02:00:00+01:00",
                "10-25 02:30:00+01:00",
                "10-25 03:00:00+01:00"
            ],
            "{dst}"
        );
    }
}

#[test]
fn the_moment_of_the_change_fires_once_though_it_stands_for_two() {
    let both = fires(
        "0 0,30 2,3 ? * *",
        "Europe/Berlin",
        "RunOnce",
        "2026-03-29T00:00:00Z",
        3,
    );
    assert_eq!(
        both,
        [
            "03-29 03:00:00+02:00",
            "03-29 03:30:00+02:00",
            "03-30 02:00:00+02:00"
        ]
    );
    let skipped = fires(
        "0 0,30 2,3 ? * *",
        "Europe/Berlin",
        "Skip",
        "2026-03-29T00:00:00Z",
        3,
    );
    assert_eq!(
        skipped,
        [
            "03-29 03:00:00+02:00 DstGap",
            "03-29 03:00:00+02:00",
            "03-29 03:30:00+02:00"
        ]
    );
    let last_second = fires(
        "59,0 59,30 1,2 ? * *",
        "Europe/Berlin",
        "RunOnce",
        "2026-03-29T00:59:58Z",
        2,
    );
    assert_eq!(
        last_second,
        ["03-29 01:59:59+01:00", "03-29 03:00:00+02:00"]
    );
}

#[test]
fn quartz_fields_are_read_as_quartz_does() {
    let first = |cron: &str| fires(cron, "Asia/Shanghai", "RunOnce", "2026-11-01T00:00:00Z", 2);
    assert_eq!(
        first("0 15 3 ? * MON-FRI"),
        ["11-02 03:15:00+08:00", "11-03 03:15:00+08:00"]
    );
    assert_eq!(
        first("0 15 3 ? * 2-6"),
        ["11-02 03:15:00+08:00", "11-03 03:15:00+08:00"],
        "1 is Sunday"
    );
    assert_eq!(
        first("0 0 0 L * ?"),
        ["11-30 00:00:00+08:00", "12-31 00:00:00+08:00"]
    );
    assert_eq!(
        first("0 0 0 15W * ?"),
        ["11-16 00:00:00+08:00", "12-15 00:00:00+08:00"],
        "the 15th is a Sunday"
    );
    assert_eq!(
        first("0 0 0 ? * 6#3"),
        ["11-20 00:00:00+08:00", "12-18 00:00:00+08:00"],
        "third Friday"
    );
    assert_eq!(
        first("0 0 0 ? * 6L"),
        ["11-27 00:00:00+08:00", "12-25 00:00:00+08:00"],
        "last Friday"
    );
    assert_eq!(
        first("0 0/20 8 ? * *"),
        ["11-01 08:20:00+08:00", "11-01 08:40:00+08:00"]
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_field() {
    let refused = |schedule: Value| table(&schedule, &json!({})).expect_err("refused");
    for (cron, why) in [
        ("15 3 * * *", "it has 5 fields"),
        ("0 0 0 1 * MON", "one of the two has to be ?"),
        ("0 0 25 ? * *", "Component error"),
        ("0 0 0 ? * FOO", "illegal character"),
        ("@daily", "it has 1 fields"),
        (", 30 2 ? * SUN", "a comma"),
        ("0 0 1,,2 ? * *", "a comma"),
        ("0-5#2 0 0 ? * *", "illegal character"),
        ("0 L 0 ? * *", "illegal character"),
    ] {
        let refusal = refused(json!({"cron": cron, "timeZone": "UTC"}));
        assert_eq!(refusal.reason, "CronInvalid");
        assert!(refusal.message.contains(why), "{refusal}");
    }
    let refusal = refused(json!({"cron": "0 0 0 ? * *", "timeZone": "Mars/Olympus"}));
    assert_eq!(refusal.reason, "TimeZoneUnknown");
}

#[test]
fn a_cron_that_never_comes_and_calendars_without_an_open_day_have_no_moment() {
    let never = fires(
        "0 0 0 30 2 ?",
        "Europe/Berlin",
        "RunOnce",
        "2026-11-01T00:00:00Z",
        1,
    );
    assert!(never.is_empty(), "{never:?}");
    let rare = fires(
        "0 0 0 29 2 ?",
        "Europe/Berlin",
        "RunOnce",
        "2026-11-01T00:00:00Z",
        2,
    );
    assert_eq!(rare, ["02-29 00:00:00+01:00", "02-29 00:00:00+01:00"]);
    let excluded = json!({"calendars": {"exclude": [{"from": "2000-01-01", "to": "9999-12-31"}]}});
    let schedule = json!({"cron": "0 0 0 ? * *", "timeZone": "Europe/Berlin"});
    let table = table(&schedule, &excluded).expect("a schedule");
    let told: Vec<_> = table
        .after("1999-12-30T12:00:00Z".parse().expect("a time"))
        .collect();
    let closed: Vec<_> = told.iter().map(|m| m.closed.is_some()).collect();
    assert_eq!(closed, [false, true], "{told:?}");
}

#[test]
fn a_stretch_of_closed_dates_is_told_once() {
    let over = json!({"calendars": {"exclude": [{"from": "2026-10-01", "to": "2026-10-07", "name": "National Day"}]}, "expires": "2026-10-08T20:00:00Z"});
    let schedule = json!({"cron": "0 15 3 ? * *", "timeZone": "Asia/Shanghai"});
    let table = table(&schedule, &over).expect("a schedule");
    let told: Vec<_> = table
        .after("2026-09-29T20:00:00Z".parse().expect("a time"))
        .collect();
    let days: Vec<_> = told
        .iter()
        .map(|m| {
            (
                table.local(m.at).day(),
                m.closed.as_ref().map(|c| c.message.as_str()),
            )
        })
        .collect();
    assert_eq!(
        days,
        [
            (
                1,
                Some("spec.calendars.exclude: National Day, 2026-10-01 to 2026-10-07")
            ),
            (8, None),
            (9, None)
        ]
    );
}

#[test]
fn every_counts_from_its_start_and_at_fires_once() {
    let every = table(
        &json!({"every": "6h", "from": "2026-01-01T01:00:00Z"}),
        &json!({}),
    )
    .expect("a schedule");
    let next = |table: &Timetable, after: &str| {
        table
            .after(after.parse().expect("a time"))
            .next()
            .map(|m| m.at.to_string())
    };
    assert_eq!(
        next(&every, "2025-12-01T00:00:00Z").as_deref(),
        Some("2026-01-01T01:00:00Z")
    );
    assert_eq!(
        next(&every, "2026-01-01T01:00:00Z").as_deref(),
        Some("2026-01-01T07:00:00Z")
    );
    assert_eq!(
        next(&every, "2026-01-01T06:59:59.9Z").as_deref(),
        Some("2026-01-01T07:00:00Z")
    );
    let at = table(&json!({"at": "2026-01-01T01:00:00Z"}), &json!({})).expect("a schedule");
    assert_eq!(
        next(&at, "2026-01-01T00:00:00Z").as_deref(),
        Some("2026-01-01T01:00:00Z")
    );
    assert_eq!(next(&at, "2026-01-01T01:00:00Z"), None);
}

proptest! {
    /// From wherever one asks, the moments are the same, and none comes twice.
    #[test]
    fn asking_later_gives_the_rest(start in 1_700_000_000_i64..1_900_000_000, hours in 1..72_i64, cron in 0..5_usize, zone in 0..3_usize, dst in 0..3_usize) {
        let cron = ["0 30 2 ? * *", "0 0/30 * ? * *", "0 0,30 1,2,3 ? * *", "0 15 0/2 ? * SUN", "17 0 3 L * ?"][cron];
        let zone = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"][zone];
        let dst = ["RunOnce", "Skip", "RunBoth"][dst];
        let table = table(&json!({"cron": cron, "timeZone": zone}), &json!({"dst": dst})).expect("a schedule");
        let after = Timestamp::from_second(start).expect("a time");
        let later = after + SignedDuration::from_hours(hours);
        let all: Vec<_> = table.after(after).take(60).collect();
        prop_assert!(all.windows(2).all(|w| w[0].at < w[1].at || (w[0].at == w[1].at && w[0].closed.is_some())));
        let rest: Vec<_> = all.iter().filter(|m| m.at > later).take(5).cloned().collect();
        let asked: Vec<_> = table.after(later).take(rest.len()).collect();
        prop_assert_eq!(asked, rest);
    }
}
