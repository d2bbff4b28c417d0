//! ChangeCalendars at any instant: open or closed, why, until when, and the flips after that. The calendar is read as the caller may read it, and asked here.

use crds::v1alpha1::{CalendarFlip, CalendarState, ChangeCalendar};
use decide::calendar::Calendar;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use crate::{
    args::CalendarArgs,
    cluster::Cluster,
    error::{Error, Result},
    output::{self, Format},
    table::table,
};

/// Exit code where it is closed.
const CLOSED: u8 = 1;
/// Flips that are shown.
const SHOWN: usize = 10;

/// What a calendar says of an instant.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    at: Time,
    state: CalendarState,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    flips: Vec<CalendarFlip>,
}

pub async fn calendar(
    cluster: &Cluster,
    asked: &CalendarArgs,
    format: Option<Format>,
) -> Result<u8> {
    let object: ChangeCalendar = cluster.get("ChangeCalendar", &asked.name).await?;
    let calendar = Calendar::read(&object.spec).map_err(|refused| {
        let first = refused.into_iter().next();
        Error::Refused(first.expect("what cannot be read says why"))
    })?;
    let at = match &asked.at {
        None => Timestamp::now(),
        Some(typed) => {
            let at = calendar.instant(typed);
            at.ok_or_else(|| Error::NotATime(typed.clone()))?
        }
    };
    let answer = Answer::of(&calendar, at);
    let name = format!("changecalendar.pilothouse.dev/{}", asked.name);
    output::result(&answer, format, &name, |_| answer.page(&calendar))?;
    Ok(match answer.state {
        CalendarState::Open => 0,
        CalendarState::Closed => CLOSED,
    })
}

impl Answer {
    fn of(calendar: &Calendar, at: Timestamp) -> Self {
        let state = calendar.at(at);
        let flips = calendar.flips(at).take(SHOWN);
        Self {
            at: Time(at),
            state: CalendarState::of(state.open),
            event: state.event.map(|event| event.name.clone()),
            reason: state.event.map(|event| event.reason.clone()),
            flips: flips.map(|flip| flip.told()).collect(),
        }
    }

    /// For people, by the clock of the calendar.
    fn page(&self, calendar: &Calendar) -> String {
        let local = |at: &Time| {
            let there = at.0.to_zoned(calendar.zone().clone());
            there.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
        };
        let why = match (&self.event, &self.reason) {
            (Some(event), Some(reason)) if event == reason => event.clone(),
            (Some(event), Some(reason)) => format!("{event}: {reason}"),
            _ => "no event holds".to_owned(),
        };
        let until = self.flips.first().map(|flip| local(&flip.at));
        let until = until.unwrap_or_else(|| "no change is foreseen".to_owned());
        let (at, state) = (local(&self.at), self.state);
        let head = format!("at       {at}\nstate    {state}\nbecause  {why}\nuntil    {until}\n");
        if self.flips.is_empty() {
            return head;
        }
        let row = |flip: &CalendarFlip| {
            let state = flip.state.to_string();
            vec![
                local(&flip.at),
                state,
                flip.event.clone(),
                flip.reason.clone(),
            ]
        };
        let rows: Vec<_> = self.flips.iter().map(row).collect();
        format!(
            "{head}\n{}",
            table(&["FLIPS", "TO", "EVENT", "REASON"], &rows)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_it_is_why_and_what_comes_by_the_calendar_s_clock() {
        let spec = serde_json::json!({"default": "Open", "timeZone": "Asia/Shanghai", "events": [
            {"name": "year-end", "effect": "Freeze", "reason": "books", "start": "2026-12-24", "end": "2027-01-03"}]});
        let spec = serde_json::from_value(spec).expect("a spec");
        let calendar = Calendar::read(&spec).expect("a calendar");
        let at = calendar.instant("2026-12-31T12:00").expect("a time");
        let page = Answer::of(&calendar, at).page(&calendar);
        let expected = "at       2026-12-31 12:00:00 CST
state    Closed
because  year-end: books
until    2027-01-04 00:00:00 CST

FLIPS                     TO     EVENT      REASON
2027-01-04 00:00:00 CST   Open   year-end   books
";
        assert_eq!(page, expected);
        let after = calendar.instant("2027-02-01").expect("a time");
        let page = Answer::of(&calendar, after).page(&calendar);
        assert!(
            page.contains("because  no event holds\nuntil    no change is foreseen"),
            "{page}"
        );
    }
}
