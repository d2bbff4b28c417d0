//! Dates on which a task fires, or does not.

use crds::v1alpha1::{Calendars, Dates};
use jiff::civil::Date;

use crate::Refusal;

/// Calendars as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    exclude: Vec<Range>,
    include: Vec<Range>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    from: Date,
    to: Date,
    name: String,
}

/// Why a date is closed, and the next one that is open, if there ever is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub reason: &'static str,
    pub message: String,
    pub opens: Option<Date>,
}

impl Calendar {
    pub fn read(written: Option<&Calendars>) -> Result<Self, Refusal> {
        let Some(written) = written else {
            return Ok(Self::default());
        };
        Ok(Self {
            exclude: ranges("exclude", &written.exclude)?,
            include: ranges("include", &written.include)?,
        })
    }

    /// None where the date is open.
    pub fn closed(&self, date: Date) -> Option<Closed> {
        let (reason, message) = self.cause(date)?;
        Some(Closed {
            reason,
            message,
            opens: self.opens(date),
        })
    }

    fn cause(&self, date: Date) -> Option<(&'static str, String)> {
        if let Some(range) = holding(&self.exclude, date) {
            let message = format!("spec.calendars.exclude: {range}");
            return Some(("ExcludedDate", message));
        }
        if self.include.is_empty() || holding(&self.include, date).is_some() {
            return None;
        }
        let message = format!("spec.calendars.include does not have {date}");
        Some(("NotIncludedDate", message))
    }

    /// The first open date after a closed one. A date opens only where a range ends or begins, so that few have to be tried.
    fn opens(&self, closed: Date) -> Option<Date> {
        let ends = self.exclude.iter().filter_map(|r| r.to.tomorrow().ok());
        let edges = ends.chain(self.include.iter().map(|r| r.from));
        let open = edges.filter(|&date| date > closed && self.cause(date).is_none());
        open.min()
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, name } = self;
        let name = if name.is_empty() { "a range" } else { name };
        if from == to {
            write!(f, "{name}, {from}")
        } else {
            write!(f, "{name}, {from} to {to}")
        }
    }
}

fn holding(ranges: &[Range], date: Date) -> Option<&Range> {
    let mut all = ranges.iter();
    all.find(|r| (r.from..=r.to).contains(&date))
}

fn ranges(field: &str, written: &[Dates]) -> Result<Vec<Range>, Refusal> {
    let read = |text: &str| {
        text.parse::<Date>().map_err(|_| {
            Refusal::new(
                "CalendarInvalid",
                format!("spec.calendars.{field}: {text} is no date; write it as in 2026-10-01"),
            )
        })
    };
    let range = |dates: &Dates| {
        Ok(Range {
            from: read(&dates.from)?,
            to: read(dates.to.as_ref().unwrap_or(&dates.from))?,
            name: dates.name.clone().unwrap_or_default(),
        })
    };
    written.iter().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(exclude: &[(&str, &str)], include: &[(&str, &str)]) -> Calendar {
        let dates = |ranges: &[(&str, &str)]| {
            let one = |(from, to): &(&str, &str)| Dates {
                from: (*from).into(),
                to: Some((*to).into()),
                name: None,
            };
            ranges.iter().map(one).collect()
        };
        let written = Calendars {
            exclude: dates(exclude),
            include: dates(include),
        };
        Calendar::read(Some(&written)).expect("dates")
    }

    fn date(text: &str) -> Date {
        text.parse().expect("a date")
    }

    #[test]
    fn an_excluded_date_is_closed_also_where_it_is_included() {
        let both = calendar(
            &[("2026-10-02", "2026-10-03")],
            &[("2026-10-01", "2026-10-05")],
        );
        let closed = |day| both.closed(date(day)).map(|c| c.reason);
        assert_eq!(closed("2026-10-01"), None);
        assert_eq!(closed("2026-10-02"), Some("ExcludedDate"));
        assert_eq!(closed("2026-10-06"), Some("NotIncludedDate"));
    }

    #[test]
    fn it_opens_where_the_last_of_touching_ranges_ends_or_never() {
        let touching = calendar(
            &[("2026-10-01", "2026-10-02"), ("2026-10-03", "2026-10-04")],
            &[],
        );
        let opens = |c: &Calendar, day| c.closed(date(day)).expect("closed").opens;
        assert_eq!(opens(&touching, "2026-10-01"), Some(date("2026-10-05")));
        let past = calendar(&[], &[("2026-10-01", "2026-10-02")]);
        assert_eq!(opens(&past, "2026-09-01"), Some(date("2026-10-01")));
        assert_eq!(opens(&past, "2026-10-03"), None);
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let written = Calendars {
            exclude: vec![Dates {
                from: "2026-02-30".into(),
                ..Dates::default()
            }],
            ..Calendars::default()
        };
        let refusal = Calendar::read(Some(&written)).expect_err("no date");
        assert!(refusal.message.contains("2026-02-30"), "{refusal}");
    }
}
