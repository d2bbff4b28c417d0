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
    list::Parameters,
    object,
    served::{self, Served, seconds},
    table::{Column, millis, short},
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
    api.admit_list(&headers, &parameters, target).await?;
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
    let key = key(&api);
    let found = found.iter().map(|found| Vouched(found, &key));
    served::list(&found.collect::<Vec<_>>(), shape, &metadata).map(Json)
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
    served::one(&Vouched(checkpoint, &key(&api)), shape, &json!({})).map(Json)
}

/// A checkpoint, and the key by which the store signs today.
struct Vouched<'a>(&'a Checkpoint, &'a str);

impl Served for Vouched<'_> {
    const KIND: &'static str = KIND;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn metadata(&self) -> Value {
        let Self(checkpoint, _) = self;
        json!({
            "name": name(checkpoint.sequence),
            "uid": object::uid(&checkpoint.hash),
            "resourceVersion": checkpoint.sequence.to_string(),
            "creationTimestamp": seconds(checkpoint.at),
        })
    }

    fn fields(&self) -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
        let Self(checkpoint, key) = self;
        Ok(vec![
            ("checkpoint", json!(checkpoint)),
            ("publicKey", json!(key)),
        ])
    }

    fn cells(&self, now: Timestamp) -> Value {
        let Self(checkpoint, _) = self;
        let age = short(millis(checkpoint.at, now));
        json!([name(checkpoint.sequence), checkpoint.hash, age])
    }
}
