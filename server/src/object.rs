//! An execution as an object of Kubernetes, `Execution`, and what all that is served has in common. Six columns of it are shown by default, the rest with `-o wide`.

use crds::{
    execution::{Execution, State},
    names::{LABEL_RUN, LABEL_RUN_UID, LABEL_STEP},
};
use jiff::Timestamp;
use records::Row;
use serde_json::{Map, Value, json};

use crate::{
    served::{Served, seconds},
    table::{Column, millis, short},
};

/// The group, its version, the kind and the resource.
pub const GROUP: &str = "records.pilothouse.dev";
pub const VERSION: &str = "v1alpha1";
pub const API_VERSION: &str = "records.pilothouse.dev/v1alpha1";
pub const KIND: &str = "Execution";
pub const RESOURCE: &str = "executions";
/// Label of an execution: its target's name.
pub const LABEL_TARGET: &str = "pilothouse.dev/target";

/// How a client wants to see objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Whole,
    Table(Include),
    Metadata,
}

/// What a table's rows carry beside their cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    Nothing,
    Metadata,
    Object,
}

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

impl Served for Row {
    const KIND: &'static str = KIND;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn metadata(&self) -> Value {
        let execution = &self.execution;
        let labels = [
            (LABEL_RUN, &execution.run),
            (LABEL_RUN_UID, &execution.key.run),
            (LABEL_STEP, &execution.step),
            (LABEL_TARGET, &execution.target),
        ];
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        let labels: Map<String, Value> = labels.map(|(k, v)| (k.to_owned(), json!(v))).collect();
        json!({
            "name": self.name,
            "namespace": execution.namespace,
            "uid": uid(&execution.key.digest()),
            "resourceVersion": self.seq.to_string(),
            "creationTimestamp": seconds(self.created_at),
            "labels": labels,
        })
    }

    fn fields(&self) -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
        let execution = serde_json::to_value(&self.execution)?;
        Ok(vec![("execution", execution)])
    }

    fn cells(&self, now: Timestamp) -> Value {
        let e = &self.execution;
        json!([
            self.name,
            e.state.as_str(),
            e.reason.as_deref().unwrap_or_default(),
            e.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            duration(e, now),
            short(millis(self.created_at, now)),
            e.run,
            e.step,
            e.target,
            e.attempt,
            e.via,
            e.output_bytes,
        ])
    }
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

/// The key's digest in the form of a UUID: the same effect is the same object for ever.
pub fn uid(digest: &str) -> String {
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::COLUMNS;

    #[test]
    fn six_columns_are_shown_by_default_and_age_is_their_last() {
        let shown: Vec<_> = COLUMNS.iter().filter(|c| c.3 == 0).map(|c| c.0).collect();
        assert_eq!(
            shown,
            ["Name", "State", "Reason", "Exit", "Duration", "Age"]
        );
    }
}
