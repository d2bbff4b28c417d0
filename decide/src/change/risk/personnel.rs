//! What counts of the people of a change, and of the hours in which they work.

use crds::v1alpha1::{
    ChangeOutcome, ChangeTicket, OutOfHours, PersonnelRisk, RecentFailures, RiskReason, RiskSort,
    clip,
};
use jiff::{SignedDuration, Timestamp};

use super::{Facts, NAMED, Past, SAID};
use crate::change::conflict::Span;

pub(super) fn counted(
    ticket: &ChangeTicket,
    personnel: &PersonnelRisk,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Vec<RiskReason> {
    let first = personnel.first_time.and_then(|score| {
        let why = first_time(ticket, facts.past)?;
        Some(reason("firstTime", score, &why))
    });
    let hours = personnel.out_of_hours.as_ref().and_then(|of| {
        let why = out_of_hours(ticket, of, facts, now)?;
        Some(reason("outOfHours", of.score, &why))
    });
    let failures = personnel.recent_failures.as_ref().and_then(|of| {
        let why = recent_failures(ticket, of, facts.past, now)?;
        Some(reason("recentFailures", of.score, &why))
    });
    [first, hours, failures].into_iter().flatten().collect()
}

fn reason(rule: &str, score: i32, why: &str) -> RiskReason {
    RiskReason {
        rule: rule.to_owned(),
        sort: RiskSort::Personnel,
        score,
        why: clip(why, SAID),
    }
}

/// Those who carry it out as far as they are named, or whoever wrote it.
fn hands(ticket: &ChangeTicket) -> Vec<&String> {
    let users = &ticket.spec.implementers.users;
    if users.is_empty() {
        return writer(ticket).into_iter().collect();
    }
    users.iter().collect()
}

fn writer(ticket: &ChangeTicket) -> Option<&String> {
    ticket.spec.requested_by.as_ref().map(|by| &by.user)
}

fn first_time(ticket: &ChangeTicket, past: &[Past]) -> Option<String> {
    let hands = hands(ticket);
    let mut well = past
        .iter()
        .filter(|past| past.outcome == ChangeOutcome::Success);
    let knows = well.any(|past| hands.iter().any(|user| past.people.contains(*user)));
    let named: Vec<_> = hands.iter().take(NAMED).map(|user| user.as_str()).collect();
    let more = match hands.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!knows).then(|| {
        format!(
            "no change of this namespace in which {}{more} had a part has ended well yet",
            named.join(", ")
        )
    })
}

fn out_of_hours(
    ticket: &ChangeTicket,
    of: &OutOfHours,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Option<String> {
    let window = &ticket.spec.window;
    let (start, end) = (window.start.0, window.end.0);
    let left = Span { start, end }.after(now)?;
    let named = format!(
        "ChangeCalendar {}/{}",
        of.calendar.namespace, of.calendar.name
    );
    let Some(calendar) = facts.calendars.get(&of.calendar) else {
        return Some(format!(
            "{named} of the hours of work is not there or cannot be read"
        ));
    };
    let state = calendar.at(left.start);
    let when = if state.open {
        let closes = state.until.filter(|at| *at < left.end)?;
        format!("closes at {closes:.0}")
    } else if left.start == start {
        format!("is closed at {start:.0}")
    } else {
        "is closed".to_owned()
    };
    Some(format!(
        "the window is not within the hours of work: {named} {when}"
    ))
}

fn recent_failures(
    ticket: &ChangeTicket,
    of: &RecentFailures,
    past: &[Past],
    now: Timestamp,
) -> Option<String> {
    let within = SignedDuration::try_from(of.within.get()).unwrap_or(SignedDuration::MAX);
    let since = now.saturating_sub(within).unwrap_or(Timestamp::MIN);
    let mut people = ticket.spec.implementers.users.iter().chain(writer(ticket));
    let failed = past.iter().filter(|past| {
        past.outcome == ChangeOutcome::Failed
            && past.ended >= since
            && people.clone().any(|user| past.people.contains(user))
    });
    let count = failed.clone().count();
    let last = failed.max_by_key(|past| past.ended)?;
    let who = people.find(|user| last.people.contains(*user))?;
    let more = match count - 1 {
        0 => String::new(),
        more => format!(", and so did {more} more within {}", of.within),
    };
    Some(format!(
        "{who} had a part in ChangeTicket {}, which failed at {:.0}{more}",
        last.name, last.ended
    ))
}
