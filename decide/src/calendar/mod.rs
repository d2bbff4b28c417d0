//! ChangeCalendars: whether something may be done at an instant, why, and when that changes. Work is bounded whatever was written: rules are silent for at most ten years, and of what never flips so many events are followed.

mod calendars;
mod event;
mod ics;
mod line;
mod moment;
mod recurrence;
mod rule;
mod status;
mod times;
mod walk;

use std::iter;

use crds::v1alpha1::{CalendarEffect, CalendarFlip, CalendarState, ChangeCalendarSpec};
use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use calendars::{Calendars, Closed};
pub use event::Event;
pub use status::status;

use crate::{Refusal, zone};
use moment::Moment;
use walk::Walk;

/// A calendar that was read.
#[derive(Clone, Debug)]
pub struct Calendar {
    is_open: bool,
    zone: TimeZone,
    events: Vec<Event>,
}

/// What a calendar is at an instant.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    pub open: bool,
    /// What makes it so; none where the default does.
    pub event: Option<&'a Event>,
    /// The next flip, if one is foreseen.
    pub until: Option<Timestamp>,
}

/// A change from open to closed or back.
#[derive(Clone, Copy, Debug)]
pub struct Flip<'a> {
    pub at: Timestamp,
    pub open: bool,
    /// What begins or ends then.
    pub event: &'a Event,
}

impl Flip<'_> {
    /// As a status and the plugin show it.
    pub fn told(&self) -> CalendarFlip {
        CalendarFlip {
            at: Time(self.at),
            state: CalendarState::of(self.open),
            event: self.event.name.clone(),
            reason: self.event.reason.clone(),
        }
    }
}

/// What holds at an instant, and until when at least it does.
#[derive(Clone, Copy)]
struct Standing<'a> {
    open: bool,
    event: Option<&'a Event>,
    end: Option<Timestamp>,
}

impl Calendar {
    /// All that has to be corrected is told at once.
    pub fn read(spec: &ChangeCalendarSpec) -> Result<Self, Vec<Refusal>> {
        let zone = zone::named("spec.timeZone", &spec.time_zone).map_err(|r| vec![r])?;
        let written = spec.events.iter().map(|event| Event::read(event, &zone));
        let mut read: Vec<_> = written.collect();
        if let Some(ics) = &spec.ics {
            read.extend(ics::events(ics, &zone));
        }
        let (mut events, mut refused) = (Vec::new(), Vec::new());
        for event in read {
            match event {
                Ok(event) => events.push(event),
                Err(refusal) => refused.push(refusal),
            }
        }
        if !refused.is_empty() {
            return Err(refused);
        }
        Ok(Self {
            is_open: spec.default == CalendarState::Open,
            zone,
            events,
        })
    }

    /// What it is at an instant, and until when.
    pub fn at(&self, instant: Timestamp) -> State<'_> {
        let Standing { open, event, .. } = self.now(instant);
        let until = self.flips(instant).next().map(|flip| flip.at);
        State { open, event, until }
    }

    pub fn is_open(&self, instant: Timestamp) -> bool {
        self.now(instant).open
    }

    /// The flips after an instant, in their order.
    pub fn flips(&self, after: Timestamp) -> impl Iterator<Item = Flip<'_>> {
        let mut walk = Walk::new(self, after);
        iter::from_fn(move || walk.flip()).fuse()
    }

    /// The zone of its local times.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// A time as somebody types it: of UTC, with an offset, or local in the calendar's zone.
    pub fn instant(&self, typed: &str) -> Option<Timestamp> {
        let local = || Moment::read(typed)?.instant(&self.zone);
        typed.parse().ok().or_else(local)
    }

    /// Its windows and freezes, those of `ics` last.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    fn now(&self, at: Timestamp) -> Standing<'_> {
        self.standing(|_, event| event.times.hold(at))
    }

    /// What holds, where `hold` says until when each event does.
    fn standing(&self, mut hold: impl FnMut(usize, &Event) -> Option<Timestamp>) -> Standing<'_> {
        for effect in [CalendarEffect::Freeze, CalendarEffect::Window] {
            let of = self.events.iter().enumerate();
            let of = of.filter(|(_, event)| event.effect == effect);
            let mut holding = of.filter_map(|(n, event)| Some((event, hold(n, event)?)));
            if let Some((event, end)) = holding.next() {
                let end = holding.map(|(_, end)| end).fold(end, Ord::max);
                return Standing {
                    open: effect == CalendarEffect::Window,
                    event: Some(event),
                    end: Some(end),
                };
            }
        }
        Standing {
            open: self.is_open,
            event: None,
            end: None,
        }
    }
}

#[cfg(test)]
mod tests;
