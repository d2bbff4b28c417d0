//! A count or a percentage, as batches and failure thresholds are given.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A count (`3` or `"3"`) or a percentage (`"10%"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Count(i32),
    Percent(i32),
}

impl Share {
    /// How many of `total` this is, rounded up, so that a share above zero of something is never nothing.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(0),
            Self::Percent(percent) => (total * usize::try_from(percent).unwrap_or(0)).div_ceil(100),
        }
    }

    /// How many of `total` this is, rounded down, as a bound on failures must be.
    pub fn within(self, total: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(0),
            Self::Percent(percent) => total * usize::try_from(percent).unwrap_or(0) / 100,
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_i32(*count),
            Self::Percent(percent) => serializer.collect_str(&format_args!("{percent}%")),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Number(i32),
    Text(Cow<'a, str>),
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Written::deserialize(deserializer)? {
            Written::Number(count) => return Ok(Self::Count(count)),
            Written::Text(text) => text,
        };
        let read = match text.strip_suffix('%') {
            Some(percent) => percent.parse().map(Self::Percent),
            None => text.parse().map(Self::Count),
        };
        read.map_err(|_| D::Error::custom(format!("{text:?} is neither a count nor a percentage")))
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maximum": 2000,
            "maxLength": 4,
            "pattern": "^([0-9]{1,4}|100%|[0-9]{1,2}%)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn a_share_of_targets_rounds_up_and_a_bound_on_failures_down() {
        let ten = Share::Percent(10);
        assert_eq!((ten.of(15), ten.within(15)), (2, 1));
        assert_eq!((ten.of(0), ten.within(9)), (0, 0));
        assert_eq!(Share::Count(3).of(2), 3);
    }

    #[test]
    fn counts_are_read_from_numbers_and_texts() {
        let read: Vec<Share> = serde_json::from_str(r#"[2, "3", "50%"]"#).expect("valid");
        assert_eq!(read, [Share::Count(2), Share::Count(3), Share::Percent(50)]);
        assert!(serde_json::from_str::<Share>(r#""half""#).is_err());
    }
}
