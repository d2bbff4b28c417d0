//! RRULE of iCalendar (RFC 5545, 3.3.10) as it was written. What is not understood is refused by its name.

use std::{collections::BTreeSet, fmt::Display, ops::RangeInclusive, str::FromStr};

use jiff::civil::Weekday;

use super::moment::Moment;

/// Occurrences that COUNT may ask for; UNTIL has no such bound.
const COUNT: RangeInclusive<usize> = 1..=1000;
/// Occurrences in a day, so that those of a year are a few thousand.
const A_DAY: usize = 24;
const WEEKDAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Monday),
    ("TU", Weekday::Tuesday),
    ("WE", Weekday::Wednesday),
    ("TH", Weekday::Thursday),
    ("FR", Weekday::Friday),
    ("SA", Weekday::Saturday),
    ("SU", Weekday::Sunday),
];

/// Lists are sorted, and empty where nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub freq: Freq,
    pub interval: i64,
    pub count: Option<usize>,
    pub until: Option<Moment>,
    pub months: Vec<i8>,
    pub month_days: Vec<i8>,
    pub days: Vec<Day>,
    pub hours: Vec<i8>,
    pub minutes: Vec<i8>,
    pub positions: Vec<i16>,
    pub week_start: Weekday,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freq {
    Yearly,
    Monthly,
    Weekly,
    Daily,
}

/// A day of the week; `nth` of its month or year counts from 1, or from the end where it is negative, and is 0 for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    pub nth: i8,
    pub weekday: Weekday,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            freq: Freq::Daily,
            interval: 1,
            count: None,
            until: None,
            months: Vec::new(),
            month_days: Vec::new(),
            days: Vec::new(),
            hours: Vec::new(),
            minutes: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Monday,
        }
    }
}

impl Rule {
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_uppercase();
        let parts = text.strip_prefix("RRULE:").unwrap_or(&text);
        let (mut rule, mut seen) = (Self::default(), BTreeSet::new());
        for part in parts.trim_end_matches(';').split(';') {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is no NAME=VALUE"))?;
            if !seen.insert(name) {
                return Err(format!("{name} is written twice"));
            }
            rule.take(name, value)?;
        }
        if !seen.contains("FREQ") {
            return Err("it has no FREQ".into());
        }
        rule.hangs_together()?;
        Ok(rule)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "FREQ" => self.freq = Freq::read(value)?,
            "INTERVAL" => self.interval = number(name, value, &(1..=3650))?,
            "COUNT" => self.count = Some(number(name, value, &COUNT)?),
            "UNTIL" => {
                let until = Moment::read(value);
                let wrong = || format!("UNTIL={value} is no time; write UNTIL=20261231");
                self.until = Some(until.ok_or_else(wrong)?);
            }
            "BYMONTH" => self.months = numbers(name, value, &(1..=12))?,
            "BYMONTHDAY" => self.month_days = numbers(name, value, &(-31..=31))?,
            "BYDAY" => self.days = value.split(',').map(Day::read).collect::<Result<_, _>>()?,
            "BYHOUR" => self.hours = numbers(name, value, &(0..=23))?,
            "BYMINUTE" => self.minutes = numbers(name, value, &(0..=59))?,
            "BYSETPOS" => self.positions = numbers(name, value, &(-366..=366))?,
            "WKST" => self.week_start = weekday(value).ok_or_else(|| no_day(value))?,
            "BYSECOND" | "BYYEARDAY" | "BYWEEKNO" | "RSCALE" | "SKIP" => {
                return Err(format!("{name} is not supported"));
            }
            _ => return Err(format!("there is no {name}")),
        }
        Ok(())
    }

    /// What parts say of each other.
    fn hangs_together(&self) -> Result<(), String> {
        let (longest, name) = self.freq.ten_years();
        let ordinal = self.days.iter().any(|day| day.nth != 0);
        let by_month = matches!(self.freq, Freq::Yearly | Freq::Monthly);
        let a_day = self.hours.len().max(1) * self.minutes.len().max(1);
        let alone = self.days.is_empty() && self.month_days.is_empty() && self.months.is_empty();
        let wrong = [
            (
                self.count.is_some() && self.until.is_some(),
                "it has COUNT and UNTIL; write one of them".to_owned(),
            ),
            (
                self.interval > longest,
                format!("INTERVAL is at most {longest} with FREQ={name}, which are ten years"),
            ),
            (
                ordinal && !by_month,
                "BYDAY has a number, as in 1MO, only with FREQ=MONTHLY or YEARLY".to_owned(),
            ),
            (
                !self.month_days.is_empty() && self.freq == Freq::Weekly,
                "BYMONTHDAY is not for FREQ=WEEKLY".to_owned(),
            ),
            (
                !self.positions.is_empty() && alone && a_day == 1,
                "BYSETPOS chooses among what another BY rule gives".to_owned(),
            ),
            (
                a_day > A_DAY,
                format!("BYHOUR and BYMINUTE give more than {A_DAY} times a day"),
            ),
            (
                [&self.months, &self.month_days]
                    .iter()
                    .any(|l| l.contains(&0))
                    || self.positions.contains(&0),
                "days and positions are counted from 1, or from -1 at the end".to_owned(),
            ),
        ];
        let mut wrong = wrong.into_iter().filter(|(is, _)| *is);
        wrong.next().map_or(Ok(()), |(_, why)| Err(why))
    }
}

impl Freq {
    /// How many of its periods are in ten years, and its name.
    fn ten_years(self) -> (i64, &'static str) {
        match self {
            Self::Yearly => (10, "YEARLY"),
            Self::Monthly => (120, "MONTHLY"),
            Self::Weekly => (520, "WEEKLY"),
            Self::Daily => (3650, "DAILY"),
        }
    }

    fn read(value: &str) -> Result<Self, String> {
        match value {
            "YEARLY" => Ok(Self::Yearly),
            "MONTHLY" => Ok(Self::Monthly),
            "WEEKLY" => Ok(Self::Weekly),
            "DAILY" => Ok(Self::Daily),
            "HOURLY" | "MINUTELY" | "SECONDLY" => Err(format!(
                "FREQ={value} is not supported; write FREQ=DAILY, with BYHOUR for several times a day"
            )),
            _ => Err(format!(
                "there is no FREQ={value}; write YEARLY, MONTHLY, WEEKLY or DAILY"
            )),
        }
    }
}

impl Day {
    fn read(value: &str) -> Result<Self, String> {
        let at = value
            .len()
            .checked_sub(2)
            .filter(|at| value.is_char_boundary(*at));
        let (nth, day) = value.split_at(at.ok_or_else(|| no_day(value))?);
        let weekday = weekday(day).ok_or_else(|| no_day(value))?;
        let nth = match nth {
            "" => 0,
            nth => number("BYDAY", nth, &(-53..=53))?,
        };
        Ok(Self { nth, weekday })
    }
}

fn weekday(value: &str) -> Option<Weekday> {
    let mut all = WEEKDAYS.into_iter();
    all.find(|(name, _)| *name == value).map(|(_, day)| day)
}

fn no_day(value: &str) -> String {
    format!("{value:?} is no day of the week; write MO, TU, WE, TH, FR, SA or SU")
}

fn number<T>(name: &str, value: &str, within: &RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let number = value.parse().ok().filter(|number| within.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (within.start(), within.end());
        format!("{name}={value} is no whole number from {least} to {most}")
    })
}

fn numbers<T>(name: &str, value: &str, within: &RangeInclusive<T>) -> Result<Vec<T>, String>
where
    T: FromStr + Ord + Display,
{
    let numbers = value.split(',').map(|one| number(name, one, within));
    let sorted: BTreeSet<T> = numbers.collect::<Result<_, _>>()?;
    Ok(sorted.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, why) in [
            ("", "NAME=VALUE"),
            ("BYDAY=MO", "no FREQ"),
            ("FREQ=SECONDLY", "FREQ=SECONDLY is not supported"),
            ("FREQ=HOURLY", "BYHOUR"),
            ("FREQ=FORTNIGHTLY", "there is no FREQ=FORTNIGHTLY"),
            ("FREQ=DAILY;FREQ=DAILY", "FREQ is written twice"),
            ("FREQ=DAILY;BYEASTER=1", "there is no BYEASTER"),
            ("FREQ=YEARLY;BYWEEKNO=20", "BYWEEKNO is not supported"),
            ("FREQ=YEARLY;INTERVAL=1000", "at most 10 with FREQ=YEARLY"),
            ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0"),
            ("FREQ=DAILY;COUNT=1001", "from 1 to 1000"),
            ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "COUNT and UNTIL"),
            ("FREQ=DAILY;UNTIL=soon", "UNTIL=SOON is no time"),
            ("FREQ=WEEKLY;BYDAY=1MO", "FREQ=MONTHLY or YEARLY"),
            ("FREQ=WEEKLY;BYDAY=MON", "\"MON\" is no"),
            ("FREQ=WEEKLY;BYDAY=,", "\"\" is no day"),
            ("FREQ=WEEKLY;BYDAY=ü", "is no day"),
            ("FREQ=WEEKLY;BYMONTHDAY=1", "not for FREQ=WEEKLY"),
            ("FREQ=MONTHLY;BYMONTHDAY=0", "counted from 1"),
            ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS chooses"),
            (
                "FREQ=DAILY;BYHOUR=1,2;BYMINUTE=0,5,10,15,20,25,30,35,40,45,50,55,59",
                "24 times",
            ),
        ] {
            let refused = Rule::read(text).expect_err(text);
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn lists_are_sorted_and_names_are_read_in_any_case() {
        let rule =
            Rule::read("RRULE:freq=monthly;byday=-1fr,MO;BYMONTH=12,3,3;WKST=SU;").expect("a rule");
        assert_eq!(
            (rule.freq, rule.months, rule.week_start),
            (Freq::Monthly, vec![3, 12], Weekday::Sunday)
        );
        let days: Vec<_> = rule.days.iter().map(|day| (day.nth, day.weekday)).collect();
        assert_eq!(days, [(-1, Weekday::Friday), (0, Weekday::Monday)]);
    }
}
