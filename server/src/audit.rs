//! The audit, as `AuditEntry`: every decision in the place that it was committed at, with what it takes to verify that. What was committed does not change, so nobody watches it.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use crds::audit::Link;
use jiff::Timestamp;
use records::{AuditColumn, AuditQuery};
use serde_json::{Value, json};

use crate::{
    accept,
    api::{Api, Resource, Target},
    failure::Failure,
    list::{self, Continue, Parameters, Place},
    object::{API_VERSION, Include, Shape},
    selector,
    table::{self, Column},
};

/// The kind and the resource.
pub const KIND: &str = "AuditEntry";
pub const RESOURCE: &str = "auditentries";
/// Entries of one answer at most.
const MAX_PAGE: usize = 500;

const COLUMNS: &[Column] = &[
    ("Name", "string", "name", 0, "its place in the audit"),
    ("Decision", "string", "", 0, "what was decided"),
    ("User", "string", "", 0, "who asked or decided"),
    ("Subject", "string", "", 0, "what it is about"),
    ("Rule", "string", "", 0, "policy and rule that decided"),
    ("Age", "string", "", 0, "time since it was decided"),
    ("Verb", "string", "", 1, "what they wanted to do"),
    ("Reason", "string", "", 1, "why"),
    (
        "Source",
        "string",
        "",
        1,
        "which replica told it, and as which of its numbers",
    ),
    (
        "Digest",
        "string",
        "",
        1,
        "digest of the content that was decided on",
    ),
    (
        "ID",
        "string",
        "",
        1,
        "by which a refusal names it to whoever is refused",
    ),
];

pub async fn all(
    State(api): State<Api>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    listed(&api, None, &parameters, &headers).await.map(Json)
}

pub async fn namespaced(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let namespace = Some(namespace.as_str());
    listed(&api, namespace, &parameters, &headers)
        .await
        .map(Json)
}

async fn listed(
    api: &Api,
    namespace: Option<&str>,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Value, Failure> {
    let target = Target {
        resource: Resource::AuditEntries,
        namespace,
        ..Target::default()
    };
    if list::yes(parameters.watch.as_ref()) {
        return Err(Failure::MethodNotAllowed);
    }
    api.admit(headers, "list", target).await?;
    let (limit, after) = page(parameters, MAX_PAGE)?;
    let mut query = AuditQuery {
        after,
        limit,
        ..chosen(parameters)?
    };
    let mut metadata = json!({"resourceVersion": ""});
    let shape = accept::shape(headers, parameters.include_object.as_deref());
    if let Some(namespace) = namespace {
        let Some(uid) = api.uid_of(namespace)? else {
            return Ok(shaped(&[], shape, &metadata));
        };
        query.namespace_uid = Some(uid);
    }
    let page = api.slot.store()?.audit(query).await?;
    if let Some(next) = page.next {
        metadata["continue"] = json!(following(next)?);
    }
    Ok(shaped(&page.links, shape, &metadata))
}

/// How many are asked for, and behind which place.
pub fn page(parameters: &Parameters, most: usize) -> Result<(usize, i64), Failure> {
    let limit = parameters.limit.filter(|limit| *limit > 0);
    let asked = parameters.from.as_deref().filter(|from| !from.is_empty());
    let from = asked.map(Continue::read).transpose()?;
    Ok((limit.unwrap_or(most).min(most), from.map_or(0, |f| f.seq)))
}

/// The token for what follows a place.
pub fn following(sequence: i64) -> Result<String, Failure> {
    let place = Place {
        namespace: String::new(),
        uid: String::new(),
        name: String::new(),
    };
    Continue {
        seq: sequence,
        place,
    }
    .token()
}

/// What the selectors of a request choose.
fn chosen(parameters: &Parameters) -> Result<AuditQuery, Failure> {
    let wrong = |what: &str| {
        Failure::BadRequest(format!(
            "{what}: entries are chosen by the fields metadata.name, id, decision, user, kind, subject, policy and rule, each by field=value"
        ))
    };
    let labels = parameters.label_selector.as_deref();
    if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
        return Err(wrong(labels));
    }
    let mut query = AuditQuery::default();
    for requirement in selector::split(parameters.field_selector.as_deref().unwrap_or_default()) {
        let Some((field, true, value)) = selector::equality(requirement) else {
            return Err(wrong(requirement));
        };
        let column = match field {
            "metadata.name" => {
                // No entry has another name, and none has the place 0.
                query.sequence = Some(place(value).unwrap_or(0));
                continue;
            }
            "id" => AuditColumn::Id,
            "decision" => AuditColumn::Decision,
            "user" => AuditColumn::User,
            "kind" => AuditColumn::Kind,
            "subject" => AuditColumn::Subject,
            "policy" => AuditColumn::Policy,
            "rule" => AuditColumn::Rule,
            _ => return Err(wrong(requirement)),
        };
        query.terms.push((column, value.to_owned()));
    }
    Ok(query)
}

/// `GET .../auditentries/NAME`
pub async fn one(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let target = Target {
        resource: Resource::AuditEntries,
        namespace: Some(&namespace),
        name: Some(&name),
        ..Target::default()
    };
    api.admit(&headers, "get", target).await?;
    let not_found = || Failure::NotFound {
        what: "auditentries.records.pilothouse.dev",
        name: name.clone(),
    };
    let query = AuditQuery {
        namespace_uid: Some(api.uid_of(&namespace)?.ok_or_else(not_found)?),
        sequence: Some(place(&name).ok_or_else(not_found)?),
        limit: 1,
        ..AuditQuery::default()
    };
    let page = api.slot.store()?.audit(query).await?;
    let link = page.links.first().ok_or_else(not_found)?;
    let shape = accept::shape(&headers, parameters.include_object.as_deref());
    Ok(Json(match shape {
        Shape::Whole => whole(link),
        Shape::Metadata => partial(link),
        Shape::Table(_) => shaped(&page.links, shape, &json!({})),
    }))
}

/// The name of a place; names are in the order of places.
pub fn name(sequence: i64) -> String {
    format!("{sequence:012}")
}

fn place(text: &str) -> Option<i64> {
    text.parse().ok().filter(|place| name(*place) == text)
}

/// A list in the shape that the client wants.
fn shaped(links: &[Link], shape: Shape, metadata: &Value) -> Value {
    let (kind, version, items): (_, _, Vec<Value>) = match shape {
        Shape::Whole => (
            "AuditEntryList",
            API_VERSION,
            links.iter().map(whole).collect(),
        ),
        Shape::Metadata => (
            "PartialObjectMetadataList",
            "meta.k8s.io/v1",
            links.iter().map(partial).collect(),
        ),
        Shape::Table(include) => {
            let lines: Vec<Value> = links.iter().map(|link| line(link, include)).collect();
            return table::of(COLUMNS, &lines, metadata);
        }
    };
    json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})
}

/// A text of an entry, by the path to it; one that was altered may have none.
fn text<'a>(link: &'a Link, path: &str) -> &'a str {
    let found = link.entry.pointer(path).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn line(link: &Link, include: Include) -> Value {
    let of = |path| text(link, path);
    let joined = |parts: [&str; 2]| {
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    };
    let age = of("/at").parse().ok();
    let age = age.map(|at: Timestamp| table::short(table::millis(at, Timestamp::now())));
    let number = link.entry.get("number").and_then(Value::as_i64);
    let (start, number) = (of("/source/start"), number.unwrap_or_default());
    let source = format!("{}/{start}#{number}", of("/source/replica"));
    let cells = json!([
        name(link.sequence),
        of("/decision"),
        of("/actor/user"),
        joined([
            &of("/subject/kind").to_ascii_lowercase(),
            of("/subject/name")
        ]),
        joined([of("/policy"), of("/rule")]),
        age.unwrap_or_default(),
        of("/verb"),
        of("/reason"),
        source,
        of("/digest"),
        format!("{start}-{number}"),
    ]);
    match include {
        Include::Nothing => json!({"cells": cells}),
        Include::Metadata => json!({"cells": cells, "object": partial(link)}),
        Include::Object => json!({"cells": cells, "object": whole(link)}),
    }
}

fn whole(link: &Link) -> Value {
    json!({
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": metadata(link),
        "sequence": link.sequence,
        "previous": link.previous,
        "hash": link.hash,
        "entry": link.entry,
    })
}

fn partial(link: &Link) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata(link),
    })
}

fn metadata(link: &Link) -> Value {
    let at: Option<Timestamp> = text(link, "/at").parse().ok();
    let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "name": name(link.sequence),
        "namespace": text(link, "/subject/namespace"),
        "uid": crate::object::uid(&link.hash),
        "resourceVersion": link.sequence.to_string(),
        "creationTimestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}
