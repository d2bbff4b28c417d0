//! What a ticket conflicts with, and where that keeps it back.

use crds::v1alpha1::ConflictMode;

use super::*;

/// A conflict with what was planned before, or after.
fn booked(gives_way: bool) -> conflict::Found {
    let conflict = json!({"reason": "ItemBooked", "severity": "High", "with": {"kind": "ChangeTicket", "namespace": "n", "name": "other"},
        "from": at(START).to_string(), "until": at(END).to_string(), "message": "ChangeTicket other is first"});
    conflict::Found {
        conflict: serde_json::from_value(conflict).expect("a conflict"),
        gives_way,
    }
}

#[test]
fn a_conflict_is_told_and_blocks_where_a_policy_says_so_and_the_other_was_first() {
    let (warn, block) = (ConflictMode::Warn, ConflictMode::Block);
    for (submit, start, gives_way, submitted, started) in [
        (warn, warn, true, true, true),
        (block, block, false, true, true),
        (block, warn, true, false, true),
        (warn, block, true, true, false),
    ] {
        let mut desk = Desk::with(&json!({}));
        desk.conflicts = vec![booked(gives_way)];
        desk.on_conflict = OnConflict { submit, start };
        desk.turns(50);
        let told = &desk.status().conditions;
        assert_eq!(condition_is_true(told, "Submitted"), submitted);
        assert_eq!(desk.status().digest.is_some(), submitted);
        let free = find_condition(told, "ConflictFree").expect("it says so");
        assert_eq!((&*free.status, &*free.reason), ("False", "ItemBooked"));
        assert_eq!(desk.status().conflicts.len(), 1);
        let reason = if submitted {
            "AwaitingApproval"
        } else {
            "ItemBooked"
        };
        assert_eq!(desk.reason(), reason);
        // One that everybody had agreed to before is asked again at the start alone.
        let mut desk = desk.agreed();
        desk.turns(START);
        assert_eq!(desk.created == 1, started, "{submit:?} {start:?}");
        assert_eq!(desk.status().conflicts.len(), 1, "it is kept");
        if !started {
            assert_eq!(desk.reason(), "ItemBooked");
            desk.conflicts.clear();
            desk.turns(START + 1);
            assert_eq!((desk.created, desk.status().conflicts.len()), (1, 0));
            assert!(condition_is_true(&desk.status().conditions, "ConflictFree"));
        }
    }
}

#[test]
fn a_draft_has_no_conflicts_and_nobody_starts_a_change_that_is_blocked() {
    let mut desk = Desk::guide(&json!({})).agreed();
    desk.conflicts = vec![booked(true)];
    desk.on_conflict.start = ConflictMode::Block;
    desk.turns(START);
    desk.does("ivan", "Start", None);
    assert_eq!(desk.turns(START), [Err("ItemBooked")]);
    desk.ticket.spec.submit = false;
    desk.turns(START);
    assert!(desk.status().conflicts.is_empty());
    assert!(find_condition(&desk.status().conditions, "ConflictFree").is_none());
}
