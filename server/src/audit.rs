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
    list::{Continue, Parameters, Place},
    object,
    served::{self, Served, seconds},
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

/// `GET .../auditentries`, of one namespace or of all.
pub async fn all(
    State(api): State<Api>,
    namespace: Option<Path<String>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let namespace = namespace.as_ref().map(|Path(name)| name.as_str());
    let target = Target {
        resource: Resource::AuditEntries,
        namespace,
        ..Target::default()
    };
    api.admit_list(&headers, &parameters, target).await?;
    let (limit, after) = page(&parameters, MAX_PAGE)?;
    let mut query = AuditQuery {
        after,
        limit,
        ..chosen(&parameters)?
    };
    let mut metadata = json!({"resourceVersion": ""});
    let shape = accept::shape(&headers, parameters.include_object.as_deref());
    if let Some(namespace) = namespace {
        let Some(uid) = api.uid_of(namespace)? else {
            return served::list::<Link>(&[], shape, &metadata).map(Json);
        };
        query.namespace_uid = Some(uid);
    }
    let page = api.slot.store()?.audit(query).await?;
    if let Some(next) = page.next {
        metadata["continue"] = json!(following(next)?);
    }
    served::list(&page.links, shape, &metadata).map(Json)
}

/// How many are asked for, and behind which place.
pub fn page(parameters: &Parameters, most: usize) -> Result<(usize, i64), Failure> {
    let from = parameters.continued()?;
    let after = from.map_or(0, |from| from.seq);
    Ok((parameters.at_most(most), after))
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
    let rule = "entries are chosen by the fields metadata.name, id, decision, user, kind, subject, policy and rule, each by field=value";
    let mut query = AuditQuery::default();
    parameters.fields(rule, |field, value| {
        let column = match field {
            "metadata.name" => {
                // No entry has another name, and none has the place 0.
                query.sequence = Some(place(value).unwrap_or(0));
                return true;
            }
            "id" => AuditColumn::Id,
            "decision" => AuditColumn::Decision,
            "user" => AuditColumn::User,
            "kind" => AuditColumn::Kind,
            "subject" => AuditColumn::Subject,
            "policy" => AuditColumn::Policy,
            "rule" => AuditColumn::Rule,
            _ => return false,
        };
        query.terms.push((column, value.to_owned()));
        true
    })?;
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
    served::one(link, shape, &json!({})).map(Json)
}

/// The name of a place; names are in the order of places.
pub fn name(sequence: i64) -> String {
    format!("{sequence:012}")
}

fn place(text: &str) -> Option<i64> {
    text.parse().ok().filter(|place| name(*place) == text)
}

/// A text of an entry, by the path to it; one that was altered may have none.
fn text<'a>(link: &'a Link, path: &str) -> &'a str {
    let found = link.entry.pointer(path).and_then(Value::as_str);
    found.unwrap_or_default()
}

impl Served for Link {
    const KIND: &'static str = KIND;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn metadata(&self) -> Value {
        let at: Option<Timestamp> = text(self, "/at").parse().ok();
        json!({
            "name": name(self.sequence),
            "namespace": text(self, "/subject/namespace"),
            "uid": object::uid(&self.hash),
            "resourceVersion": self.sequence.to_string(),
            "creationTimestamp": seconds(at.unwrap_or(Timestamp::UNIX_EPOCH)),
        })
    }

    fn fields(&self) -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
        Ok(vec![
            ("sequence", json!(self.sequence)),
            ("previous", json!(self.previous)),
            ("hash", json!(self.hash)),
            ("entry", json!(self.entry)),
        ])
    }

    fn cells(&self, now: Timestamp) -> Value {
        let of = |path| text(self, path);
        let joined = |parts: [&str; 2]| {
            let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            parts.join("/")
        };
        let age = of("/at").parse().ok();
        let age = age.map(|at: Timestamp| table::short(table::millis(at, now)));
        let number = self.entry.get("number").and_then(Value::as_i64);
        let (start, number) = (of("/source/start"), number.unwrap_or_default());
        let source = format!("{}/{start}#{number}", of("/source/replica"));
        json!([
            name(self.sequence),
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
        ])
    }
}
