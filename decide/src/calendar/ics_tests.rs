//! Files as other programs write them.

use crds::v1alpha1::{CalendarEffect, ChangeCalendarSpec};
use serde_json::json;

use super::*;
use crate::calendar::Calendar;

const HOLIDAYS: &str = "BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//x//y//EN\r
BEGIN:VTIMEZONE\r
TZID:Asia/Shanghai\r
BEGIN:STANDARD\r
DTSTART:19700101T000000\r
TZOFFSETFROM:+0800\r
TZOFFSETTO:+0800\r
END:STANDARD\r
END:VTIMEZONE\r
BEGIN:VEVENT\r
UID:1\r
SUMMARY:Spring\\, with a line that is lo\r
 ng\r
DTSTART;VALUE=DATE:20270205\r
DTEND;VALUE=DATE:20270213\r
TRANSP:TRANSPARENT\r
BEGIN:VALARM\r
TRIGGER:-PT10M\r
DTSTART:nonsense\r
END:VALARM\r
END:VEVENT\r
BEGIN:VTODO\r
DTSTART:nonsense\r
END:VTODO\r
END:VCALENDAR\r
";

fn spec(text: &str) -> ChangeCalendarSpec {
    let spec = json!({"default": "Closed", "timeZone": "Asia/Shanghai", "ics": {"effect": "Window", "text": text}});
    serde_json::from_value(spec).expect("a spec")
}

fn within(event: &str) -> String {
    format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{event}\nEND:VEVENT\nEND:VCALENDAR\n")
}

/// When it opens and closes, in UTC.
fn flips(text: &str, many: usize) -> Vec<String> {
    let calendar = Calendar::read(&spec(text)).expect("a calendar");
    let after = "2026-01-01T00:00:00Z".parse().expect("a time");
    let flips = calendar.flips(after).take(many);
    flips
        .map(|flip| flip.at.strftime("%m-%d %H:%M").to_string())
        .collect()
}

fn refusal(text: &str) -> String {
    let refused = Calendar::read(&spec(text)).expect_err("refused");
    assert!(["ICalendarInvalid", "TimeZoneUnknown"].contains(&refused[0].reason));
    refused[0].message.clone()
}

#[test]
fn dates_are_of_the_calendar_s_zone_and_the_summary_is_the_reason() {
    assert_eq!(flips(HOLIDAYS, 9), ["02-04 16:00", "02-12 16:00"]);
    let events = events(&spec(HOLIDAYS).ics.expect("a file"), &TimeZone::UTC);
    let event = events.into_iter().next().expect("one").expect("read");
    let told = (event.name.as_str(), event.reason.as_str(), event.effect);
    assert_eq!(
        told,
        (
            "ics",
            "Spring, with a line that is long",
            CalendarEffect::Window
        )
    );
}

#[test]
fn times_are_of_their_zone_or_of_utc_or_float() {
    for (event, opens, closes) in [
        (
            "DTSTART:20260601T100000Z\nDTEND:20260601T120000Z",
            "06-01 10:00",
            "06-01 12:00",
        ),
        (
            "DTSTART:20260601T100000\nDURATION:PT2H30M",
            "06-01 02:00",
            "06-01 04:30",
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20260601T100000\nDTEND;TZID=America/New_York:20260601T100000",
            "06-01 08:00",
            "06-01 14:00",
        ),
        (
            "DTSTART;TZID=\"/freeassociation.sourceforge.net/Europe/Berlin\":20260601T100000\nDTEND:20260601T090000Z",
            "06-01 08:00",
            "06-01 09:00",
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20260328T220000\nDURATION:P1D",
            "03-28 21:00",
            "03-29 20:00",
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20260328T220000\nDURATION:PT24H",
            "03-28 21:00",
            "03-29 21:00",
        ),
        ("DTSTART;VALUE=DATE:20260601", "05-31 16:00", "06-01 16:00"),
        (
            "DTSTART;VALUE=DATE:20260601\nDTEND;VALUE=DATE:20260601",
            "05-31 16:00",
            "06-01 16:00",
        ),
        (
            "DTSTART;VALUE=DATE:20260601\nDURATION:P1W",
            "05-31 16:00",
            "06-07 16:00",
        ),
    ] {
        assert_eq!(flips(&within(event), 9), [opens, closes], "{event}");
    }
}

#[test]
fn occurrences_are_left_out_added_and_moved() {
    let moved = "BEGIN:VCALENDAR
BEGIN:VEVENT
UID:a
DTSTART;TZID=Asia/Shanghai:20260601T100000
DURATION:PT1H
RRULE:FREQ=DAILY;UNTIL=20260606T020000Z
EXDATE;TZID=Asia/Shanghai:20260602T100000
RDATE;TZID=Asia/Shanghai:20260610T100000,20260611T100000
END:VEVENT
BEGIN:VEVENT
UID:a
RECURRENCE-ID;TZID=Asia/Shanghai:20260604T100000
DTSTART;TZID=Asia/Shanghai:20260604T180000
DURATION:PT1H
END:VEVENT
BEGIN:VEVENT
UID:a
RECURRENCE-ID:20260605T020000Z
STATUS:CANCELLED
DTSTART;TZID=Asia/Shanghai:20260605T100000
DURATION:PT1H
END:VEVENT
END:VCALENDAR
";
    let opens: Vec<_> = flips(moved, 30).into_iter().step_by(2).collect();
    assert_eq!(
        opens,
        [
            "06-01 02:00",
            "06-03 02:00",
            "06-04 10:00",
            "06-06 02:00",
            "06-10 02:00",
            "06-11 02:00"
        ]
    );
    let listed = within(
        "DTSTART;VALUE=DATE:20260601\nRDATE;VALUE=DATE:20260603,20260605\nEXDATE;VALUE=DATE:20260603",
    );
    assert_eq!(
        flips(&listed, 9),
        ["05-31 16:00", "06-01 16:00", "06-04 16:00", "06-05 16:00"]
    );
}

#[test]
fn reminders_and_cancelled_events_hold_at_no_time() {
    for event in [
        "DTSTART:20260601T100000Z",
        "DTSTART:20260601T100000Z\nDTEND:20260601T100000Z",
        "STATUS:CANCELLED\nDTSTART;VALUE=DATE:20260601",
    ] {
        assert!(flips(&within(event), 1).is_empty(), "{event}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    let many = "BEGIN:VEVENT\nDTSTART:20260101\nEND:VEVENT\n".repeat(MOST + 1);
    for (text, why) in [
        ("hello".to_owned(), "\"hello\" is no line"),
        ("A:1".to_owned(), "no VEVENT"),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR".to_owned(), "no VEVENT"),
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101".to_owned(),
            "BEGIN:VEVENT without its END",
        ),
        (
            "BEGIN:VCALENDAR\nEND:VEVENT".to_owned(),
            "END:VEVENT without its BEGIN",
        ),
        (
            format!("BEGIN:VCALENDAR\n{many}END:VCALENDAR"),
            "201 events",
        ),
        (within("SUMMARY:x"), "\"x\": it has no DTSTART"),
        (within("DTSTART:20260230"), "DTSTART: \"20260230\""),
        (
            within("DTSTART:20260601T100000Z\nDTEND:20260601T090000Z"),
            "ends before it has begun",
        ),
        (within("DTSTART:20260601\nDURATION:1D"), "DURATION:1D"),
        (within("DTSTART:20260601\nDURATION:-P1D"), "DURATION:-P1D"),
        (
            within("DTSTART:20260601\nRRULE:FREQ=MINUTELY"),
            "FREQ=MINUTELY is not supported",
        ),
        (
            within("DTSTART:20260601\nRRULE:FREQ=DAILY\nRRULE:FREQ=YEARLY"),
            "more than one RRULE",
        ),
        (
            within("DTSTART:20260601\nEXRULE:FREQ=DAILY"),
            "EXRULE is not supported",
        ),
        (
            within("DTSTART:20260601\nRDATE;VALUE=PERIOD:20260601T100000Z/PT1H"),
            "RDATE: \"20260601T100000Z/PT1H\"",
        ),
        (
            within("RECURRENCE-ID;RANGE=THISANDFUTURE:20260601\nDTSTART:20260601"),
            "RANGE is not supported",
        ),
        (
            within("DTSTART;TZID=W. Europe Standard Time:20260601T100000"),
            "\"W. Europe Standard Time\"",
        ),
    ] {
        let refusal = refusal(&text);
        assert!(refusal.contains(why), "{text}: {refusal}");
    }
}
