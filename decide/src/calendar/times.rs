//! When an event holds: intervals that are listed, or occurrences of a rule that are found where one looks. Local times become instants here: one that does not exist is that after the change of summer time, one that exists twice is the first.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{moment::Moment, recurrence::Recurrence, rule::Rule};

/// The longest of occurrences that come again.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Further than instants are from the order of their local times: a zone may skip a day.
const FAR: SignedDuration = SignedDuration::from_hours(48);

/// As somebody wrote them, on a clock of the zone.
#[derive(Clone, Debug)]
pub struct Written {
    pub zone: TimeZone,
    /// One alone where a rule repeats it.
    pub starts: Vec<DateTime>,
    pub length: Length,
    pub rule: Option<Rule>,
    pub except: Vec<Moment>,
}

/// How long an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As time goes by.
    Elapsed(SignedDuration),
    /// By the clock: a day of 23 hours is one too.
    Local(SignedDuration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    start: Timestamp,
    end: Timestamp,
}

#[derive(Clone, Debug)]
pub enum Times {
    Listed(Vec<Interval>),
    Recurring(Box<Recurring>),
}

#[derive(Clone, Debug)]
pub struct Recurring {
    recurrence: Recurrence,
    written: Written,
}

impl Times {
    pub fn read(mut written: Written) -> Result<Self, String> {
        let Some(mut rule) = written.rule.take() else {
            return Ok(Self::Listed(written.intervals(&written.starts)));
        };
        if written.length.get() > LONGEST {
            return Err("what comes again is at most 366 days long".into());
        }
        let first = *written.starts.first().ok_or("it has no start")?;
        let count = rule.count.take();
        let recurrence = Recurrence::new(rule, first, &written.zone);
        let times = recurrence.between(first, DateTime::MAX);
        let known: Vec<_> = times.take(count.unwrap_or(1)).collect();
        if known.is_empty() {
            return Err("no time of it comes within ten years of its start".into());
        }
        if count.is_some() {
            return Ok(Self::Listed(written.intervals(&known)));
        }
        Ok(Self::Recurring(Box::new(Recurring {
            recurrence,
            written,
        })))
    }

    /// Until when the event holds, if it holds at this instant.
    pub fn hold(&self, at: Timestamp) -> Option<Timestamp> {
        let holding = |all: &mut dyn Iterator<Item = Interval>| {
            let held = all.filter(|i| i.start <= at && at < i.end);
            held.map(|i| i.end).max()
        };
        match self {
            Self::Listed(all) => holding(&mut all.iter().copied()),
            Self::Recurring(of) => {
                let here = of.written.zone.to_datetime(at);
                let back = FAR.saturating_add(of.written.length.get());
                holding(&mut of.between(here.saturating_sub(back), here.saturating_add(FAR)))
            }
        }
    }

    /// When the event begins next.
    pub fn begins_after(&self, at: Timestamp) -> Option<Timestamp> {
        let next = |all: &mut dyn Iterator<Item = Interval>| {
            let starts = all.map(|i| i.start);
            starts.filter(|start| *start > at).min()
        };
        match self {
            Self::Listed(all) => next(&mut all.iter().copied()),
            Self::Recurring(of) => {
                let from = of.written.zone.to_datetime(at).saturating_sub(FAR);
                let first = of.between(from, DateTime::MAX).find(|i| i.start > at)?;
                let there = of.written.zone.to_datetime(first.start);
                next(&mut of.between(from, there.saturating_add(FAR)))
            }
        }
    }
}

impl Recurring {
    fn between(&self, from: DateTime, to: DateTime) -> impl Iterator<Item = Interval> {
        let starts = self.recurrence.between(from, to);
        starts.filter_map(|start| self.written.interval(start))
    }
}

impl Written {
    fn intervals(&self, starts: &[DateTime]) -> Vec<Interval> {
        starts
            .iter()
            .filter_map(|start| self.interval(*start))
            .collect()
    }

    /// None where it is left out, lasts no time or is beyond all calendars.
    fn interval(&self, local: DateTime) -> Option<Interval> {
        let start = self.zone.to_timestamp(local).ok()?;
        let is = |except: &Moment| match except {
            Moment::Date(date) => local.date() == *date,
            Moment::Local(other) => local == *other,
            Moment::Instant(at) => start == *at,
        };
        if self.except.iter().any(is) {
            return None;
        }
        let end = match self.length {
            Length::Elapsed(length) => start.checked_add(length).ok()?,
            Length::Local(length) => {
                let end = local.checked_add(length).ok()?;
                self.zone.to_timestamp(end).ok()?
            }
        };
        (start < end).then_some(Interval { start, end })
    }
}

impl Length {
    pub fn get(self) -> SignedDuration {
        match self {
            Self::Elapsed(length) | Self::Local(length) => length,
        }
    }
}
