//! The local times of a rule, in their order, from wherever one looks. Work is bounded: a rule that is silent for ten years is over.

use std::iter;

use jiff::{
    ToSpan as _,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

use super::{
    moment::Moment,
    rule::{Day, Freq, Rule},
};

/// Longer than the eight years between some 29ths of February.
const SILENCE: i16 = 10;

/// A rule from its first time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence {
    rule: Rule,
    start: DateTime,
    /// No time comes after this one.
    last: DateTime,
}

impl Recurrence {
    /// UNTIL is a time of the zone, or of UTC, and itself within; a date is within as a whole.
    pub fn new(mut rule: Rule, start: DateTime, zone: &TimeZone) -> Self {
        if rule.hours.is_empty() {
            rule.hours.push(start.hour());
        }
        if rule.minutes.is_empty() {
            rule.minutes.push(start.minute());
        }
        let last = match rule.until {
            None => DateTime::MAX,
            Some(Moment::Date(date)) => date.to_datetime(Time::MAX),
            Some(until) => until.local(zone),
        };
        Self { rule, start, last }
    }

    /// Times from one to another, both within.
    pub fn between(&self, from: DateTime, to: DateTime) -> impl Iterator<Item = DateTime> {
        let (from, last) = (from.max(self.start), to.min(self.last));
        let mut period = self.aligned(self.period(from.date()));
        let mut heard = from.year();
        let all = iter::from_fn(move || {
            let first = period?;
            if first > last.date() || first.year() - heard > SILENCE {
                return None;
            }
            period = self.following(first, self.rule.interval);
            let times = self.times_in(first);
            if !times.is_empty() {
                heard = first.year();
            }
            Some(times)
        });
        let known = all.flatten().skip_while(move |at| *at < from);
        known.take_while(move |at| *at <= last)
    }

    /// The first day of the year, month or week that a day is in.
    fn period(&self, date: Date) -> Date {
        match self.rule.freq {
            Freq::Yearly => date.first_of_year(),
            Freq::Monthly => date.first_of_month(),
            Freq::Weekly => {
                let days = date.weekday().since(self.rule.week_start);
                date.saturating_sub(i64::from(days).days())
            }
            Freq::Daily => date,
        }
    }

    /// The first day of the period that comes so many later.
    fn following(&self, first: Date, periods: i64) -> Option<Date> {
        let span = match self.rule.freq {
            Freq::Yearly => periods.years(),
            Freq::Monthly => periods.months(),
            Freq::Weekly => periods.weeks(),
            Freq::Daily => periods.days(),
        };
        first.checked_add(span).ok()
    }

    /// This period or the next one that INTERVAL does not leave out.
    fn aligned(&self, first: Date) -> Option<Date> {
        let start = self.period(self.start.date());
        let days = first.duration_since(start).as_hours() / 24;
        let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
        let gone = match self.rule.freq {
            Freq::Yearly => i64::from(first.year() - start.year()),
            Freq::Monthly => months(first) - months(start),
            Freq::Weekly => days / 7,
            Freq::Daily => days,
        };
        match gone.rem_euclid(self.rule.interval) {
            0 => Some(first),
            over => self.following(first, self.rule.interval - over),
        }
    }

    fn times_in(&self, first: Date) -> Vec<DateTime> {
        let end = self.following(first, 1);
        let days = iter::successors(Some(first), |day| day.tomorrow().ok());
        let days = days.take_while(|day| end.is_none_or(|end| *day < end));
        let days = days.filter(|day| self.has(*day));
        let times: Vec<_> = days.flat_map(|day| self.times_on(day)).collect();
        let mut chosen = match &self.rule.positions[..] {
            [] => times,
            positions => at_positions(&times, positions),
        };
        chosen.retain(|at| *at >= self.start);
        chosen
    }

    fn times_on(&self, day: Date) -> impl Iterator<Item = DateTime> {
        let second = self.start.second();
        let of_hour = move |hour: &i8| {
            let hour = *hour;
            let minutes = self.rule.minutes.iter();
            minutes.map(move |minute| day.at(hour, *minute, second, 0))
        };
        self.rule.hours.iter().flat_map(of_hour)
    }

    /// Whether the BY rules have a day; where none names days, the start does.
    fn has(&self, date: Date) -> bool {
        let (rule, start) = (&self.rule, self.start.date());
        let is_day = |day: &i8| [date.day(), date.day() - date.days_in_month() - 1].contains(day);
        let named = !rule.days.is_empty() || !rule.month_days.is_empty();
        let as_start = match rule.freq {
            _ if named => true,
            Freq::Daily => true,
            Freq::Weekly => date.weekday() == start.weekday(),
            Freq::Monthly => date.day() == start.day(),
            Freq::Yearly => {
                let month = !rule.months.is_empty() || date.month() == start.month();
                month && date.day() == start.day()
            }
        };
        as_start
            && (rule.months.is_empty() || rule.months.contains(&date.month()))
            && (rule.month_days.is_empty() || rule.month_days.iter().any(is_day))
            && (rule.days.is_empty() || rule.days.iter().any(|day| self.is(*day, date)))
    }

    /// Whether a date is this day of the week, counted in its year where nothing names months.
    fn is(&self, day: Day, date: Date) -> bool {
        let of_year = self.rule.freq == Freq::Yearly && self.rule.months.is_empty();
        let (at, of) = if of_year {
            (date.day_of_year(), date.days_in_year())
        } else {
            (date.day().into(), date.days_in_month().into())
        };
        let nth = i16::from(day.nth);
        let counted = nth == 0 || nth == (at - 1) / 7 + 1 || nth == -((of - at) / 7 + 1);
        day.weekday == date.weekday() && counted
    }
}

/// BYSETPOS: those of a period that are counted from its beginning or its end.
fn at_positions(times: &[DateTime], positions: &[i16]) -> Vec<DateTime> {
    let of = |(index, time): (usize, &DateTime)| {
        let from_start = i16::try_from(index + 1).ok()?;
        let from_end = -i16::try_from(times.len() - index).ok()?;
        let is = positions.contains(&from_start) || positions.contains(&from_end);
        is.then_some(*time)
    };
    times.iter().enumerate().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules, their starts and the first times of each, or all of those with UNTIL; mostly the examples of RFC 5545, 3.8.5.3. The last one would come in 2048, but not within ten years.
    const RULES: &str = "
FREQ=DAILY 1997-09-02T09:00: 1997-09-02 09:00, 1997-09-03 09:00
FREQ=DAILY;INTERVAL=10 1997-09-02T09:00: 1997-09-02 09:00, 1997-09-12 09:00, 1997-09-22 09:00
FREQ=DAILY;UNTIL=19970903 1997-09-02T09:00: 1997-09-02 09:00, 1997-09-03 09:00
FREQ=DAILY;UNTIL=19970903T085959 1997-09-02T09:00: 1997-09-02 09:00
FREQ=DAILY;BYHOUR=9,17;BYMINUTE=0,30 1997-09-02T09:00: 1997-09-02 09:00, 1997-09-02 09:30, 1997-09-02 17:00, 1997-09-02 17:30, 1997-09-03 09:00
FREQ=WEEKLY 1997-09-02T09:00: 1997-09-02 09:00, 1997-09-09 09:00
FREQ=WEEKLY;BYDAY=SA,SU 1997-09-02T09:00: 1997-09-06 09:00, 1997-09-07 09:00, 1997-09-13 09:00
FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO 1997-08-05T09:00: 1997-08-05 09:00, 1997-08-10 09:00, 1997-08-19 09:00, 1997-08-24 09:00
FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU 1997-08-05T09:00: 1997-08-05 09:00, 1997-08-17 09:00, 1997-08-19 09:00, 1997-08-31 09:00
FREQ=MONTHLY 1997-10-31T09:00: 1997-10-31 09:00, 1997-12-31 09:00, 1998-01-31 09:00, 1998-03-31 09:00
FREQ=MONTHLY;BYDAY=1FR 1997-09-05T09:00: 1997-09-05 09:00, 1997-10-03 09:00
FREQ=MONTHLY;INTERVAL=2;BYDAY=1SU,-1SU 1997-09-07T09:00: 1997-09-07 09:00, 1997-09-28 09:00, 1997-11-02 09:00, 1997-11-30 09:00
FREQ=MONTHLY;BYMONTHDAY=-3 1997-09-28T09:00: 1997-09-28 09:00, 1997-10-29 09:00, 1997-11-28 09:00
FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13 1997-09-02T09:00: 1998-02-13 09:00, 1998-03-13 09:00, 1998-11-13 09:00
FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2 1997-09-29T09:00: 1997-09-29 09:00, 1997-10-30 09:00, 1997-11-27 09:00
FREQ=MONTHLY;BYDAY=TU,WE,TH;BYSETPOS=3 1997-09-04T09:00: 1997-09-04 09:00, 1997-10-07 09:00, 1997-11-06 09:00
FREQ=YEARLY 1997-09-02T09:00: 1997-09-02 09:00, 1998-09-02 09:00
FREQ=YEARLY;BYMONTH=6,7 1997-06-10T09:00: 1997-06-10 09:00, 1997-07-10 09:00, 1998-06-10 09:00
FREQ=YEARLY;BYDAY=20MO 1997-05-19T09:00: 1997-05-19 09:00, 1998-05-18 09:00, 1999-05-17 09:00
FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU 1997-01-01T02:00: 1997-10-26 02:00, 1998-10-25 02:00
FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8 1996-11-05T09:00: 1996-11-05 09:00, 2000-11-07 09:00, 2004-11-02 09:00
FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29 2096-01-01T00:00: 2096-02-29 00:00, 2104-02-29 00:00
FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30 2026-01-01T00:00:
FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30 2026-01-01T00:00:
FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=TH,SA 2025-01-01T00:00:
";

    /// The first times of a rule.
    fn first(rule: &str, start: &str, many: usize) -> Vec<String> {
        let rule = Rule::read(rule).expect("a rule");
        let start: DateTime = start.parse().expect("a time");
        let recurrence = Recurrence::new(rule, start, &TimeZone::UTC);
        let times = recurrence.between(start, DateTime::MAX);
        let times = times.take(many);
        times
            .map(|at| at.strftime("%F %H:%M").to_string())
            .collect()
    }

    #[test]
    fn each_rule_has_the_times_that_the_standard_gives_it() {
        for line in RULES.lines().filter(|line| !line.is_empty()) {
            let (rule, rest) = line.split_once(' ').expect("a start follows");
            let (start, times) = rest.split_at("1997-09-02T09:00".len());
            let times = times.trim_start_matches(':').trim();
            let times: Vec<_> = times.split(", ").filter(|t| !t.is_empty()).collect();
            let many = if rule.contains("UNTIL") {
                9
            } else {
                times.len().max(1)
            };
            assert_eq!(first(rule, start, many), times, "{rule}");
        }
    }

    #[test]
    fn a_rule_ends_with_the_calendar_of_the_program() {
        assert_eq!(first("FREQ=YEARLY", "9998-05-01T00:00", 9).len(), 2);
    }
}
