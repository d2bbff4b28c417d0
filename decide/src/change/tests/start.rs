//! When a ticket is started, by whom, and what keeps it from that.

use super::*;

#[test]
fn in_its_window_the_job_is_started_once_and_ends_the_ticket_of_a_low_level() {
    let mut desk = Desk::with(&json!({})).agreed();
    assert_eq!(desk.look(50).again, Some(at(START)));
    desk.turns(START);
    assert_eq!(desk.reason(), "Executing");
    let status = desk.status();
    assert_eq!(status.run.as_deref(), Some("move-3f2504e0"));
    assert_eq!(
        (status.live, &status.next_flip),
        (Some(true), &Some(Time(at(END))))
    );
    assert!(condition_is_true(&status.conditions, "Reconciling"));
    // What it was is what it is, whatever becomes of the Job.
    desk.job = Err(Refusal::new("JobNotFound", "gone"));
    desk.turns(START + 1);
    assert_eq!(
        (desk.reason(), desk.status().live),
        ("Executing", Some(true))
    );
    desk.run_ends("Complete", "Succeeded");
    desk.turns(START + 2);
    let status = desk.status();
    assert!(condition_is_true(&status.conditions, "Complete"));
    assert_eq!((status.live, desk.created), (Some(false), 1));
    assert_eq!(desk.look(END + 9).again, None);
}

#[test]
fn by_hand_it_is_started_within_the_window_by_an_implementer_who_is_nothing_else() {
    let mut desk = Desk::with(&json!({"start": "Manual"}));
    let refused = |desk: &mut Desk, who: &str, second: i64| {
        desk.does(who, "Start", None);
        desk.turns(second).pop().expect("an answer")
    };
    assert_eq!(refused(&mut desk, "ivan", 50), Err("NotApproved"));
    desk = desk.agreed();
    assert_eq!(refused(&mut desk, "ivan", 50), Err("WindowNotOpen"));
    assert_eq!(refused(&mut desk, "mallory", START), Err("NotImplementer"));
    assert_eq!(refused(&mut desk, "rita", START), Err("OwnTicket"));
    assert_eq!((desk.reason(), desk.created), ("AwaitingStart", 0));
    assert_eq!(desk.status().live, Some(true), "it may be started");
    assert_eq!(refused(&mut desk, "ivan", START), Ok(()));
    assert_eq!(refused(&mut desk, "ivan", START), Err("AlreadyStarted"));
    let started = desk.status().started.as_ref().expect("started");
    assert_eq!((started.by.as_str(), desk.created), ("ivan", 1));
}

#[test]
fn whoever_has_agreed_does_not_carry_it_out_even_if_they_joined_the_crew_later() {
    let mut desk = Desk::with(&json!({"start": "Manual"})).agreed();
    desk.turns(START);
    desk.does("bob", "Start", None);
    let by = desk.actions[0].spec.requested_by.as_mut().expect("stamped");
    by.groups = vec!["crew".into()];
    assert_eq!(desk.turns(START), [Err("HasReviewed")]);
}

#[test]
fn what_is_created_after_its_window_does_nothing_and_is_as_it_should_be() {
    let mut desk = Desk::with(&json!({})).agreed();
    desk.ticket.metadata.creation_timestamp = Some(Time(at(CLOSES)));
    desk.turns(CLOSES);
    let told = &desk.status().conditions;
    assert_eq!((desk.reason(), desk.created), ("AlreadyOver", 0));
    assert!(condition_is_true(told, "Ready") && condition_is_true(told, "Failed"));
    assert!(find_condition(told, "Stalled").is_none());
    assert_eq!(desk.status().summary.as_deref(), Some("Expired"));
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(CLOSES + 1), [Err("TicketEnded")]);

    let mut draft = Desk::with(&json!({"submit": false}));
    draft.ticket.metadata.creation_timestamp = Some(Time(at(CLOSES)));
    draft.turns(CLOSES);
    assert_eq!(draft.reason(), "Draft");
}

#[test]
fn what_was_not_started_expires_when_only_the_reserve_is_left() {
    for over in [json!({}), json!({"start": "Manual"})] {
        let mut desk = Desk::with(&over);
        desk.turns(CLOSES - 1);
        assert_eq!(desk.reason(), "AwaitingApproval");
        desk = desk.agreed();
        desk.turns(CLOSES);
        assert_eq!((desk.reason(), desk.created), ("Expired", 0));
        assert_eq!(desk.status().summary.as_deref(), Some("Expired"));
    }
}

#[test]
fn nothing_starts_while_a_calendar_is_closed_or_a_writer_is_not_entitled() {
    let closed = serde_json::from_value(json!({"default": "Closed", "timeZone": "UTC"}));
    let closed = closed.expect("a calendar");
    for (calendar, reason) in [
        (Some(&closed), "CalendarClosed"),
        (None, "CalendarNotFound"),
    ] {
        let mut desk = Desk::with(&json!({})).agreed();
        desk.calendars = Gate::read([("c", calendar)]);
        desk.turns(START);
        assert_eq!((desk.reason(), desk.created), (reason, 0));
        assert_eq!(desk.status().live, Some(false));
        desk.calendars = Gate::default();
        desk.turns(START + 1);
        assert_eq!(desk.created, 1);
    }
    let mut desk = Desk::with(&json!({})).agreed();
    desk.barred = Some(Refusal::new("WriterNotEntitled", "rita"));
    desk.turns(START);
    assert_eq!((desk.reason(), desk.created), ("WriterNotEntitled", 0));
    assert!(condition_is_true(&desk.status().conditions, "Stalled"));
}
