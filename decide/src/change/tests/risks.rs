//! How risky a ticket is, and what that asks for.

use super::*;

/// A risk, and whether it keeps the ticket back.
fn risky(score: i32, keeps_back: bool) -> risk::Weighed {
    let refusal = || Refusal::new("ReviewTooSmall", "it asks for 3 levels of review");
    risk::Weighed {
        risk: Some(serde_json::from_value(json!({"score": score, "policy": "p"})).expect("a risk")),
        refusal: keeps_back.then(refusal),
        told: None,
    }
}

#[test]
fn a_risk_keeps_a_ticket_from_its_reviewers_and_from_its_start_and_stays_as_it_was_then() {
    let mut desk = Desk::with(&json!({}));
    desk.risk = risky(70, true);
    desk.turns(50);
    let told = &desk.status().conditions;
    for type_ in ["Submitted", "Approved", "Ready"] {
        let told = find_condition(told, type_).expect("it says so");
        assert_eq!((&*told.status, &*told.reason), ("False", "ReviewTooSmall"));
    }
    assert_eq!(
        (&desk.status().digest, desk.status().summary.as_deref()),
        (&None, Some("Blocked"))
    );
    let score = |desk: &Desk| desk.status().risk.as_ref().map(|risk| risk.score);
    assert_eq!(score(&desk), Some(70));
    desk.risk = risky(10, false);
    desk.turns(60);
    assert_eq!(
        (desk.reason(), score(&desk)),
        ("AwaitingApproval", Some(10))
    );
    let before = desk.digest();
    let mut desk = desk.agreed();
    desk.turns(70);
    assert_eq!(
        desk.digest(),
        before,
        "a risk is no part of what is approved"
    );
    // What everybody has agreed to is not sent back, and asked again at the start.
    desk.risk = risky(80, true);
    desk.turns(80);
    assert_eq!(desk.reason(), "WaitingForWindow");
    desk.turns(START);
    assert_eq!(
        (desk.reason(), desk.created, desk.status().live),
        ("ReviewTooSmall", 0, Some(false))
    );
    desk.risk = risky(20, false);
    desk.turns(START + 1);
    assert_eq!((desk.created, score(&desk)), (1, Some(20)));
    desk.risk = risk::Weighed::default();
    desk.turns(START + 2);
    assert_eq!(score(&desk), Some(20), "it is kept");
}

#[test]
fn what_is_made_of_a_ticket_after_its_start_is_agreed_to_by_as_many_as_its_risk_asks_for() {
    let mut desk = Desk::guide(&json!({})).agreed();
    desk.risk = risky(10, false);
    desk.turns(START);
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(START), [Ok(())]);
    assert_eq!(desk.status().live, Some(true));
    desk.ticket.spec.title = "Move more".into();
    desk.risk = risky(90, true);
    let mut desk = desk.agreed();
    desk.turns(START + 1);
    let approved = find_condition(&desk.status().conditions, "Approved").expect("it says so");
    assert_eq!(
        (&*approved.status, &*approved.reason),
        ("False", "ReviewTooSmall")
    );
    let score = desk.status().risk.as_ref().map(|risk| risk.score);
    assert_eq!((desk.status().live, score), (Some(false), Some(90)));
    desk.risk = risky(30, false);
    desk.turns(START + 2);
    let score = desk.status().risk.as_ref().map(|risk| risk.score);
    assert_eq!((desk.status().live, score), (Some(true), Some(30)));
    // What holds by now is kept.
    desk.risk = risk::Weighed::default();
    desk.turns(START + 3);
    let score = desk.status().risk.as_ref().map(|risk| risk.score);
    assert_eq!((desk.status().live, score), (Some(true), Some(30)));
}

#[test]
fn nobody_starts_by_hand_what_is_too_risky_and_a_draft_has_no_risk() {
    let mut desk = Desk::guide(&json!({})).agreed();
    desk.risk = risky(80, true);
    desk.turns(START);
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(START), [Err("ReviewTooSmall")]);
    desk.ticket.spec.submit = false;
    desk.turns(START);
    assert_eq!(desk.status().risk, None);
}
