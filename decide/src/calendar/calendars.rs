//! Several calendars as one: closed where any of them is.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;

use super::{Calendar, State};

/// Flips that are followed until all are open.
const FOLLOWED: usize = 200;

/// Calendars by their names.
#[derive(Clone, Debug, Default)]
pub struct Calendars(BTreeMap<String, Calendar>);

/// The first of the calendars that are closed, and when all of them are open, if that is foreseen.
#[derive(Clone, Debug)]
pub struct Closed<'a> {
    pub calendar: &'a str,
    pub state: State<'a>,
    pub opens: Option<Timestamp>,
}

impl fmt::Display for Closed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChangeCalendar {} is closed ", self.calendar)?;
        match self.state.event {
            None => f.write_str("by default")?,
            Some(event) if event.reason == event.name => write!(f, "by {}", event.name)?,
            Some(event) => write!(f, "by {} ({})", event.name, event.reason)?,
        }
        match self.state.until {
            None => Ok(()),
            Some(at) => write!(f, ", until {at:.0}"),
        }
    }
}

impl Calendars {
    /// None while all of them are open, as none at all are.
    pub fn closed(&self, at: Timestamp) -> Option<Closed<'_>> {
        let (calendar, first) = self.0.iter().find(|(_, one)| !one.is_open(at))?;
        Some(Closed {
            calendar,
            state: first.at(at),
            opens: self.opens(at),
        })
    }

    /// The next flip of any of them.
    pub fn next_flip(&self, after: Timestamp) -> Option<Timestamp> {
        self.0.values().filter_map(|one| one.at(after).until).min()
    }

    fn opens(&self, mut at: Timestamp) -> Option<Timestamp> {
        for _ in 0..FOLLOWED {
            let Some(closed) = self.0.values().find(|one| !one.is_open(at)) else {
                return Some(at);
            };
            at = closed.at(at).until?;
        }
        None
    }
}

impl FromIterator<(String, Calendar)> for Calendars {
    fn from_iter<T: IntoIterator<Item = (String, Calendar)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}
