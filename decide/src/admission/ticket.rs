//! A ChangeTicket that is written: whether it comes too late, how risky it is, and what it conflicts with. It is let in whatever that is.

use crds::v1alpha1::{ChangeTicket, clip};
use jiff::Timestamp;

use super::{Request, Unreadable, WARNINGS};
use crate::change::{
    ALREADY_OVER, closes,
    conflict::{Diary, Found},
};

/// What is said of a window that is over.
const LATE: &str = "its window is over, so that nothing of it is ever started; give it another one if that is not meant";
/// Bytes of a warning, which the API server cuts otherwise.
const LONG: usize = 256;

/// A warning of its window where that is over, of its risk, and of each conflict, the worst first; nothing of a ticket whose spec is as it was, or that has ended.
pub fn warnings(
    request: &Request,
    diary: &Diary,
    now: Timestamp,
) -> Result<Vec<String>, Unreadable> {
    let read = |text| {
        serde_json::from_str::<ChangeTicket>(text).map_err(|e| Unreadable("ChangeTicket", e))
    };
    let ticket = read(request.object)?;
    let before = request.before.map(read).transpose()?;
    let is_late = before.is_none() && ticket.spec.submit && closes(&ticket.spec) <= now;
    let late = is_late.then(|| format!("{ALREADY_OVER}: {LATE}"));
    if ticket.is_finished() || before.is_some_and(|before| before.spec == ticket.spec) {
        return Ok(Vec::new());
    }
    let found = diary.conflicts(&ticket, now);
    let word = |found: &Found| {
        let conflict = &found.conflict;
        format!("{}: {}", conflict.reason.name(), conflict.message)
    };
    let risk = diary.risk(&ticket, &found, now).told;
    let all = late.into_iter().chain(risk);
    let all = all.chain(found.iter().map(word));
    Ok(all.take(WARNINGS).map(|said| clip(&said, LONG)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_creates_a_ticket_after_its_window_is_told() {
        let ticket = |submit: bool| {
            json!({"metadata": {"name": "t", "namespace": "n"}, "spec": {"title": "t", "type": "Regular", "level": "C", "plan": {"guide": "g"}, "submit": submit,
                "window": {"start": "2026-12-05T10:00:00Z", "end": "2026-12-05T12:00:00Z", "reserve": "1h"},
                "implementers": {"users": ["ivan"]}, "review": [{"name": "l", "users": ["bob"]}]}})
            .to_string()
        };
        let (open, draft) = (ticket(true), ticket(false));
        for (object, before, now, is_told) in [
            (&open, None, "2026-12-05T10:59:59Z", false),
            (&open, None, "2026-12-05T11:00:00Z", true),
            (&draft, None, "2026-12-05T11:00:00Z", false),
            (&open, Some(&draft), "2026-12-05T11:00:00Z", false),
        ] {
            let request = Request {
                object,
                before: before.map(String::as_str),
            };
            let now = now.parse().expect("a time");
            let told = warnings(&request, &Diary::default(), now).expect("a ticket");
            let is = told.iter().any(|said| said.starts_with("AlreadyOver: "));
            assert_eq!(is, is_told, "{now} {told:?}");
        }
    }
}
