//! Story: a calendar says when changes may be made, flips on time, and keeps what is scheduled from firing while it is closed.

use crds::v1alpha1::{
    CalendarState, ChangeCalendar, ChangeCalendarStatus, ScheduledTask, ScheduledTaskStatus,
    find_condition,
};
use e2e::{Manifest, Stage, Terminal, soon, stage::PATIENCE, wait_for};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

const JOB: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: tick}
spec:
  targets: {hosts: {names: [vm1]}}
  sharing: Shared
  steps: [{name: tick, inline: {content: 'true'}}]
";

/// As a calendar of another program says it.
const HOLIDAYS: &str = "BEGIN:VCALENDAR\r
VERSION:2.0\r
BEGIN:VEVENT\r
UID:spring\r
DTSTART;VALUE=DATE:20270205\r
DTEND;VALUE=DATE:20270213\r
SUMMARY:Spring Festi\r
 val\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:standup\r
DTSTART;TZID=Europe/Berlin:20270301T090000\r
DURATION:PT1H\r
RRULE:FREQ=WEEKLY;COUNT=2\r
SUMMARY:Inventory\r
END:VEVENT\r
END:VCALENDAR\r
";

/// A flip that is found out later than this was missed.
const PROMPT: SignedDuration = SignedDuration::from_secs(5);

struct Calendars {
    stage: Stage,
    calendars: Api<ChangeCalendar>,
}

impl Calendars {
    async fn on(story: &str) -> Self {
        let stage = Stage::set(story).await;
        let calendars = Api::namespaced(stage.client.clone(), stage.name());
        Self { stage, calendars }
    }

    async fn write(&self, kind: &str, name: &str, spec: &Value) {
        let object = Manifest::of(kind, name, spec).within(self.stage.name());
        let written = object.apply(&self.stage.client).await;
        written.unwrap_or_else(|error| panic!("{name} was refused: {error}"));
    }

    /// Waits until the operator has looked at a calendar as it is now, and says this of it.
    async fn until(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&ChangeCalendarStatus) -> bool,
    ) -> ChangeCalendarStatus {
        let seen = |calendar: Option<&ChangeCalendar>| {
            let status = calendar.and_then(|c| Some((c.metadata.generation, c.status.as_ref()?)));
            status.is_some_and(|(generation, status)| {
                status.observed_generation == generation && is(status)
            })
        };
        let seen = wait_for(self.calendars.clone(), name, what, PATIENCE, seen).await;
        seen.status.expect("it was looked at")
    }

    async fn becomes(&self, name: &str, state: CalendarState) -> ChangeCalendarStatus {
        let what = state.to_string();
        self.until(name, &what, |status| status.state == Some(state))
            .await
    }

    async fn task(
        &self,
        what: &str,
        is: impl Fn(&ScheduledTaskStatus) -> bool,
    ) -> ScheduledTaskStatus {
        let tasks: Api<ScheduledTask> =
            Api::namespaced(self.stage.client.clone(), self.stage.name());
        let seen = |task: Option<&ScheduledTask>| {
            let status = task.and_then(|t| Some((t.metadata.generation, t.status.as_ref()?)));
            status.is_some_and(|(generation, status)| {
                status.observed_generation == generation && is(status)
            })
        };
        let seen = wait_for(tasks, "task", what, PATIENCE, seen).await;
        seen.status.expect("it was looked at")
    }

    async fn task_is(&self, reason: &str) -> ScheduledTaskStatus {
        let is = |status: &ScheduledTaskStatus| {
            find_condition(&status.conditions, "Ready").is_some_and(|c| c.reason == reason)
        };
        self.task(reason, is).await
    }
}

#[tokio::test]
async fn a_calendar_opens_and_closes_when_it_says_so() {
    let on = Calendars::on("flips").await;
    let (opens, closes) = (soon(15), soon(25));
    let window = json!({"name": "window", "effect": "Window", "reason": "the night shift", "start": opens, "end": closes});
    let spec = json!({"default": "Closed", "timeZone": "Asia/Shanghai", "events": [window]});
    on.write("ChangeCalendar", "night", &spec).await;
    let [opens, closes] = [opens, closes].map(|at| at.parse::<Timestamp>().expect("a time"));

    let status = on.becomes("night", CalendarState::Closed).await;
    assert_eq!(status.next_flip.as_ref().map(|at| at.0), Some(opens));
    let upcoming = status.upcoming.iter().map(|flip| (flip.at.0, flip.state));
    let expected = [
        (opens, CalendarState::Open),
        (closes, CalendarState::Closed),
    ];
    assert_eq!(upcoming.collect::<Vec<_>>(), expected);
    assert!(status.event.is_none(), "the default holds: {status:#?}");

    let status = on.becomes("night", CalendarState::Open).await;
    assert!(Timestamp::now().duration_since(opens) < PROMPT);
    assert_eq!(status.event.as_deref(), Some("window"));
    assert_eq!(status.reason.as_deref(), Some("the night shift"));
    let status = on.becomes("night", CalendarState::Closed).await;
    assert!(Timestamp::now().duration_since(closes) < PROMPT);
    assert!(status.next_flip.is_none() && status.upcoming.is_empty());
}

#[tokio::test]
async fn what_falls_into_a_freeze_does_not_fire_and_what_comes_after_it_does() {
    let on = Calendars::on("frozen").await;
    on.stage.hosts_seen().await;
    on.stage.apply(JOB).await;
    let task = json!({"schedule": {"every": "3s", "from": soon(1)}, "calendarRefs": [{"name": "freezes"}], "jobRef": {"name": "tick"}});
    on.write("ScheduledTask", "task", &task).await;
    let status = on.task_is("CalendarNotFound").await;
    assert!(status.next_firings.is_empty(), "{status:#?}");
    assert!(find_condition(&status.conditions, "Stalled").is_none());

    let end = soon(30);
    let freeze = json!({"name": "year-end", "effect": "Freeze", "reason": "books are closed", "start": soon(-60), "end": end});
    let calendar = json!({"default": "Open", "timeZone": "Asia/Shanghai", "events": [freeze]});
    on.write("ChangeCalendar", "freezes", &calendar).await;
    let end: Timestamp = end.parse().expect("a time");
    let suppressed = |status: &ScheduledTaskStatus| {
        let last = status.suppressed.first();
        last.is_some_and(|s| s.reason == "CalendarClosed")
    };
    let status = on.task("a firing in the freeze", suppressed).await;
    let message = &status.suppressed[0].message;
    assert!(
        ["freezes", "year-end", "books are closed"]
            .iter()
            .all(|word| message.contains(word)),
        "{message}"
    );
    assert_eq!(status.runs, None, "{status:#?}");
    assert!(status.next_firings.iter().all(|at| at.0 >= end));

    let status = on.task("a run", |status| status.runs.is_some()).await;
    assert!(status.last_fired.is_some_and(|at| at.0 >= end));
    on.stage.ends(&status.last_run.expect("a run")).await;

    // A change of the calendar is heard at once, and so is its end.
    let shut = json!({"default": "Closed", "timeZone": "Asia/Shanghai"});
    on.write("ChangeCalendar", "freezes", &shut).await;
    on.task_is("CalendarClosed").await;
    let unread = json!({"default": "Open", "timeZone": "Mars/Olympus"});
    on.write("ChangeCalendar", "freezes", &unread).await;
    on.task_is("CalendarNotReady").await;
    let gone = DeleteParams::default();
    let deleted = on.calendars.delete("freezes", &gone).await;
    deleted.expect("an administrator may");
    on.task_is("CalendarNotFound").await;
}

#[tokio::test]
async fn a_file_of_another_program_is_read_and_any_time_can_be_asked_about() {
    let on = Calendars::on("ics").await;
    let spec = json!({"default": "Open", "timeZone": "Asia/Shanghai", "ics": {"effect": "Freeze", "text": HOLIDAYS},
        "events": [{"name": "weekend", "effect": "Freeze", "start": "2027-03-06", "end": "2027-03-07"}]});
    on.write("ChangeCalendar", "holidays", &spec).await;
    let ready = |status: &ChangeCalendarStatus| {
        find_condition(&status.conditions, "Ready").is_some_and(|c| c.reason == "Read")
    };
    on.until("holidays", "Read", ready).await;

    let terminal = Terminal::of_the_administrator(on.stage.name());
    for (at, code, words) in [
        (
            "2027-02-04T23:59",
            0,
            ["Open", "2027-02-05 00:00:00", "Spring Festival"],
        ),
        (
            "2027-02-05",
            1,
            ["Closed", "2027-02-13 00:00:00", "Spring Festival"],
        ),
        (
            "2027-03-01T08:30:00Z",
            1,
            ["Closed", "2027-03-01 17:00:00", "Inventory"],
        ),
        (
            "2027-03-06T12:00",
            1,
            ["Closed", "2027-03-08 00:00:00", "weekend"],
        ),
    ] {
        let said = terminal
            .pilothouse(&["calendar", "holidays", "--at", at])
            .await;
        assert_eq!(said.code, Some(code), "{at}: {said:#?}");
        for word in words {
            assert!(said.out.contains(word), "{at}: {word}: {said:#?}");
        }
    }
    let wrong = ["calendar", "holidays", "--at", "tomorrow"];
    let said = terminal.pilothouse(&wrong).await;
    assert_eq!(said.code, Some(4), "{said:#?}");
    assert!(said.err.contains("2026-12-24T18:00"), "{said:#?}");
    let stranger = Terminal::of("stranger", on.stage.name());
    let said = stranger.pilothouse(&["calendar", "holidays"]).await;
    assert_eq!(said.code, Some(4), "who may not read it is told nothing");
}

#[tokio::test]
async fn what_cannot_be_read_says_which_event_and_why() {
    let on = Calendars::on("unread").await;
    let of =
        |event: Value| json!({"default": "Open", "timeZone": "Asia/Shanghai", "events": [event]});
    let repeated = |rrule: &str| {
        of(json!({"name": "e", "effect": "Freeze", "start": "2027-01-01", "rrule": rrule}))
    };
    let ics = json!({"default": "Open", "timeZone": "UTC", "ics": {"effect": "Freeze", "text": "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VEVENT\nEND:VCALENDAR"}});
    for (name, spec, reason, word) in [
        (
            "secondly",
            repeated("FREQ=SECONDLY"),
            "RecurrenceInvalid",
            "FREQ=SECONDLY",
        ),
        (
            "never",
            repeated("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"),
            "RecurrenceInvalid",
            "ten years",
        ),
        (
            "no-date",
            of(json!({"name": "e", "effect": "Freeze", "start": "2027-02-30"})),
            "EventInvalid",
            "2027-02-30",
        ),
        (
            "nowhere",
            json!({"default": "Open", "timeZone": "Mars/Olympus"}),
            "TimeZoneUnknown",
            "Mars/Olympus",
        ),
        ("no-start", ics, "ICalendarInvalid", "DTSTART"),
    ] {
        on.write("ChangeCalendar", name, &spec).await;
        let is = |status: &ChangeCalendarStatus| {
            find_condition(&status.conditions, "Ready").is_some_and(|c| c.reason == reason)
        };
        let status = on.until(name, reason, is).await;
        let told = |type_| find_condition(&status.conditions, type_).expect("it is there");
        let (ready, stalled) = (told("Ready"), told("Stalled"));
        assert_eq!((&*ready.status, &*stalled.status), ("False", "True"));
        assert!(ready.message.contains(word), "{name}: {}", ready.message);
        assert!(status.state.is_none() && status.next_flip.is_none());
    }
}
