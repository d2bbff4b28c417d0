//! When a task fires: at, every, and cron in local time, through changes of summer time and closed dates.

use crds::v1alpha1::{Dst, Duration, ScheduledTaskSpec, Suppressed, clip, whole_second};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    SignedDuration, Timestamp, Zoned,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

use super::{
    MESSAGE,
    calendar::{Calendar, Closed},
    gate::Gate,
};
use crate::{Refusal, zone};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// Longer than any change of an offset.
const FAR: SignedDuration = SignedDuration::from_hours(48);

/// A schedule that was read.
#[derive(Clone, Debug)]
pub struct Timetable {
    times: Times,
    zone: TimeZone,
    calendar: Calendar,
    gate: Gate,
    expires: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Times {
    At(Timestamp),
    Every {
        first: Timestamp,
        interval: SignedDuration,
    },
    Cron {
        cron: Box<Cron>,
        dst: Dst,
        /// The hour is a wildcard, so what counts is elapsed time.
        elapsed: bool,
    },
}

/// A moment of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    pub at: Timestamp,
    /// Why nothing fires then.
    pub closed: Option<Cause>,
}

/// Why something does not fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub reason: &'static str,
    pub message: String,
}

impl Cause {
    /// The message as a status has room for it.
    pub fn told(&self) -> String {
        clip(&self.message, MESSAGE)
    }
}

/// Where to go on.
#[derive(Clone, Copy)]
struct Cursor {
    at: Timestamp,
    /// The moment itself counts.
    inclusive: bool,
}

impl Cursor {
    fn past(at: Timestamp) -> Self {
        let inclusive = false;
        Self { at, inclusive }
    }

    fn on(at: Timestamp) -> Self {
        let inclusive = true;
        Self { at, inclusive }
    }

    fn holds(self, at: Timestamp) -> bool {
        at > self.at || (self.inclusive && at == self.at)
    }
}

/// A moment that is met on the way.
struct Met {
    at: Timestamp,
    date: Date,
    /// The local time does not exist, and is not to be made up for.
    lost: Option<DateTime>,
}

impl Timetable {
    pub fn read(spec: &ScheduledTaskSpec, created: Timestamp) -> Result<Self, Refusal> {
        let schedule = &spec.schedule;
        let zone = match &schedule.time_zone {
            Some(name) => zone::named("spec.schedule.timeZone", name)?,
            None => TimeZone::UTC,
        };
        let times = match (&schedule.at, &schedule.every, &schedule.cron) {
            (Some(at), _, _) => Times::At(at.0),
            (_, Some(every), _) => every_from(*every, schedule.from.as_ref().map(|t| t.0), created),
            (_, _, Some(cron)) => Times::Cron {
                cron: Box::new(read_cron(cron)?),
                dst: spec.dst,
                elapsed: hour(cron).is_some_and(|hour| hour.starts_with('*')),
            },
            _ => return Err(Refusal::new("ScheduleInvalid", "spec.schedule is empty")),
        };
        Ok(Self {
            times,
            zone,
            calendar: Calendar::read(spec.calendars.as_ref())?,
            gate: Gate::default(),
            expires: spec.expires.as_ref().map(|at| at.0),
        })
    }

    /// The same, where nothing fires while ChangeCalendars are closed.
    #[must_use]
    pub fn guarded(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }

    /// What is lacking of the ChangeCalendars.
    pub fn lacking(&self) -> Option<&Refusal> {
        self.gate.lacking()
    }

    /// Why nothing may start at this instant, whenever it was due.
    pub fn shut(&self, at: Timestamp) -> Option<Refusal> {
        let closed = || {
            let (cause, _) = self.gate.closed(at)?;
            Some(Refusal::new(cause.reason, cause.message))
        };
        self.lacking().cloned().or_else(closed)
    }

    /// The moments after this one, in their order. Of a stretch of closed time only the first moment is told.
    pub fn after(&self, instant: Timestamp) -> impl Iterator<Item = Moment> {
        self.along(Some(Cursor::past(whole_second(instant))))
    }

    /// The same, without the rest of a stretch of closed time that this has told of.
    pub fn after_told(
        &self,
        instant: Timestamp,
        told: Option<&Suppressed>,
    ) -> impl Iterator<Item = Moment> {
        self.along(match self.closed(&self.met(instant)) {
            Some((_, opens)) if told.is_some_and(|t| self.told_until(t, instant, opens)) => {
                opens.map(Cursor::on)
            }
            _ => Some(Cursor::past(whole_second(instant))),
        })
    }

    /// Whether this has told of a stretch of closed time that an instant lies in and that opens then.
    fn told_until(&self, told: &Suppressed, instant: Timestamp, opens: Option<Timestamp>) -> bool {
        let closed = self.closed(&self.met(told.at.0));
        told.at.0 <= instant
            && closed.is_some_and(|(cause, also)| {
                told.reason == cause.reason && told.message == cause.told() && opens == also
            })
    }

    fn along(&self, mut cursor: Option<Cursor>) -> impl Iterator<Item = Moment> {
        std::iter::from_fn(move || {
            let (moment, rest) = self.next(cursor?)?;
            cursor = rest;
            Some(moment)
        })
        .take_while(|moment| self.expires.is_none_or(|end| moment.at <= end))
    }

    /// A moment in local time, for people.
    pub fn local(&self, at: Timestamp) -> Zoned {
        at.to_zoned(self.zone.clone())
    }

    fn next(&self, cursor: Cursor) -> Option<(Moment, Option<Cursor>)> {
        let met = match &self.times {
            Times::At(at) => cursor.holds(*at).then(|| self.met(*at)),
            Times::Every { first, interval } => {
                every_next(*first, *interval, cursor).map(|at| self.met(at))
            }
            Times::Cron { cron, dst, elapsed } => self.local_next(cron, *dst, *elapsed, cursor),
        }?;
        let at = met.at;
        let moment = |closed| Moment { at, closed };
        if let Some((cause, opens)) = self.closed(&met) {
            return Some((moment(Some(cause)), opens.map(Cursor::on)));
        }
        Some(match met.lost {
            None => (moment(None), Some(Cursor::past(at))),
            // The moment of the change may be one of the schedule itself.
            Some(lost) => (moment(Some(gap(lost))), Some(Cursor::on(at))),
        })
    }

    /// Why a moment is none, and when there are some again.
    fn closed(&self, met: &Met) -> Option<(Cause, Option<Timestamp>)> {
        let Some(closed) = self.calendar.closed(met.date) else {
            return self.gate.closed(met.at);
        };
        let Closed {
            reason,
            message,
            opens,
        } = closed;
        let opens = opens.and_then(|date| self.zone.to_timestamp(date.at(0, 0, 0, 0)).ok());
        Some((Cause { reason, message }, opens))
    }

    fn met(&self, at: Timestamp) -> Met {
        let date = self.local(at).date();
        let lost = None;
        Met { at, date, lost }
    }

    /// The next local time of a cron that is an instant, or becomes one at a change of the offset.
    fn local_next(&self, cron: &Cron, dst: Dst, elapsed: bool, mut cursor: Cursor) -> Option<Met> {
        loop {
            let here = self.local(cursor.at);
            let local = civil_next(cron, here.datetime(), cursor.inclusive)?;
            let at = here.offset().to_timestamp(local).ok()?;
            let change = self.zone.following(cursor.at).next();
            let Some(change) = change.filter(|change| change.timestamp() <= at) else {
                if elapsed || dst == Dst::RunBoth || !self.is_repeated(local, at) {
                    let (date, lost) = (local.date(), None);
                    return Some(Met { at, date, lost });
                }
                cursor = Cursor::past(at);
                continue;
            };
            let at = change.timestamp();
            if !elapsed && local < change.offset().to_datetime(at) {
                let lost = (dst == Dst::Skip).then_some(local);
                return Some(Met {
                    at,
                    date: local.date(),
                    lost,
                });
            }
            // Where the next local time is far away, no change before it matters.
            let near = self.zone.to_timestamp(local.saturating_sub(FAR)).ok()?;
            cursor = Cursor::on(at.max(near));
        }
    }

    /// Whether a local time exists twice, and this is the second one.
    fn is_repeated(&self, local: DateTime, at: Timestamp) -> bool {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Fold { after, .. } => after.to_timestamp(local).ok() == Some(at),
            _ => false,
        }
    }
}

fn gap(lost: DateTime) -> Cause {
    Cause {
        reason: "DstGap",
        message: format!("the local time {lost} does not exist, and spec.dst is Skip"),
    }
}

fn every_from(every: Duration, from: Option<Timestamp>, created: Timestamp) -> Times {
    let interval = every.whole().max(SECOND);
    let first = from.unwrap_or_else(|| created.saturating_add(interval).expect("a fixed length"));
    Times::Every { first, interval }
}

/// The next of a regular row of moments.
fn every_next(first: Timestamp, interval: SignedDuration, cursor: Cursor) -> Option<Timestamp> {
    if cursor.holds(first) {
        return Some(first);
    }
    let gone = cursor.at.duration_since(first).as_secs() / interval.as_secs();
    let of = |count: i64| {
        let length = interval.as_secs().checked_mul(count)?;
        first.checked_add(SignedDuration::from_secs(length)).ok()
    };
    of(gone)
        .filter(|&at| cursor.holds(at))
        .or_else(|| of(gone + 1))
}

/// The next local time of a cron, as if there were no zones.
fn civil_next(cron: &Cron, local: DateTime, inclusive: bool) -> Option<DateTime> {
    let local = local.to_zoned(TimeZone::UTC).ok()?;
    let next = cron.find_next_occurrence(&local, inclusive).ok()?;
    Some(next.datetime())
}

fn hour(cron: &str) -> Option<&str> {
    cron.split_whitespace().nth(2)
}

fn read_cron(text: &str) -> Result<Cron, Refusal> {
    let invalid = |why: String| {
        Refusal::new(
            "CronInvalid",
            format!(
                "spec.schedule.cron {text:?}: {why}; write second, minute, hour, day of month, month and day of week, as in \"0 15 3 ? * MON-FRI\""
            ),
        )
    };
    let fields: Vec<_> = text.split_whitespace().collect();
    let [_, _, _, day, _, weekday] = fields[..] else {
        return Err(invalid(format!("it has {} fields, not six", fields.len())));
    };
    if [day, weekday]
        .iter()
        .all(|field| !["?", "*"].contains(field))
    {
        return Err(invalid(
            "it names a day of the month and one of the week; one of the two has to be ?".into(),
        ));
    }
    if fields
        .iter()
        .any(|field| field.split(',').any(str::is_empty))
    {
        return Err(invalid("nothing stands before or after a comma".into()));
    }
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .alternative_weekdays(true)
        .sloppy_ranges(true)
        .build()
        .parse(text)
        .map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
#[path = "timetable_tests.rs"]
mod tests;
