//! A ScheduledTask that is written: which of its calendars are closed now. It is let in whatever that is.

use crds::v1alpha1::ScheduledTaskSpec;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Request, Unreadable, WARNINGS};
use crate::change::conflict::Diary;

#[derive(Deserialize)]
struct Written {
    spec: ScheduledTaskSpec,
}

/// A warning of each calendar that is known to be closed; nothing of a task whose spec is as it was, or that is suspended.
pub fn closed(
    request: &Request,
    namespace: &str,
    diary: &Diary,
    now: Timestamp,
) -> Result<Vec<String>, Unreadable> {
    let read = |text| {
        let written = serde_json::from_str::<Written>(text);
        written.map_err(|e| Unreadable("ScheduledTask", e))
    };
    let task = read(request.object)?.spec;
    let before = request.before.map(read).transpose()?;
    if task.suspend || before.is_some_and(|before| before.spec == task) {
        return Ok(Vec::new());
    }
    let refs = task.calendar_refs.iter();
    let closed = refs.filter_map(|of| diary.closed(namespace, &of.name, now));
    let told = closed.map(|why| format!("nothing fires now: {why}"));
    Ok(told.take(WARNINGS).collect())
}
