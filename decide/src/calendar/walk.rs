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
    fn of(event: &Event, at: Timestamp) -> Self {
        let (end, times) = (event.times.hold(at), &event.times);
        let begins = || times.begins_after(at).unwrap_or(Timestamp::MAX);
        Self {
            holds: end.is_some(),
            until: end.unwrap_or_else(begins),
        }
    }

    /// Looks at an event, unless what is known of it is still so.
    fn at(&mut self, at: Timestamp, look: impl FnOnce() -> Self) -> Self {
        if self.until <= at {
            *self = look();
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
            let known = known[number].at(at, || Known::of(event, at));
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
        let (at, all) = (self.at, self.calendar.events.iter().zip(&mut self.known));
        let of = all.filter(|(event, _)| event.effect == effect);
        let begins = of.map(|(event, known)| known.at(at, || Known::of(event, at)).until);
        begins.min().filter(|at| *at < Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use super::*;
    use crate::calendar::tests::{at, calendar};

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn day(number: usize) -> Timestamp {
        at("2026-11-01T00:00:00Z") + DAY * i32::try_from(number).expect("few days")
    }

    /// Each day is a freeze, so each is followed; three more events come once in decades.
    #[test]
    fn what_never_flips_is_found_out_in_bounded_work() {
        let daily = |hour: usize| json!({"effect": "Freeze", "start": "2020-01-01", "rrule": format!("FREQ=DAILY;BYHOUR={hour}")});
        let rare = json!({"effect": "Freeze", "start": "2020-01-01T00:00", "end": "2020-12-31T00:00", "rrule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=TH,SA"});
        let mut events: Vec<_> = (0..12).map(daily).collect();
        events.extend(vec![rare; 3]);
        let calendar = calendar("Open", "Europe/Berlin", Value::Array(events));
        let state = calendar.at(day(0));
        assert!(!state.open && state.until.is_none());

        let mut walk = Walk::new(&calendar, day(0));
        assert!(walk.flip().is_none());
        assert_eq!(walk.at, day(FOLLOWED), "a day in each step");
        let untils: Vec<_> = walk.known[12..].iter().map(|known| known.until).collect();
        assert_eq!(untils, [Timestamp::MAX; 3], "nobody looks at them again");
    }

    #[test]
    fn an_event_is_looked_at_again_only_once_it_has_begun_or_ended() {
        let (mut known, mut looks) = (Known::default(), Vec::new());
        for now in 0..FOLLOWED {
            known.at(day(now), || {
                looks.push(now);
                Known {
                    holds: false,
                    until: day(now + 100),
                }
            });
        }
        assert_eq!(looks, [0, 100, 200, 300, 400]);
    }
}
