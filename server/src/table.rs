//! The table that `kubectl get` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

/// A column: its name, type, format, priority (0 is shown always) and meaning.
pub type Column = (&'static str, &'static str, &'static str, i32, &'static str);

/// A `meta.k8s.io/v1` Table of these columns.
pub fn of(columns: &[Column], rows: &[Value], metadata: &Value) -> Value {
    let columns = columns.iter().map(|(name, kind, format, priority, description)| {
        json!({"name": name, "type": kind, "format": format, "priority": priority, "description": description})
    });
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns.collect::<Vec<_>>(),
        "rows": rows,
    })
}

pub fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(from.duration_until(to).as_millis()).unwrap_or(0)
}

/// Two units at most, as kubectl writes ages; below a second in milliseconds, because most work is that short.
pub fn short(millis: u64) -> String {
    let (s, m, h) = (millis / 1_000, millis / 60_000, millis / 3_600_000);
    match millis {
        0 => "0s".into(),
        1..1_000 => format!("{millis}ms"),
        _ if s < 120 => format!("{s}s"),
        _ if m < 10 && s % 60 > 0 => format!("{m}m{}s", s % 60),
        _ if m < 180 => format!("{m}m"),
        _ if h < 8 && m % 60 > 0 => format!("{h}h{}m", m % 60),
        _ if h < 48 => format!("{h}h"),
        _ => format!("{}d", h / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn times_are_short() {
        for (millis, text) in [
            (0, "0s"),
            (340, "340ms"),
            (1_999, "1s"),
            (119_000, "119s"),
            (200_000, "3m20s"),
            (6_000_000, "100m"),
            (12_000_000, "3h20m"),
            (90_000_000, "25h"),
            (260_000_000, "3d"),
        ] {
            assert_eq!(short(millis), text);
        }
    }
}
