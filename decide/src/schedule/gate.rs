//! The ChangeCalendars that a task refers to: while one of them is closed, or is not as it should be, nothing fires.

use crds::v1alpha1::{ChangeCalendarSpec, clip};
use jiff::Timestamp;

use super::Cause;
use crate::{
    Refusal,
    calendar::{Calendar, Calendars},
};

/// Reason of firings that fall into a closed time.
pub const CLOSED: &str = "CalendarClosed";
/// Reasons that a task waits for, since nothing of the task itself has to be corrected.
pub const WAITED_FOR: [&str; 3] = [CLOSED, "CalendarNotFound", "CalendarNotReady"];

/// Calendars as they were found.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    calendars: Calendars,
    lacking: Option<Refusal>,
}

impl Gate {
    /// By their names; none is one that is not there.
    pub fn read<'a>(
        found: impl IntoIterator<Item = (&'a str, Option<&'a ChangeCalendarSpec>)>,
    ) -> Self {
        let read = found.into_iter().map(|(name, spec)| {
            let calendar = calendar(name, spec)?;
            Ok((name.to_owned(), calendar))
        });
        let (mut calendars, mut lacking) = (Vec::new(), None);
        for one in read {
            match one {
                Ok(calendar) => calendars.push(calendar),
                Err(refusal) => lacking = lacking.or(Some(refusal)),
            }
        }
        Self {
            calendars: calendars.into_iter().collect(),
            lacking,
        }
    }

    /// The first calendar that is not there or cannot be read.
    pub fn lacking(&self) -> Option<&Refusal> {
        self.lacking.as_ref()
    }

    /// Why nothing fires at an instant, and when it does again, if that is foreseen.
    pub fn closed(&self, at: Timestamp) -> Option<(Cause, Option<Timestamp>)> {
        let closed = self.calendars.closed(at)?;
        let cause = Cause {
            reason: CLOSED,
            message: clip(&closed.to_string(), 512),
        };
        Some((cause, closed.opens))
    }
}

fn calendar(name: &str, spec: Option<&ChangeCalendarSpec>) -> Result<Calendar, Refusal> {
    let spec = spec.ok_or_else(|| {
        let message = format!(
            "spec.calendarRefs: there is no ChangeCalendar {name}, and nothing is started until it is there; create it"
        );
        Refusal::new("CalendarNotFound", message)
    })?;
    Calendar::read(spec).map_err(|refused| {
        let why = refused.first().map_or("", |refusal| &refusal.message);
        let message = format!(
            "spec.calendarRefs: ChangeCalendar {name} cannot be read, and nothing is started until it is corrected: {why}"
        );
        Refusal::new("CalendarNotReady", message)
    })
}
