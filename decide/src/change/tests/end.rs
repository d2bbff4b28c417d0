//! How a ticket that was started goes on and ends.

use super::*;

#[test]
fn a_ticket_of_a_high_level_waits_for_what_an_implementer_reports() {
    for (outcome, end) in [("Success", "Complete"), ("Failed", "Failed")] {
        let mut desk = Desk::with(&json!({"level": "B"})).agreed();
        desk.turns(START);
        desk.does("ivan", "Complete", Some(outcome));
        assert_eq!(desk.turns(START), [Err("RunGoesOn")]);
        desk.run_ends("Complete", "Succeeded");
        desk.turns(START);
        assert_eq!(desk.reason(), "AwaitingResult");
        for (who, why) in [("bob", "NotImplementer"), ("rita", "OwnTicket")] {
            desk.does(who, "Complete", Some(outcome));
            assert_eq!(desk.turns(START), [Err(why)]);
        }
        desk.does("ivan", "Complete", Some(outcome));
        assert_eq!(desk.turns(END + 5), [Ok(())]);
        assert!(
            condition_is_true(&desk.status().conditions, end),
            "{outcome}"
        );
        let result = desk.status().result.as_ref().expect("a result");
        assert_eq!(result.note.as_deref(), Some("n"));
    }
}

#[test]
fn a_guide_is_started_and_closed_by_hand() {
    let mut desk = Desk::guide(&json!({"level": "D"})).agreed();
    desk.turns(START);
    assert_eq!(desk.reason(), "AwaitingStart");
    desk.does("ivan", "Complete", Some("Success"));
    assert_eq!(desk.turns(START), [Err("NotStarted")]);
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(START), [Ok(())]);
    assert_eq!((desk.reason(), desk.created), ("Executing", 0));
    desk.turns(END);
    assert_eq!(
        (desk.reason(), desk.status().live),
        ("AwaitingResult", Some(false))
    );
    desk.does("ivan", "Complete", Some("Success"));
    desk.turns(END + 1);
    assert!(condition_is_true(&desk.status().conditions, "Complete"));
}

#[test]
fn it_is_cancelled_before_its_start_and_in_the_middle() {
    let mut desk = Desk::with(&json!({})).agreed();
    desk.does("rita", "Cancel", None);
    assert_eq!(desk.turns(50), [Ok(())]);
    assert_eq!(desk.reason(), "Cancelled");
    desk.does("rita", "Cancel", None);
    assert_eq!(desk.turns(START), [Err("TicketEnded")]);
    assert_eq!(desk.created, 0);

    let mut desk = Desk::with(&json!({"level": "A"})).agreed();
    desk.turns(START);
    desk.does("ivan", "Cancel", None);
    let turn = desk.look(START);
    assert_eq!(
        (turn.effect, turn.again),
        (None, Some(at(START))),
        "it is written down first"
    );
    desk.ticket.status = Some(turn.status);
    assert_eq!(desk.look(START).effect, Some(Effect::Cancel));
    desk.actions.clear();
    desk.run_ends("Failed", "Cancelled");
    desk.turns(START);
    assert_eq!(desk.reason(), "Cancelled");
}

#[test]
fn the_end_of_the_window_does_what_on_close_says_and_does_it_once() {
    for (on_close, expected) in [
        ("Finish", None),
        ("Pause", Some(Effect::Suspend)),
        ("Abort", Some(Effect::Abort)),
    ] {
        let window = json!({"start": at(START).to_string(), "end": at(END).to_string(), "reserve": "20s", "onClose": on_close});
        let mut desk = Desk::with(&json!({"window": window})).agreed();
        desk.turns(START);
        assert_eq!(desk.look(CLOSES - 1).effect, None);
        let turn = desk.look(CLOSES);
        assert_eq!(turn.effect, expected, "{on_close}");
        desk.ticket.status = Some(turn.status);
        assert_eq!(desk.look(CLOSES + 1).effect, None);
        let late = desk.look(END + 1).status;
        assert_eq!(late.summary.as_deref(), Some("Executing"));
        desk.run_ends("Failed", "Cancelled");
        desk.turns(END + 1);
        let end = if on_close == "Abort" {
            "WindowClosed"
        } else {
            "RunFailed"
        };
        assert_eq!(desk.reason(), end);
    }
}

/// What the status says of it can hold no fraction.
#[test]
fn a_window_closes_at_a_whole_second() {
    let window = json!({"start": at(START).to_string(), "end": at(END).to_string(), "reserve": "20900ms", "onClose": "Abort"});
    let mut desk = Desk::with(&json!({"window": window})).agreed();
    desk.turns(START);
    let started = desk.status().started.as_ref().expect("it has started");
    assert_eq!(started.closes.0, at(CLOSES));
}

#[test]
fn a_window_that_is_widened_in_the_middle_holds_once_it_is_approved() {
    let window = json!({"start": at(START).to_string(), "end": at(END).to_string(), "reserve": "20s", "onClose": "Abort"});
    let mut desk = Desk::with(&json!({"window": window})).agreed();
    desk.turns(START);
    desk.ticket.spec.window.end = Time(at(END + 100));
    desk.turns(START + 1);
    assert_eq!(desk.status().live, Some(false), "nobody has agreed to that");
    assert_eq!(desk.look(CLOSES).effect, Some(Effect::Abort));
    let mut desk = desk.agreed();
    desk.turns(START + 2);
    assert_eq!(desk.status().live, Some(true));
    assert_eq!(desk.look(CLOSES).effect, None);
    assert_eq!(desk.look(CLOSES + 100).effect, Some(Effect::Abort));
}

#[test]
fn what_is_made_of_a_ticket_after_its_start_changes_neither_its_run_nor_its_end() {
    let window = json!({"start": at(START).to_string(), "end": at(END).to_string(), "reserve": "20s", "onClose": "Abort"});
    let mut desk = Desk::with(&json!({"level": "A", "window": window})).agreed();
    let started = desk.look(START);
    desk.ticket.status = Some(started.status);
    desk.ticket.spec.description = Some("another".into());
    assert_eq!(desk.look(START).effect, None, "nobody has agreed to that");
    desk.ticket.spec.description = None;
    desk.turns(START);
    assert_eq!(desk.created, 1);
    let spec = &mut desk.ticket.spec;
    (spec.plan.job, spec.plan.guide) = (None, Some("by hand".into()));
    spec.level = crds::v1alpha1::ChangeLevel::D;
    spec.implementers.users.push("mallory".into());
    desk.turns(START + 1);
    assert_eq!(desk.look(CLOSES).effect, Some(Effect::Abort));
    desk.run_ends("Failed", "Cancelled");
    desk.turns(CLOSES);
    assert_eq!(desk.reason(), "AwaitingResult");
    for who in ["mallory", "ivan"] {
        desk.does(who, "Complete", Some("Success"));
        assert_eq!(desk.turns(CLOSES), [Err("Changed")]);
    }
}

#[test]
fn a_run_that_somebody_deleted_ends_the_ticket_and_is_not_made_anew() {
    let mut desk = Desk::with(&json!({})).agreed();
    desk.turns(START);
    desk.run = None;
    desk.turns(START + 1);
    assert_eq!((desk.reason(), desk.created), ("RunFailed", 1));
}
