//! A ChangeTicket that is written: what it conflicts with. It is let in whatever that is.

use crds::v1alpha1::{ChangeTicket, clip};
use jiff::Timestamp;

use super::{Request, Unreadable, WARNINGS};
use crate::change::conflict::{Diary, Found};

/// Bytes of a warning, which the API server cuts otherwise.
const LONG: usize = 256;

/// A warning of each conflict, the worst first; nothing of a ticket whose spec is as it was, or that has ended.
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
        clip(
            &format!("{}: {}", conflict.reason.name(), conflict.message),
            LONG,
        )
    };
    Ok(found.iter().take(WARNINGS).map(word).collect())
}
