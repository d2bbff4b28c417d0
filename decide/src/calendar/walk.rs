//! The way from flip to flip of a calendar. What is known of an event is kept until it begins or ends, so that each is looked at only then.

use crds::v1alpha1::CalendarEffect;
use jiff::Timestamp;

use super::{Calendar, Event, Flip, Standing};

/// Ends and beginnings of events that are followed to the next flip.
const FOLLOWED: usize = 500;

/// What was found of an event at an instant that has passed, and until when that is so.
#[derive(Clone, Copy)]
struct Known {
    holds: bool,
    until: Timestamp,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            holds: false,
            until: Timestamp::MIN,
        }
    }
}

impl Known {
    /// Looks at an event, unless what is known of it is still so.
    fn at(&mut self, event: &Event, at: Timestamp) -> Self {
        if self.until <= at {
            let (end, times) = (event.times.hold(at), &event.times);
            let begins = || times.begins_after(at).unwrap_or(Timestamp::MAX);
            *self = Self {
                holds: end.is_some(),
                until: end.unwrap_or_else(begins),
            };
        }
        *self
    }
}

/// A way through the flips of a calendar.
pub struct Walk<'a> {
    calendar: &'a Calendar,
    at: Timestamp,
    standing: Standing<'a>,
    /// Of each event.
    known: Vec<Known>,
}

impl<'a> Walk<'a> {
    pub fn new(calendar: &'a Calendar, at: Timestamp) -> Self {
        Self {
            calendar,
            at,
            standing: calendar.now(at),
            known: vec![Known::default(); calendar.events.len()],
        }
    }

    /// The next flip, and there one goes on.
    pub fn flip(&mut self) -> Option<Flip<'a>> {
        for _ in 0..FOLLOWED {
            self.at = self.change()?;
            let now = self.look();
            let before = std::mem::replace(&mut self.standing, now);
            if now.open != before.open {
                let event = now.event.or(before.event);
                return Some(Flip {
                    at: self.at,
                    open: now.open,
                    event: event.expect("the default alone never changes"),
                });
            }
        }
        None
    }

    fn look(&mut self) -> Standing<'a> {
        let (at, known) = (self.at, &mut self.known);
        self.calendar.standing(|number, event| {
            let known = known[number].at(event, at);
            known.holds.then_some(known.until)
        })
    }

    /// The next instant at which it may be otherwise.
    fn change(&mut self) -> Option<Timestamp> {
        let Standing { open, event, end } = self.standing;
        match event.map(|event| event.effect) {
            Some(CalendarEffect::Freeze) => end,
            Some(CalendarEffect::Window) => {
                let freeze = self.begins(CalendarEffect::Freeze);
                end.into_iter().chain(freeze).min()
            }
            None if open => self.begins(CalendarEffect::Freeze),
            None => self.begins(CalendarEffect::Window),
        }
    }

    /// When the next event begins, where none of this effect holds.
    fn begins(&mut self, effect: CalendarEffect) -> Option<Timestamp> {
        let all = self.calendar.events.iter().zip(&mut self.known);
        let of = all.filter(|(event, _)| event.effect == effect);
        let begins = of.map(|(event, known)| known.at(event, self.at).until);
        begins.min().filter(|at| *at < Timestamp::MAX)
    }
}
