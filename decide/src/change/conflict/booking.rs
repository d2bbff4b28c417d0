//! What a ticket takes for itself: a window, objects and people. It is as much of a ticket as others have to know.

use crds::v1alpha1::{ChangeRegion, ChangeTicket, find_condition};
use jiff::Timestamp;

use super::Touched;
use crate::change::region;

/// A time with a beginning, and an end that is no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Span {
    /// None where the two only touch.
    pub fn overlap(self, other: Self) -> Option<Self> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(Self { start, end })
    }

    /// What is left of it.
    pub fn after(self, now: Timestamp) -> Option<Self> {
        self.overlap(Self {
            start: now,
            end: Timestamp::MAX,
        })
    }
}

/// A ticket, as others see it.
#[derive(Clone, Debug)]
pub struct Booking {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub window: Span,
    pub touched: Vec<Touched>,
    /// Those who carry it out, as far as they are named.
    pub users: Vec<String>,
    pub calendars: Vec<String>,
    /// Since when it has been handed in; none of a draft, of one that was rejected, and of one that has ended.
    pub since: Option<Timestamp>,
    /// Whether it was handed in as it is now.
    settled: bool,
    started: bool,
}

impl Booking {
    pub fn of(ticket: &ChangeTicket) -> Self {
        let (spec, meta) = (&ticket.spec, &ticket.metadata);
        let status = ticket.status.as_ref();
        let submitted = status.and_then(|s| find_condition(&s.conditions, "Submitted"));
        let submitted = submitted.filter(|c| c.status == "True" && !ticket.is_finished());
        let approved = status.and_then(|s| find_condition(&s.conditions, "Approved"));
        let is_rejected = approved.is_some_and(|c| c.reason == "Rejected");
        let (start, end) = (spec.window.start.0, spec.window.end.0);
        let of_calendars = spec.calendar_refs.iter();
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            window: Span { start, end },
            touched: Touched::by(spec),
            users: spec.implementers.users.clone(),
            calendars: of_calendars.map(|of| of.name.clone()).collect(),
            since: submitted
                .filter(|_| !is_rejected)
                .map(|c| c.last_transition_time.0),
            settled: status.is_some_and(|s| s.observed_generation == meta.generation),
            started: status.is_some_and(|s| s.started.is_some()),
        }
    }

    /// What a ticket takes: once, or in each of its regions that has not ended. A part takes what its whole does, which has been handed in for as long.
    pub fn each(ticket: &ChangeTicket) -> Vec<Self> {
        match (&ticket.spec.part_of, region::is_whole(ticket)) {
            (Some(_), _) => Vec::new(),
            (None, false) => vec![Self::of(ticket)],
            (None, true) => {
                let regions = ticket.spec.regions.iter();
                regions.map(|of| Self::of_region(ticket, of)).collect()
            }
        }
    }

    /// What a ticket takes, as it looks itself for what is in its way.
    pub fn own(ticket: &ChangeTicket, whole: Option<&ChangeTicket>) -> Vec<Self> {
        let (Some(of), Some(whole)) = (&ticket.spec.part_of, whole) else {
            return Self::each(ticket);
        };
        let mut regions = whole.spec.regions.iter();
        let planned = regions.find(|region| region.name == of.region);
        let planned = planned.map(|region| Self::of_region(whole, region));
        planned.into_iter().collect()
    }

    fn of_region(whole: &ChangeTicket, region: &ChangeRegion) -> Self {
        let part = region::part(whole, region, "");
        let mut tracked = whole.status.iter().flat_map(|status| &status.regions);
        let tracked = tracked.find(|tracked| tracked.name == region.name);
        let ended = tracked.is_some_and(|region| region.finished_at.is_some());
        let booked = Self::of(whole);
        Self {
            window: Span {
                start: part.window.start.0,
                end: part.window.end.0,
            },
            touched: Touched::by(&part),
            users: part.implementers.users,
            since: booked.since.filter(|_| !ended),
            started: tracked.is_some_and(|region| region.started_at.is_some()),
            ..booked
        }
    }

    /// Whether it is the other ticket that gives way: what has started goes on, and otherwise the one that was handed in first goes first.
    pub(super) fn comes_before(&self, other: &Self) -> bool {
        let since = |one: &Self| one.since.map(|since| (since, one.uid.clone()));
        let Some(its) = since(other).filter(|_| other.settled) else {
            return true;
        };
        self.started || since(self).is_some_and(|own| own < its)
    }

    /// Whether it plans something in the time of another.
    pub fn meets(&self, other: &Self) -> bool {
        self.namespace == other.namespace
            && self.name != other.name
            && self.window.overlap(other.window).is_some()
    }
}
