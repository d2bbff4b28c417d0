//! A ChangeTicket that is written: how risky it is, and what it conflicts with. It is let in whatever that is.

use crds::v1alpha1::{ChangeTicket, clip};
use jiff::Timestamp;

use super::{Request, Unreadable, WARNINGS};
use crate::change::conflict::{Diary, Found};

/// Bytes of a warning, which the API server cuts otherwise.
const LONG: usize = 256;

/// A warning of its risk, and one of each conflict, the worst first; nothing of a ticket whose spec is as it was, or that has ended.
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
    if ticket.is_finished() || before.is_some_and(|before| before.spec == ticket.spec) {
        return Ok(Vec::new());
    }
    let found = diary.conflicts(&ticket, now);
    let word = |found: &Found| {
        let conflict = &found.conflict;
        format!("{}: {}", conflict.reason.name(), conflict.message)
    };
    let risk = diary.risk(&ticket, &found, now).told;
    let all = risk.into_iter().chain(found.iter().map(word));
    Ok(all.take(WARNINGS).map(|said| clip(&said, LONG)).collect())
}
