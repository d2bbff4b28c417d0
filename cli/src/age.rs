//! Lengths of time for people, as kubectl writes ages.

use jiff::{SignedDuration, Timestamp};

/// Time from one moment to another; none is before it began.
pub fn between(from: Timestamp, to: Timestamp) -> String {
    short(from.duration_until(to))
}

fn short(span: SignedDuration) -> String {
    let s = span.as_secs().max(0);
    let (m, h, d) = (s / 60, s / 3600, s / 86_400);
    match s {
        ..120 => format!("{s}s"),
        120..600 if s % 60 > 0 => format!("{m}m{}s", s % 60),
        120..10_800 => format!("{m}m"),
        10_800..28_800 if m % 60 > 0 => format!("{h}h{}m", m % 60),
        10_800..172_800 => format!("{h}h"),
        _ => format!("{d}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::short;
    use jiff::SignedDuration;

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [
            (-5, "0s"),
            (7, "7s"),
            (119, "119s"),
            (130, "2m10s"),
            (600, "10m"),
            (7200, "120m"),
            (11_000, "3h3m"),
            (100_000, "27h"),
            (200_000, "2d"),
        ] {
            assert_eq!(short(SignedDuration::from_secs(seconds)), text);
        }
    }
}
