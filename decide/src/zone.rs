//! Time zones by their names. The database comes with the program, so that an answer does not depend on the machine.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::Refusal;

/// The zone that a field names.
pub fn named(field: &str, name: &str) -> Result<TimeZone, Refusal> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| {
        Refusal::new(
            "TimeZoneUnknown",
            format!("{field}: there is no zone {name:?}; write its IANA name, as in Europe/Berlin"),
        )
    })
}
