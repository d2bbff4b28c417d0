//! The table that `kubectl get` prints: six columns by default, the rest with `-o wide`.

use crds::execution::{Execution, State};
use jiff::Timestamp;
use records::Row;
use serde_json::{Value, json};

use crate::object::{Include, partial, whole};

const COLUMNS: &[Column] = &[
    ("Name", "string", "name", 0, "run, step, target and attempt"),
    ("State", "string", "", 0, "how far it got"),
    ("Reason", "string", "", 0, "why it is in that state"),
    (
        "Exit",
        "string",
        "",
        0,
        "exit code, where the program ended by itself",
    ),
    (
        "Duration",
        "string",
        "",
        0,
        "from start to end, or until now",
    ),
    ("Age", "string", "", 0, "time since it was recorded"),
    ("Run", "string", "", 1, "the JobRun"),
    ("Step", "string", "", 1, "the step of its plan"),
    ("Target", "string", "", 1, "host or pod"),
    ("Attempt", "integer", "int32", 1, "attempt, from 1"),
    ("Via", "string", "", 1, "by which way it was done"),
    ("Output", "integer", "int64", 1, "bytes of output"),
];

/// Rows as a `meta.k8s.io/v1` Table.
pub fn table(rows: &[Row], include: Include, metadata: &Value) -> Result<Value, serde_json::Error> {
    let now = Timestamp::now();
    let rows = rows
        .iter()
        .map(|row| line(row, include, now))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(of(COLUMNS, &rows, metadata))
}

/// A column: its name, type, format, priority (0 is shown always) and meaning.
pub type Column = (&'static str, &'static str, &'static str, i32, &'static str);

/// A table of these columns.
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

fn line(row: &Row, include: Include, now: Timestamp) -> Result<Value, serde_json::Error> {
    let e = &row.execution;
    let mut line = json!({"cells": [
        row.name,
        e.state.as_str(),
        e.reason.as_deref().unwrap_or_default(),
        e.exit_code.map(|code| code.to_string()).unwrap_or_default(),
        duration(e, now),
        short(millis(row.created_at, now)),
        e.run,
        e.step,
        e.target,
        e.attempt,
        e.via,
        e.output_bytes,
    ]});
    match include {
        Include::Nothing => {}
        Include::Metadata => line["object"] = partial(row),
        Include::Object => line["object"] = whole(row)?,
    }
    Ok(line)
}

fn duration(execution: &Execution, now: Timestamp) -> String {
    let end = match (execution.finished_at, execution.state) {
        (Some(end), _) => Some(end),
        (None, State::Started) => Some(now),
        (None, _) => None,
    };
    let span = execution.started_at.zip(end);
    span.map(|(begin, end)| short(millis(begin, end)))
        .unwrap_or_default()
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
    use super::{COLUMNS, short};

    #[test]
    fn six_columns_are_shown_by_default_and_age_is_their_last() {
        let shown: Vec<_> = COLUMNS.iter().filter(|c| c.3 == 0).map(|c| c.0).collect();
        assert_eq!(
            shown,
            ["Name", "State", "Reason", "Exit", "Duration", "Age"]
        );
    }

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
