//! What keeps a change from being made when it is planned: other changes of the same or related objects, calendars, and people who carry out two at once. Tickets that have ended or were rejected, and drafts, are in nobody's way; windows that only touch do not overlap.

mod booking;
mod diary;
mod graph;
mod touched;
mod when;

use std::collections::BTreeSet;

use crds::v1alpha1::{
    CalendarEffect, ChangeConflict, ConflictMode, ConflictReason, ConflictSeverity, ConflictWith,
    OnConflict, PolicyMode, ProtectionPolicy, clip,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use booking::{Booking, Span};
pub use diary::{Diary, Kept};
pub use graph::{Graph, Item, Owned};
pub use touched::Touched;
pub use when::{Applied, applied, is_about};

use crate::Refusal;

/// Conflicts that are told.
const TOLD: usize = 20;
/// Bytes of what a conflict says.
const SAID: usize = 512;

/// What there is besides the ticket.
#[derive(Debug, Default)]
pub struct Around {
    /// Tickets of its namespace.
    pub others: Vec<Booking>,
    pub calendars: Vec<Applied>,
    pub graph: Graph,
}

/// A conflict, and whether it is this ticket that gives way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub conflict: ChangeConflict,
    pub gives_way: bool,
}

/// All conflicts that are not over yet, the worst first. Each is told from its beginning, which may be past, so that what is told is the same from turn to turn.
pub fn conflicts(own: &Booking, around: &Around, now: Timestamp) -> Vec<Found> {
    let Some(left) = own.window.after(now) else {
        return Vec::new();
    };
    let related = around.graph.related(&own.touched);
    let of_tickets = around.others.iter().flat_map(|other| {
        let counts = other.since.is_some() && own.meets(other);
        let counts = counts && left.overlap(other.window).is_some();
        let overlap = own.window.overlap(other.window).filter(|_| counts);
        overlap.map_or_else(Vec::new, |overlap| booked(own, other, &related, overlap))
    });
    let calendars = around.calendars.iter();
    let of_calendars = calendars.flat_map(|applied| closed(own, applied, &related, now));
    ranked(of_tickets.chain(of_calendars).collect())
}

/// Those of all that a ticket takes.
pub fn conflicts_of_all(own: &[Booking], around: &Around, now: Timestamp) -> Vec<Found> {
    let all = own.iter().flat_map(|own| conflicts(own, around, now));
    let mut all = ranked(all.collect());
    all.dedup();
    all
}

fn ranked(mut all: Vec<Found>) -> Vec<Found> {
    let order = |found: &Found| {
        let ChangeConflict {
            reason, with, from, ..
        } = &found.conflict;
        (!found.gives_way, *reason, from.0, with.clone())
    };
    all.sort_by_key(|found| (found.conflict.severity, order(found)));
    all.truncate(TOLD);
    all
}

/// Why a ticket does not go on, of those conflicts that keep it from that.
pub fn blocking(found: &[Found]) -> Option<Refusal> {
    let blocks =
        |found: &&Found| found.gives_way && found.conflict.severity == ConflictSeverity::High;
    let first = &found.iter().find(blocks)?.conflict;
    Some(Refusal::new(first.reason.name(), first.message.clone()))
}

/// What policies about a namespace say is done with conflicts there: the strictest of them.
pub fn on_conflict<'a>(policies: impl IntoIterator<Item = &'a ProtectionPolicy>) -> OnConflict {
    let enforced = |policy: &&ProtectionPolicy| policy.spec.mode == PolicyMode::Enforce;
    let asked = policies.into_iter().filter(enforced);
    let asked = asked.filter_map(|policy| policy.spec.require.ticket.as_ref());
    asked.fold(OnConflict::default(), |strictest, asked| OnConflict {
        submit: ConflictMode::max(strictest.submit, asked.on_conflict.submit),
        start: ConflictMode::max(strictest.start, asked.on_conflict.start),
    })
}

/// What two tickets have in common that overlap.
fn booked(own: &Booking, other: &Booking, related: &BTreeSet<Item>, overlap: Span) -> Vec<Found> {
    let found = |reason, item: &str, what: &str| Found {
        conflict: told(
            reason,
            ConflictWith {
                kind: "ChangeTicket".to_owned(),
                namespace: other.namespace.clone(),
                name: other.name.clone(),
            },
            Some(item),
            overlap,
            what,
        ),
        gives_way: other.comes_before(own),
    };
    let mut all = Vec::new();
    if let Some(item) = touched::common(&own.touched, &other.touched) {
        let what = format!("also changes {item}");
        all.push(found(ConflictReason::ItemBooked, &item, &what));
    } else if let Some(item) = related
        .iter()
        .find(|item| touched::covers(&other.touched, item))
    {
        let what = format!("changes {item}, which is related to what this one changes");
        let item = item.to_string();
        all.push(found(ConflictReason::RelatedBooked, &item, &what));
    }
    if let Some(user) = own.users.iter().find(|user| other.users.contains(user)) {
        let what = format!("is carried out by {user}, too");
        all.push(found(ConflictReason::ImplementerBooked, user, &what));
    }
    all
}

/// How a calendar is closed within the window of a ticket: by a freeze, because nothing opens it, or both.
fn closed(
    own: &Booking,
    applied: &Applied,
    related: &BTreeSet<Item>,
    now: Timestamp,
) -> Vec<Found> {
    let Some((item, is_own)) = applied.about(&own.touched, related) else {
        return Vec::new();
    };
    let found = |effect, span: Span, why: &str| {
        let reason = match (effect, is_own) {
            (CalendarEffect::Freeze, true) => ConflictReason::InsideFreeze,
            (CalendarEffect::Freeze, false) => ConflictReason::RelatedInsideFreeze,
            (CalendarEffect::Window, true) => ConflictReason::OutsideWindow,
            (CalendarEffect::Window, false) => ConflictReason::RelatedOutsideWindow,
        };
        let with = ConflictWith {
            kind: "ChangeCalendar".to_owned(),
            namespace: applied.namespace.clone(),
            name: applied.name.clone(),
        };
        let of = item.as_ref().filter(|_| !is_own);
        let of = of.map(|item| format!(" for {item}, which is related to what this one changes"));
        let what = format!("is closed {why}{}", of.unwrap_or_default());
        Found {
            conflict: told(reason, with, item.as_deref(), span, &what),
            gives_way: true,
        }
    };
    let closed = applied.closed(own.window, now).into_iter();
    closed
        .map(|(effect, span, why)| found(effect, span, &why))
        .collect()
}

fn told(
    reason: ConflictReason,
    with: ConflictWith,
    item: Option<&str>,
    Span { start, end }: Span,
    what: &str,
) -> ChangeConflict {
    let way_out = match reason {
        ConflictReason::ImplementerBooked => "have others carry one of them out, or move it",
        ConflictReason::ItemBooked | ConflictReason::RelatedBooked => {
            "move the window, or agree with its implementers who goes first"
        }
        _ => "move the window to when it is open",
    };
    let message = format!(
        "{} {} {what} from {start:.0} until {end:.0}; {way_out}",
        with.kind, with.name
    );
    ChangeConflict {
        reason,
        severity: reason.severity(),
        with,
        item: item.map(|item| clip(item, SAID)),
        from: Time(start),
        until: Time(end),
        message: clip(&message, SAID),
    }
}

#[cfg(test)]
mod tests;
