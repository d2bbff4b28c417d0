//! What the store vouches for, as `AuditCheckpoint` of the whole cluster: that its audit had this hash at this entry. They outlive the entries, and whoever keeps a copy elsewhere can hold the audit against it.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use crds::audit::Checkpoint;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    accept,
    api::{Api, Resource, Target},
    audit::{following, name, page},
    failure::Failure,
    list::{self, Parameters},
    object::{API_VERSION, Include, Shape},
    table::{self, Column},
};

/// The kind and the resource.
pub const KIND: &str = "AuditCheckpoint";
pub const RESOURCE: &str = "auditcheckpoints";
/// Checkpoints of one answer at most.
const MAX_PAGE: usize = 500;

const COLUMNS: &[Column] = &[
    (
        "Name",
        "string",
        "name",
        0,
        "place of the last entry that it covers",
    ),
    ("Hash", "string", "", 0, "hash of that entry"),
    ("Age", "string", "", 0, "time since it was signed"),
];

/// What all that is served says beside the checkpoints: by which key the store signs today. It comes from the Secret and not from where the checkpoints are kept.
fn key(api: &Api) -> String {
    let key = api.keys.borrow().clone();
    key.map(|key| key.public()).unwrap_or_default()
}

pub async fn all(
    State(api): State<Api>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let target = Target {
        resource: Resource::AuditCheckpoints,
        ..Target::default()
    };
    if list::yes(parameters.watch.as_ref()) {
        return Err(Failure::MethodNotAllowed);
    }
    api.admit(&headers, "list", target).await?;
    for selector in [&parameters.label_selector, &parameters.field_selector] {
        if let Some(selector) = selector.as_deref().filter(|s| !s.is_empty()) {
            let message = format!("{selector}: checkpoints are not chosen by selectors");
            return Err(Failure::BadRequest(message));
        }
    }
    let (limit, after) = page(&parameters, MAX_PAGE)?;
    let mut found = api.slot.store()?.checkpoints(after, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let mut metadata = json!({"resourceVersion": ""});
    if let Some(last) = found.last().filter(|_| more) {
        metadata["continue"] = json!(following(last.sequence)?);
    }
    let shape = accept::shape(&headers, parameters.include_object.as_deref());
    Ok(Json(shaped(&found, &key(&api), shape, &metadata)))
}

/// `GET .../auditcheckpoints/NAME`
pub async fn one(
    State(api): State<Api>,
    Path(asked): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let target = Target {
        resource: Resource::AuditCheckpoints,
        name: Some(&asked),
        ..Target::default()
    };
    api.admit(&headers, "get", target).await?;
    let after = asked.parse::<i64>().map_or(i64::MAX, |place| place - 1);
    let found = api.slot.store()?.checkpoints(after, 1).await?;
    let checkpoint = found.first().filter(|c| name(c.sequence) == asked);
    let checkpoint = checkpoint.ok_or_else(|| Failure::NotFound {
        what: "auditcheckpoints.records.pilothouse.dev",
        name: asked.clone(),
    })?;
    let shape = accept::shape(&headers, parameters.include_object.as_deref());
    Ok(Json(match shape {
        Shape::Whole => whole(checkpoint, &key(&api)),
        Shape::Metadata => partial(checkpoint),
        Shape::Table(_) => shaped(&found, &key(&api), shape, &json!({})),
    }))
}

/// A list in the shape that the client wants.
fn shaped(found: &[Checkpoint], key: &str, shape: Shape, metadata: &Value) -> Value {
    let (kind, version, items): (_, _, Vec<Value>) = match shape {
        Shape::Whole => (
            "AuditCheckpointList",
            API_VERSION,
            found.iter().map(|found| whole(found, key)).collect(),
        ),
        Shape::Metadata => (
            "PartialObjectMetadataList",
            "meta.k8s.io/v1",
            found.iter().map(partial).collect(),
        ),
        Shape::Table(include) => {
            let line = |found| line(found, key, include);
            let lines: Vec<Value> = found.iter().map(line).collect();
            return table::of(COLUMNS, &lines, metadata);
        }
    };
    json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})
}

fn line(checkpoint: &Checkpoint, key: &str, include: Include) -> Value {
    let age = table::millis(checkpoint.at, Timestamp::now());
    let cells = json!([
        name(checkpoint.sequence),
        checkpoint.hash,
        table::short(age)
    ]);
    match include {
        Include::Nothing => json!({"cells": cells}),
        Include::Metadata => json!({"cells": cells, "object": partial(checkpoint)}),
        Include::Object => json!({"cells": cells, "object": whole(checkpoint, key)}),
    }
}

fn whole(checkpoint: &Checkpoint, key: &str) -> Value {
    json!({
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": metadata(checkpoint),
        "checkpoint": checkpoint,
        "publicKey": key,
    })
}

fn partial(checkpoint: &Checkpoint) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata(checkpoint),
    })
}

fn metadata(checkpoint: &Checkpoint) -> Value {
    json!({
        "name": name(checkpoint.sequence),
        "uid": crate::object::uid(&checkpoint.hash),
        "resourceVersion": checkpoint.sequence.to_string(),
        "creationTimestamp": checkpoint.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}
