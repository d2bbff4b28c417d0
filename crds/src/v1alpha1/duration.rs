//! A length of time as people write it: `90s`, `10m`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Whole seconds or milliseconds, written as `90s`, `10m`, `1h30m` or `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// The text is not a duration.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no duration; write whole numbers with h, m, s or ms, as in 90s or 1h30m")]
pub struct NotADuration(String);

const UNITS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl Duration {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// Its whole seconds: what is added to a time that a status tells of.
    pub fn whole(self) -> SignedDuration {
        let seconds = i64::try_from(self.0.as_secs()).expect("built from u64 milliseconds");
        SignedDuration::from_secs(seconds)
    }
}

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotADuration(text.to_owned());
        let (mut rest, mut total) = (text, 0_u64);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            let (unit, factor) = UNITS
                .into_iter()
                .find(|(unit, _)| rest[digits..].starts_with(unit))
                .ok_or_else(wrong)?;
            total = number
                .checked_mul(factor)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(wrong)?;
            rest = &rest[digits + unit.len()..];
        }
        if text.is_empty() {
            return Err(wrong());
        }
        Ok(Self(std::time::Duration::from_millis(total)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).expect("built from u64 milliseconds");
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in [UNITS[1], UNITS[2], UNITS[3], UNITS[0]] {
            if left >= factor {
                write!(f, "{}{unit}", left / factor)?;
                left %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]{1,7}(h|ms|m|s))+$",
            "maxLength": 32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn durations_read_and_print_as_people_write_them() {
        for (text, milliseconds, printed) in [
            ("90s", 90_000, "1m30s"),
            ("10m", 600_000, "10m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("500ms", 500, "500ms"),
            ("0s", 0, "0s"),
        ] {
            let read: Duration = text.parse().expect(text);
            assert_eq!(read.get().as_millis(), milliseconds, "{text}");
            assert_eq!(read.to_string(), printed);
            assert_eq!(
                u128::from(read.whole().unsigned_abs().as_secs()),
                milliseconds / 1000
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "10",
            "m",
            "1.5h",
            "-1s",
            "10 m",
            "99999999999999999999s",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
