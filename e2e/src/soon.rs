//! Times that a story writes into objects.

use jiff::{SignedDuration, Timestamp};

/// A time of UTC, so many seconds from now, to the second, as people write it.
pub fn soon(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
