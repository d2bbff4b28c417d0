//! Events of an iCalendar file (RFC 5545). Of a VEVENT everything that says when it is is read, or refused by its name; what else a file holds is passed over.

use std::collections::BTreeMap;

use crds::v1alpha1::{Ics, clip};
use jiff::{SignedDuration, civil::DateTime, tz::TimeZone};

use super::{
    event::{DAY, Event},
    line::{self, Line},
    moment::Moment,
    rule::Rule,
    times::{Length, Times, Written},
};
use crate::{Refusal, zone};

/// Name of every event of a file.
const NAME: &str = "ics";
/// Events of a file.
const MOST: usize = 200;

/// Every event of the file, or why one is none.
pub fn events(ics: &Ics, zone: &TimeZone) -> Vec<Result<Event, Refusal>> {
    let refused = |why: String| vec![Err(invalid(&why))];
    let entries = match entries(&ics.text) {
        Ok(entries) if entries.len() > MOST => {
            return refused(format!(
                "it has {} events; at most {MOST} are taken",
                entries.len()
            ));
        }
        Ok(entries) => entries,
        Err(why) => return refused(why),
    };
    let mut file = File {
        ics,
        zone,
        zones: BTreeMap::new(),
        moved: BTreeMap::new(),
    };
    for entry in &entries {
        if let Err(refusal) = file.note_moved(entry) {
            return vec![Err(refusal)];
        }
    }
    let read = entries.iter().map(|entry| file.read(entry));
    let read = read.flat_map(|events| match events {
        Ok(events) => events.into_iter().map(Ok).collect(),
        Err(refusal) => vec![Err(refusal)],
    });
    read.collect()
}

fn invalid(why: &str) -> Refusal {
    Refusal::new("ICalendarInvalid", format!("spec.ics.text: {why}"))
}

/// A VEVENT.
struct Entry(Vec<Line>);

/// Takes a file apart; what stands in an event, such as its alarms, is no part of it.
fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let (mut within, mut entries) = (Vec::new(), Vec::new());
    for line in line::lines(text)? {
        let value = line.value.to_ascii_uppercase();
        match (line.name.as_str(), &within[..]) {
            ("BEGIN", []) if value != "VCALENDAR" => break,
            ("BEGIN", _) => {
                if value == "VEVENT" {
                    entries.push(Entry(Vec::new()));
                }
                within.push(value);
            }
            ("END", [.., last]) if *last == value => {
                within.pop();
            }
            ("END", _) => return Err(format!("END:{value} without its BEGIN")),
            (_, [.., last]) if last == "VEVENT" => {
                let entry = entries.last_mut().expect("it was pushed at BEGIN");
                entry.0.push(line);
            }
            (_, []) => break,
            _ => {}
        }
    }
    match within.last() {
        Some(open) => Err(format!("BEGIN:{open} without its END")),
        None if entries.is_empty() => Err("it has no VEVENT within BEGIN:VCALENDAR".into()),
        None => Ok(entries),
    }
}

impl Entry {
    fn line(&self, name: &str) -> Option<&Line> {
        self.0.iter().find(|line| line.name == name)
    }

    fn value(&self, name: &str) -> &str {
        self.line(name).map_or("", |line| &line.value)
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &Line> {
        self.0.iter().filter(move |line| line.name == name)
    }

    /// By which people find it.
    fn title(&self) -> String {
        let summary = self.line("SUMMARY").map(Line::text).unwrap_or_default();
        if summary.is_empty() {
            NAME.to_owned()
        } else {
            summary
        }
    }

    fn is_cancelled(&self) -> bool {
        self.value("STATUS").eq_ignore_ascii_case("CANCELLED")
    }
}

/// What entries of a file have in common.
struct File<'a> {
    ics: &'a Ics,
    zone: &'a TimeZone,
    zones: BTreeMap<String, TimeZone>,
    /// Occurrences that other entries stand for, by UID.
    moved: BTreeMap<String, Vec<Moment>>,
}

impl File<'_> {
    /// Takes in that an entry stands for one occurrence of another.
    fn note_moved(&mut self, entry: &Entry) -> Result<(), Refusal> {
        let Some(line) = entry.line("RECURRENCE-ID") else {
            return Ok(());
        };
        if line.parameter("RANGE").is_some() {
            return Err(refused(entry, "RECURRENCE-ID with RANGE is not supported"));
        }
        let moments = self.moments(entry, line)?;
        let uid = entry.value("UID").to_owned();
        let moved = self.moved.entry(uid).or_default();
        moved.extend(moments.into_iter().map(|(moment, _)| moment));
        Ok(())
    }

    fn read(&mut self, entry: &Entry) -> Result<Vec<Event>, Refusal> {
        if entry.is_cancelled() {
            return Ok(Vec::new());
        }
        let start = entry.line("DTSTART");
        let start = start.ok_or_else(|| refused(entry, "it has no DTSTART"))?;
        let (start, zone) = self.moment(entry, start)?;
        let length = self.length(entry, start, &zone)?;
        if length.get() == SignedDuration::ZERO {
            // It is a reminder, and holds at no time.
            return Ok(Vec::new());
        }
        let rule = rule(entry)?;
        let mut written = Written {
            starts: vec![start.local(&zone)],
            length,
            rule: None,
            except: self.excepted(entry)?,
            zone,
        };
        let more = self.more(entry, &written.zone)?;
        if rule.is_none() {
            written.starts.extend(&more);
            return Ok(vec![self.event(entry, written)?]);
        }
        let listed = Written {
            starts: more,
            ..written.clone()
        };
        let repeated = Written { rule, ..written };
        Ok(vec![
            self.event(entry, repeated)?,
            self.event(entry, listed)?,
        ])
    }

    fn event(&self, entry: &Entry, written: Written) -> Result<Event, Refusal> {
        let times = Times::read(written).map_err(|why| refused(entry, &why))?;
        Ok(Event {
            name: NAME.to_owned(),
            effect: self.ics.effect,
            reason: clip(&entry.title(), 256),
            times,
        })
    }

    /// By DTEND it is as long by the clock; a date of DTEND is the first that is out of it.
    fn length(&mut self, entry: &Entry, start: Moment, zone: &TimeZone) -> Result<Length, Refusal> {
        let length = match (entry.line("DTEND"), entry.line("DURATION")) {
            (Some(end), _) => {
                let (end, other) = self.moment(entry, end)?;
                let end = match end {
                    Moment::Local(_) if other != *zone => end.instant(&other).map(Moment::Instant),
                    _ => Some(end),
                };
                let end = end.ok_or_else(|| refused(entry, "DTEND is out of range"))?;
                let length = end.local(zone).duration_since(start.local(zone));
                let is_empty = start.is_date() && length == SignedDuration::ZERO;
                Length::Local(if is_empty { DAY } else { length })
            }
            (None, Some(line)) => duration(&line.value).ok_or_else(|| {
                refused(entry, &format!("DURATION:{} is not understood", line.value))
            })?,
            (None, None) if start.is_date() => Length::Local(DAY),
            (None, None) => Length::Elapsed(SignedDuration::ZERO),
        };
        if length.get() < SignedDuration::ZERO {
            return Err(refused(entry, "it ends before it has begun"));
        }
        Ok(length)
    }

    /// Occurrences that are left out, or that another entry stands for.
    fn excepted(&mut self, entry: &Entry) -> Result<Vec<Moment>, Refusal> {
        let mut except = Vec::new();
        if entry.line("RECURRENCE-ID").is_none() {
            let moved = self.moved.get(entry.value("UID"));
            except.extend(moved.into_iter().flatten().copied());
        }
        for line in entry.lines("EXDATE") {
            let moments = self.moments(entry, line)?;
            except.extend(moments.into_iter().map(|(moment, _)| moment));
        }
        Ok(except)
    }

    /// Occurrences that are listed, on a clock of the entry's zone.
    fn more(&mut self, entry: &Entry, zone: &TimeZone) -> Result<Vec<DateTime>, Refusal> {
        let mut more = Vec::new();
        for line in entry.lines("RDATE") {
            let moments = self.moments(entry, line)?;
            more.extend(moments.into_iter().map(|(moment, _)| moment.local(zone)));
        }
        Ok(more)
    }

    fn moment(&mut self, entry: &Entry, line: &Line) -> Result<(Moment, TimeZone), Refusal> {
        let zone = self.zone_of(line)?;
        let wrong = || {
            let (name, value) = (&line.name, &line.value);
            refused(
                entry,
                &format!("{name}: {value:?} is no date and no time, as in 20261224T180000Z"),
            )
        };
        let moment = Moment::read(&line.value).ok_or_else(wrong)?;
        Ok(match moment {
            Moment::Instant(_) => (moment, TimeZone::UTC),
            other => (other, zone),
        })
    }

    /// Those of a list. A local time of a named zone is an instant, so that it is compared with those of others.
    fn moments(&mut self, entry: &Entry, line: &Line) -> Result<Vec<(Moment, TimeZone)>, Refusal> {
        let is_named = line.parameter("TZID").is_some();
        let read = line.each().map(|one| {
            let (moment, zone) = self.moment(entry, &one)?;
            let instant = match moment {
                Moment::Local(_) if is_named => moment.instant(&zone).map(Moment::Instant),
                _ => None,
            };
            Ok((instant.unwrap_or(moment), zone))
        });
        read.collect()
    }

    /// The zone of local times: that of TZID, which is an IANA name, also where a path precedes it.
    fn zone_of(&mut self, line: &Line) -> Result<TimeZone, Refusal> {
        let Some(id) = line.parameter("TZID") else {
            return Ok(self.zone.clone());
        };
        if let Some(known) = self.zones.get(id) {
            return Ok(known.clone());
        }
        let last = id.rsplit('/').take(2).collect::<Vec<_>>();
        let last: Vec<_> = last.into_iter().rev().collect();
        let found = zone::named("spec.ics.text: TZID", id);
        let found = found.or_else(|refusal| {
            let short = zone::named("", &last.join("/"));
            short.map_err(|_| refusal)
        })?;
        self.zones.insert(id.to_owned(), found.clone());
        Ok(found)
    }
}

fn refused(entry: &Entry, why: &str) -> Refusal {
    invalid(&format!("{:?}: {why}", clip(&entry.title(), 60)))
}

fn rule(entry: &Entry) -> Result<Option<Rule>, Refusal> {
    if entry.line("EXRULE").is_some() {
        return Err(refused(entry, "EXRULE is not supported; write EXDATE"));
    }
    if entry.lines("RRULE").count() > 1 {
        return Err(refused(entry, "it has more than one RRULE"));
    }
    let text = entry.line("RRULE").map(|line| line.value.as_str());
    let rule = text.map(|text| {
        let rule = Rule::read(text);
        rule.map_err(|why| refused(entry, &format!("RRULE:{text}: {why}")))
    });
    rule.transpose()
}

/// `P1D`, `P2W` and what has days are by the clock, `PT8H` is as time goes by.
fn duration(text: &str) -> Option<Length> {
    let text = text.strip_prefix('+').unwrap_or(text).strip_prefix('P')?;
    let (mut rest, mut total, mut has_days, mut has_time) = (text, 0_i64, false, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            (rest, has_time) = (time, true);
            continue;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = match (rest[digits..].chars().next()?, has_time) {
            ('W', false) => 7 * 86_400,
            ('D', false) => 86_400,
            ('H', true) => 3_600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return None,
        };
        has_days |= !has_time;
        let number: i64 = rest[..digits].parse().ok()?;
        total = number.checked_mul(unit)?.checked_add(total)?;
        rest = &rest[digits + 1..];
    }
    let length = SignedDuration::from_secs(total);
    let length = if has_days {
        Length::Local(length)
    } else {
        Length::Elapsed(length)
    };
    (!text.is_empty()).then_some(length)
}

#[cfg(test)]
#[path = "ics_tests.rs"]
mod tests;
