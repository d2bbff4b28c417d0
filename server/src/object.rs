//! An execution as an object of Kubernetes: `Execution`, its list, its metadata alone.

use crds::names::{LABEL_RUN, LABEL_RUN_UID, LABEL_STEP};
use records::Row;
use serde_json::{Map, Value, json};

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

/// The whole object.
pub fn whole(row: &Row) -> Result<Value, serde_json::Error> {
    Ok(json!({
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": metadata(row),
        "execution": serde_json::to_value(&row.execution)?,
    }))
}

/// The object's metadata alone.
pub fn partial(row: &Row) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata(row),
    })
}

fn metadata(row: &Row) -> Value {
    let execution = &row.execution;
    let labels = [
        (LABEL_RUN, &execution.run),
        (LABEL_RUN_UID, &execution.key.run),
        (LABEL_STEP, &execution.step),
        (LABEL_TARGET, &execution.target),
    ];
    let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
    let labels: Map<String, Value> = labels.map(|(k, v)| (k.to_owned(), json!(v))).collect();
    json!({
        "name": row.name,
        "namespace": execution.namespace,
        "uid": uid(&execution.key.digest()),
        "resourceVersion": row.seq.to_string(),
        "creationTimestamp": row.created_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "labels": labels,
    })
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

/// A list of objects in the shape that the client wants; `next` is the continue token.
pub fn list(
    rows: &[Row],
    shape: Shape,
    seq: i64,
    next: Option<&str>,
) -> Result<Value, serde_json::Error> {
    let mut metadata = json!({"resourceVersion": seq.to_string()});
    if let Some(next) = next {
        metadata["continue"] = json!(next);
    }
    let (kind, version, items) = match shape {
        Shape::Whole => (
            "ExecutionList",
            API_VERSION,
            rows.iter().map(whole).collect::<Result<Vec<_>, _>>()?,
        ),
        Shape::Metadata => (
            "PartialObjectMetadataList",
            "meta.k8s.io/v1",
            rows.iter().map(partial).collect(),
        ),
        Shape::Table(include) => return crate::table::table(rows, include, &metadata),
    };
    Ok(json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}))
}

/// One object in the shape that the client wants.
pub fn one(row: &Row, shape: Shape) -> Result<Value, serde_json::Error> {
    match shape {
        Shape::Whole => whole(row),
        Shape::Metadata => Ok(partial(row)),
        Shape::Table(_) => list(std::slice::from_ref(row), shape, row.seq, None),
    }
}
