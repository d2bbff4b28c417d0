//! A window or a freeze as it was read.

use crds::v1alpha1::{CalendarEffect, CalendarEvent};
use jiff::{SignedDuration, tz::TimeZone};

use super::{
    moment::Moment,
    rule::Rule,
    times::{Length, Times, Written},
};
use crate::Refusal;

pub const DAY: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    pub effect: CalendarEffect,
    pub reason: String,
    pub(super) times: Times,
}

impl Event {
    /// Reads one of `spec.events`.
    pub fn read(written: &CalendarEvent, zone: &TimeZone) -> Result<Self, Refusal> {
        let name = &written.name;
        let of = |reason, why| Refusal::new(reason, format!("spec.events {name}: {why}"));
        let rule = written.rrule.as_deref().map(|text| {
            let rule = Rule::read(text);
            rule.map_err(|why| of("RecurrenceInvalid", format!("rrule {text:?}: {why}")))
        });
        let rule = rule.transpose()?;
        let repeats = rule.is_some();
        let plain = plain(written, zone).map_err(|why| of("EventInvalid", why))?;
        let times = Times::read(Written { rule, ..plain }).map_err(|why| {
            let reason = if repeats {
                "RecurrenceInvalid"
            } else {
                "EventInvalid"
            };
            of(reason, why)
        });
        Ok(Self {
            name: name.clone(),
            effect: written.effect,
            reason: written.reason.clone().unwrap_or_else(|| name.clone()),
            times: times?,
        })
    }
}

/// The times of an event without its rule.
fn plain(written: &CalendarEvent, zone: &TimeZone) -> Result<Written, String> {
    let start = moment("start", &written.start)?;
    let end = written.end.as_deref().map(|end| moment("end", end));
    let except = written.exdates.iter().map(|text| moment("exdates", text));
    // What is written in UTC comes again by it.
    let zone = match start {
        Moment::Instant(_) => TimeZone::UTC,
        _ => zone.clone(),
    };
    let first = start.local(&zone);
    let length = match (end.transpose()?, written.duration) {
        (None, Some(length)) => Length::Elapsed(length.whole()),
        (None, None) if start.is_date() => Length::Local(DAY),
        (Some(end), None) => {
            let last = if end.is_date() {
                DAY
            } else {
                SignedDuration::ZERO
            };
            Length::Local(end.local(&zone).duration_since(first) + last)
        }
        _ => return Err("write either end or duration".into()),
    };
    if length.get() <= SignedDuration::ZERO {
        return Err("it ends before it has begun".into());
    }
    Ok(Written {
        zone,
        starts: vec![first],
        length,
        rule: None,
        except: except.collect::<Result<_, _>>()?,
    })
}

fn moment(field: &str, text: &str) -> Result<Moment, String> {
    Moment::read(text).ok_or_else(|| {
        format!(
            "{field}: {text:?} is no time; write 2026-12-24, 2026-12-24T18:00 or 2026-12-24T10:00Z"
        )
    })
}
