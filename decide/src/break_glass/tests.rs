//! Tables: when one opens and ends, whom it lets past what, who reviews it, and what the audit is told.

use crds::audit::AuditDecision;
use serde_json::{Value, json};

use super::*;

fn at(minute: i64) -> Timestamp {
    let midnight: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
    midnight + SignedDuration::from_mins(minute)
}

/// Eve's, created at midnight for an hour.
fn glass(over: &Value) -> BreakGlass {
    let mut spec = json!({"reason": "carts are empty", "incident": "INC-7",
        "requestedBy": {"user": "eve", "groups": ["sre"]}});
    let over = over.as_object().expect("fields").clone();
    spec.as_object_mut().expect("a spec").extend(over);
    let mut glass = BreakGlass::new("pager", serde_json::from_value(spec).expect("a spec"));
    glass.metadata.namespace = Some("shop".into());
    glass.metadata.uid = Some("uid".into());
    glass.metadata.generation = Some(1);
    glass.metadata.creation_timestamp = Some(Time(at(0)));
    glass
}

fn approval(glass: &BreakGlass, by: &str, decision: &str, minute: i64) -> Approval {
    let spec = json!({"subject": {"kind": "BreakGlass", "name": "pager"}, "digest": digest(glass), "decision": decision,
        "reason": "looked", "requestedBy": {"user": by, "groups": []}});
    let mut approval = Approval::new("a", serde_json::from_value(spec).expect("a spec"));
    approval.metadata.creation_timestamp = Some(Time(at(minute)));
    approval
}

/// As it is after turns at these minutes.
fn after(mut glass: BreakGlass, approvals: &[Approval], minutes: &[i64]) -> BreakGlass {
    for minute in minutes {
        glass.status = Some(status(&glass, approvals, &[], at(*minute)).status);
    }
    glass
}

fn says(glass: &BreakGlass) -> [String; 3] {
    let told = &glass.status.as_ref().expect("a status").conditions;
    ["Live", "Reviewed", "Ready"].map(|type_| {
        let told = find_condition(told, type_).expect("it is always there");
        format!("{}/{}", told.status, told.reason)
    })
}

const AWAITING: [&str; 3] = [
    "False/Expired",
    "False/AwaitingReview",
    "Unknown/AwaitingReview",
];

#[test]
fn it_opens_once_and_ends_by_itself_when_it_is_closed_or_when_it_is_rejected() {
    let open = glass(&json!({}));
    let closed = glass(&json!({"closed": true}));
    let long = glass(&json!({"expiresAfter": "4h"}));
    let no = [approval(&open, "bob", "Reject", 10)];
    let own = [approval(&open, "eve", "Reject", 10)];
    let live = ["True/Open", "False/Live", "Unknown/Live"];
    for (glass, approvals, minutes, wanted) in [
        (&open, &[][..], &[1][..], live),
        (&open, &[], &[1, 59], live),
        (&open, &[], &[1, 60], AWAITING),
        (&open, &[], &[1, 60, 2], AWAITING),
        (&open, &own, &[1, 11], live),
        (
            &open,
            &no,
            &[1, 11],
            ["False/Rejected", "True/Rejected", "True/Reviewed"],
        ),
        (&long, &[], &[1, 239], live),
        (&long, &[], &[1, 240], AWAITING),
        (
            &open,
            &[],
            &[60],
            ["False/TooLate", "True/NotOpened", "False/TooLate"],
        ),
        (
            &closed,
            &[],
            &[1],
            ["False/TooLate", "True/NotOpened", "False/TooLate"],
        ),
    ] {
        let told = after(glass.clone(), approvals, minutes);
        assert_eq!(says(&told), wanted, "{minutes:?}");
    }
    let mut opened = after(open, &[], &[1]);
    opened.spec.closed = true;
    assert!(broken(&opened, "freeze", at(2)).is_none(), "at once");
    let closed = after(opened, &[], &[3]);
    assert_eq!(says(&closed)[0], "False/Closed");
    let ended = closed.status.expect("a status").ended_at;
    assert_eq!(ended, Some(Time(at(3))));
}

#[test]
fn nobody_opens_one_without_a_stamp_or_beside_one_that_was_left_for_a_day() {
    let mut unstamped = glass(&json!({}));
    unstamped.spec.requested_by = None;
    assert_eq!(says(&after(unstamped, &[], &[1]))[0], "False/NotStamped");

    let mut left = after(glass(&json!({})), &[], &[1, 60]);
    left.metadata.uid = Some("another".into());
    let opens = |left: &BreakGlass, minute: i64| {
        let mut next = glass(&json!({}));
        next.metadata.creation_timestamp = Some(Time(at(minute)));
        let told = status(&next, &[], std::slice::from_ref(left), at(minute)).status;
        let live = find_condition(&told.conditions, "Live").expect("it is always there");
        live.reason.clone()
    };
    let day = 24 * 60;
    assert_eq!(opens(&left, 60 + day), "Open");
    assert_eq!(opens(&left, 61 + day), "Unreviewed");
    let mut others = left.clone();
    others.spec.requested_by = glass(&json!({"requestedBy": {"user": "ann", "groups": []}}))
        .spec
        .requested_by;
    assert_eq!(opens(&others, 61 + day), "Open");
    let yes = [approval(&left, "bob", "Approve", 61)];
    let reviewed = after(left, &yes, &[62]);
    assert_eq!(opens(&reviewed, 61 + day), "Open");
}

#[test]
fn it_lets_its_author_past_what_it_is_for_and_nobody_else() {
    let set = |record: &str| -> Glass {
        serde_json::from_value(json!({"groups": ["sre"], "record": record})).expect("a glass")
    };
    let (required, optional) = (set("Required"), set("Optional"));
    let any = after(glass(&json!({})), &[], &[1]);
    let one = after(glass(&json!({"policies": ["freeze"]})), &[], &[1]);
    let sre = ["sre".to_owned()];
    for (glass, policy, needs, user, groups, namespace, minute, wanted) in [
        (&any, "freeze", &required, "eve", &sre[..], "shop", 59, true),
        (&any, "freeze", &required, "eve", &sre, "shop", 60, false),
        (&any, "freeze", &required, "ann", &sre, "shop", 59, false),
        (&any, "freeze", &required, "eve", &[], "shop", 59, false),
        (&any, "freeze", &required, "eve", &sre, "bank", 59, false),
        (&any, "freeze", &optional, "eve", &sre, "shop", 59, false),
        (&one, "freeze", &required, "eve", &sre, "shop", 59, true),
        (&one, "other", &required, "eve", &sre, "shop", 59, false),
    ] {
        let asker = Asker {
            user,
            groups,
            namespace,
        };
        let passes = passes((policy, Some(needs)), asker, [glass], at(minute));
        assert_eq!(passes.is_some(), wanted, "{policy} {asker:?} {minute}");
    }
    let unseen = glass(&json!({}));
    assert!(broken(&unseen, "freeze", at(1)).is_none());
}

#[test]
fn somebody_else_reviews_it_after_its_end() {
    let ended = after(glass(&json!({})), &[], &[1, 60]);
    for (by, decision, minute, wanted) in [
        ("bob", "Approve", 61, Ok(())),
        ("bob", "Approve", 59, Err("TooEarly")),
        ("bob", "Reject", 59, Ok(())),
        ("eve", "Approve", 61, Err("OwnWork")),
        ("eve", "Reject", 61, Err("OwnWork")),
    ] {
        let said = approval(&ended, by, decision, minute);
        let counted = counts(&ended, &said, at(70)).map_err(|refusal| refusal.reason);
        assert_eq!(counted, wanted, "{by} {decision} {minute}");
        let told = after(ended.clone(), &[said], &[70]);
        let reviewed = match (wanted, decision) {
            (Ok(()), "Approve") => "True/Approved",
            (Ok(()), _) => "True/Rejected",
            (Err(_), _) => "False/AwaitingReview",
        };
        assert_eq!(says(&told)[1], reviewed, "{by} {decision} {minute}");
    }
    let mut anew = ended.clone();
    anew.metadata.uid = Some("another".into());
    let of_before = approval(&ended, "bob", "Approve", 61);
    let changed = counts(&anew, &of_before, at(70)).map_err(|refusal| refusal.reason);
    assert_eq!(changed, Err("Changed"));
    // What was looked at stays so, whoever takes their word away.
    let reviewed = after(ended, &[of_before], &[70]);
    assert_eq!(says(&after(reviewed, &[], &[80]))[2], "True/Reviewed");
}

#[test]
fn the_audit_is_told_of_the_opening_and_then_of_the_end_each_once() {
    let told = |glass: &BreakGlass| {
        of_audit(glass, "n".into()).map(|said| (said.decision, said.at, said.reason))
    };
    let mut opened = after(glass(&json!({})), &[], &[1]);
    let (decision, when, reason) = told(&opened).expect("it opened");
    assert_eq!((decision, when), (AuditDecision::Opened, at(1)));
    assert!(
        reason.contains("INC-7") && reason.contains("carts are empty"),
        "{reason}"
    );
    opened.status = Some(kept(&opened, decision, at(2)));
    assert_eq!(told(&opened), None);
    let mut ended = after(opened, &[], &[60]);
    let (decision, when, reason) = told(&ended).expect("it ended");
    assert_eq!((decision, when), (AuditDecision::Ended, at(60)));
    assert_eq!(reason, "Expired, incident INC-7");
    ended.status = Some(kept(&ended, decision, at(61)));
    assert_eq!(told(&ended), None);
    // Records were away until its end.
    let late = after(glass(&json!({})), &[], &[1, 60]);
    assert_eq!(told(&late).expect("it opened").0, AuditDecision::Opened);
    let refused = after(glass(&json!({})), &[], &[61]);
    assert_eq!(told(&refused).expect("refused").0, AuditDecision::Refused);
}

#[test]
fn each_move_is_told_once() {
    let open = after(glass(&json!({})), &[], &[1]);
    let ended = after(open.clone(), &[], &[60]);
    let (was, is) = (
        open.status.as_ref(),
        ended.status.as_ref().expect("a status"),
    );
    let (bad, reason, _) = moved(was, is).expect("it has ended");
    assert_eq!((bad, reason), (true, "AwaitingReview"));
    assert_eq!(moved(Some(is), is), None);
    assert_eq!(
        moved(None, was.expect("a status")).map(|told| told.1),
        Some("Live")
    );
}
