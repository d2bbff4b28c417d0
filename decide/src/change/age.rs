//! How long a ticket stays after its end, and what Git brings back of one that went: it goes no sooner than its window is over, so that whoever applies it again applies what nobody begins any more.

use crds::v1alpha1::{ChangeTicket, ChangeTicketSpec, Duration, find_condition};
use jiff::{SignedDuration, Timestamp};

/// The end of a ticket whose window was over when it was created.
pub const ALREADY_OVER: &str = "AlreadyOver";

/// From when on nothing of a ticket is started.
pub fn closes(spec: &ChangeTicketSpec) -> Timestamp {
    let window = &spec.window;
    let closes = window.end.0.saturating_sub(window.reserve.whole());
    closes.unwrap_or(Timestamp::MIN)
}

/// Whether a ticket was created when nothing of it could be started any more, as one that Git has brought back. A part is created when it is due, and by nobody else.
pub fn is_already_over(ticket: &ChangeTicket) -> bool {
    let created = ticket.metadata.creation_timestamp.as_ref();
    ticket.spec.part_of.is_none() && created.is_some_and(|at| at.0 >= closes(&ticket.spec))
}

/// When a ticket that has ended is deleted, but for what policies remember of it.
pub fn expires(ticket: &ChangeTicket, usual: Option<Duration>) -> Option<Timestamp> {
    let (spec, status) = (&ticket.spec, ticket.status.as_ref()?);
    let failed = find_condition(&status.conditions, "Failed");
    if failed.is_some_and(|c| c.reason == ALREADY_OVER) {
        // Git brought it back; it would bring it back again and again.
        return None;
    }
    let ended = status.finished_at.as_ref()?.0;
    let kept = SignedDuration::try_from(spec.ttl_after_finished.or(usual)?.get()).ok()?;
    let agreed = status.started.as_ref().map(|started| started.closes.0);
    let over = spec.window.end.0.max(agreed.unwrap_or(Timestamp::MIN));
    ended
        .checked_add(kept)
        .ok()
        .map(|expires| expires.max(over))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ticket(over: &Value) -> ChangeTicket {
        let mut ticket = json!({"metadata": {"name": "move", "creationTimestamp": "2026-12-01T00:00:00Z"}, "spec": {"title": "t", "type": "Regular", "level": "C",
            "window": {"start": "2026-12-05T10:00:00Z", "end": "2026-12-05T12:00:00Z", "reserve": "30m"}, "plan": {"guide": "g"},
            "implementers": {"users": ["ivan"]}, "review": [{"name": "l", "users": ["bob"]}]}});
        for (field, value) in over.as_object().expect("fields") {
            ticket["spec"][field] = value.clone();
        }
        serde_json::from_value(ticket).expect("a ticket")
    }

    #[test]
    fn what_is_created_after_its_window_is_over_from_the_first_moment() {
        let part = json!({"name": "whole", "uid": "u", "digest": "d", "region": "eu"});
        for (created, over, expected) in [
            ("2026-12-05T11:29:59Z", json!({}), false),
            ("2026-12-05T11:30:00Z", json!({}), true),
            ("2027-12-05T11:30:00Z", json!({}), true),
            ("2027-12-05T11:30:00Z", json!({"partOf": part}), false),
        ] {
            let mut ticket = ticket(&over);
            let at = serde_json::from_value(json!(created)).expect("a time");
            ticket.metadata.creation_timestamp = Some(at);
            assert_eq!(is_already_over(&ticket), expected, "{created} {over}");
        }
        let mut unknown = ticket(&json!({}));
        unknown.metadata.creation_timestamp = None;
        assert!(!is_already_over(&unknown));
    }

    #[test]
    fn a_ticket_goes_some_time_after_its_end_and_no_sooner_than_its_window_is_over() {
        let end = "2026-12-05T12:00:00Z";
        let started = json!({"at": "2026-12-05T10:00:00Z", "digest": "d", "closes": "2026-12-05T18:00:00Z", "onClose": "Finish", "level": "C"});
        let (hour, day) = (
            json!({"ttlAfterFinished": "1h"}),
            Duration::from_secs(86_400),
        );
        for (what, over, status, usual, expected) in [
            (
                "it does not say",
                json!({}),
                json!({"finishedAt": end}),
                None,
                None,
            ),
            ("it goes on", hour.clone(), json!({}), None, None),
            (
                "an hour later",
                hour.clone(),
                json!({"finishedAt": end}),
                Some(day),
                Some("2026-12-05T13:00:00Z"),
            ),
            (
                "as usual",
                json!({}),
                json!({"finishedAt": end}),
                Some(day),
                Some("2026-12-06T12:00:00Z"),
            ),
            (
                "its window is open",
                hour.clone(),
                json!({"finishedAt": "2026-12-05T10:10:00Z"}),
                None,
                Some(end),
            ),
            (
                "another was agreed to",
                hour.clone(),
                json!({"finishedAt": end, "started": started}),
                None,
                Some("2026-12-05T18:00:00Z"),
            ),
            (
                "Git has brought it back",
                hour,
                json!({"finishedAt": end, "conditions": [{"type": "Failed", "status": "True", "reason": "AlreadyOver", "message": "", "lastTransitionTime": end}]}),
                Some(day),
                None,
            ),
        ] {
            let mut ticket = ticket(&over);
            ticket.status = Some(serde_json::from_value(status).expect("a status"));
            let expected = expected.map(|at: &str| at.parse().expect("a time"));
            assert_eq!(expires(&ticket, usual), expected, "{what}");
        }
    }
}
