//! Times as a calendar writes them, with or without what separates their parts: dates, local times and times of UTC.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Date(Date),
    Local(DateTime),
    Instant(Timestamp),
}

impl Moment {
    /// None where the text is none of the three.
    pub fn read(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        // What else the library understands, such as an offset of a local time that it ignores, nobody meant.
        let are = |text: &str, marks: char| text.chars().all(|c| c.is_ascii_digit() || c == marks);
        let is_plain = |time: &str| are(time.strip_suffix('Z').unwrap_or(time), ':');
        if !are(date, '-') || !time.is_none_or(is_plain) {
            return None;
        }
        match time {
            None => text.parse().ok().map(Self::Date),
            Some(time) if time.ends_with('Z') => text.parse().ok().map(Self::Instant),
            Some(_) => text.parse().ok().map(Self::Local),
        }
    }

    /// What a clock of this zone shows then.
    pub fn local(self, zone: &TimeZone) -> DateTime {
        match self {
            Self::Date(date) => date.at(0, 0, 0, 0),
            Self::Local(local) => local,
            Self::Instant(at) => zone.to_datetime(at),
        }
    }

    /// When it is in this zone.
    pub fn instant(self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Instant(at) => Some(at),
            other => zone.to_timestamp(other.local(zone)).ok(),
        }
    }

    pub fn is_date(self) -> bool {
        matches!(self, Self::Date(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_writing_is_told_from_the_others() {
        let date = Some(Moment::Date("2026-12-24".parse().expect("a date")));
        let local = Some(Moment::Local("2026-12-24T18:00".parse().expect("a time")));
        let instant = Some(Moment::Instant(
            "2026-12-24T18:00:00Z".parse().expect("a time"),
        ));
        for (texts, read) in [
            (["2026-12-24", "20261224"], date),
            (["2026-12-24T18:00", "20261224T180000"], local),
            (["2026-12-24T18:00Z", "20261224T180000Z"], instant),
            (["2026-12-24T18:00+08:00", "20261224T180000-05"], None),
            (["2026-02-30", "20261224T250000"], None),
            (["tomorrow", ""], None),
            (
                ["2026-12-24 18:00", "2026-12-24T18:00[Asia/Shanghai]"],
                None,
            ),
        ] {
            for text in texts {
                assert_eq!(Moment::read(text), read, "{text}");
            }
        }
    }
}
