//! Objects that have finished, as `Archive`: found under their kind and name after the cluster has let them go, by those who may read that kind there. They do not change, so nobody watches them.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use crds::{
    archive::{Archived, KINDS},
    names::GROUP,
};
use jiff::Timestamp;
use records::{ArchiveQuery, ArchiveRow};
use serde_json::{Value, json};
use serving::{Attributes, User};

use crate::{
    accept,
    api::{Api, Resource, Target},
    failure::Failure,
    list::{self, Continue, Parameters},
    object::{API_VERSION, Include, Shape, VERSION},
    selector,
    table::{self, Column},
};

/// The kind and the resource.
pub const KIND: &str = "Archive";
pub const RESOURCE: &str = "archives";
/// Objects of one answer at most: each may be as large as one of etcd.
const MAX_PAGE: usize = 64;

const COLUMNS: &[Column] = &[
    (
        "Name",
        "string",
        "name",
        0,
        "kind, name and UID of the object",
    ),
    ("Kind", "string", "", 0, "its kind"),
    ("Object", "string", "", 0, "its name"),
    ("Outcome", "string", "", 0, "how it ended"),
    ("Age", "string", "", 0, "time since it ended"),
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
        resource: Resource::Archives,
        namespace,
        ..Target::default()
    };
    if list::yes(parameters.watch.as_ref()) {
        return Err(Failure::MethodNotAllowed);
    }
    let user = api.admit(headers, "list", target).await?;
    let chosen = chosen(parameters)?;
    let kinds = readable(api, &user, namespace, &chosen).await?;
    let asked = parameters.from.as_deref().filter(|from| !from.is_empty());
    let from = asked.map(Continue::read).transpose()?;
    let place = from.as_ref().map(|from| &from.place);
    let (order, after) = list::from_on(list::order(api, namespace)?, place);
    let limit = parameters.limit.filter(|limit| *limit > 0);
    let query = ArchiveQuery {
        namespaces: order.iter().map(|(_, uid)| uid.clone()).collect(),
        after,
        limit: limit.unwrap_or(MAX_PAGE).min(MAX_PAGE),
        ..chosen
    };
    let mut page = api.slot.store()?.archived(query).await?;
    page.rows
        .retain(|row| kinds.contains(&row.archived.kind.as_str()));
    let mut metadata = json!({"resourceVersion": ""});
    if let Some(ended) = page.next.and_then(|cursor| list::named(&order, cursor)) {
        metadata["continue"] = json!(Continue::after(0, ended)?);
    }
    let shape = accept::shape(headers, parameters.include_object.as_deref());
    Ok(shaped(&page.rows, shape, &metadata))
}

/// The kinds, of those that are asked for, whose objects somebody may list; they are refused where there is none.
async fn readable(
    api: &Api,
    user: &User,
    namespace: Option<&str>,
    chosen: &ArchiveQuery,
) -> Result<Vec<&'static str>, Failure> {
    let named = chosen.name.as_deref().map(Archived::read_row_name);
    let named = named.map(|named| named.map(|(kind, ..)| kind));
    let is_asked = |kind: &str| {
        chosen.kind.as_deref().is_none_or(|asked| asked == kind)
            && named.is_none_or(|named| named == Some(kind))
    };
    let (mut kinds, mut refused) = (Vec::new(), None);
    for (kind, resource) in KINDS.into_iter().filter(|(kind, _)| is_asked(kind)) {
        match api
            .allow(user, &of_kind("list", resource, namespace, None))
            .await
        {
            Ok(()) => kinds.push(kind),
            Err(Failure::Forbidden(why)) => refused = refused.or(Some(why)),
            Err(failure) => return Err(failure),
        }
    }
    match refused.filter(|_| kinds.is_empty()) {
        Some(why) => Err(Failure::Forbidden(why)),
        None => Ok(kinds),
    }
}

/// What somebody asks for who asks for the objects themselves.
fn of_kind(verb: &str, resource: &str, namespace: Option<&str>, name: Option<&str>) -> Attributes {
    Attributes {
        verb: verb.to_owned(),
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        resource: resource.to_owned(),
        subresource: None,
        namespace: namespace.map(ToOwned::to_owned),
        name: name.map(ToOwned::to_owned),
    }
}

/// What the selectors of a request choose.
fn chosen(parameters: &Parameters) -> Result<ArchiveQuery, Failure> {
    let wrong = |what: &str| {
        Failure::BadRequest(format!(
            "{what}: archives are chosen by the fields metadata.name, kind and object, each by field=value"
        ))
    };
    if let Some(labels) = parameters
        .label_selector
        .as_deref()
        .filter(|l| !l.is_empty())
    {
        return Err(wrong(labels));
    }
    let mut query = ArchiveQuery::default();
    for requirement in selector::split(parameters.field_selector.as_deref().unwrap_or_default()) {
        let Some((field, true, value)) = selector::equality(requirement) else {
            return Err(wrong(requirement));
        };
        let of = match field {
            "metadata.name" => &mut query.name,
            "kind" => &mut query.kind,
            "object" => &mut query.object,
            _ => return Err(wrong(requirement)),
        };
        *of = Some(value.to_owned());
    }
    Ok(query)
}

/// `GET .../archives/NAME`
pub async fn one(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let target = Target {
        resource: Resource::Archives,
        namespace: Some(&namespace),
        name: Some(&name),
        ..Target::default()
    };
    let user = api.admit(&headers, "get", target).await?;
    let not_found = || Failure::NotFound {
        what: "archives.records.pilothouse.dev",
        name: name.clone(),
    };
    let (_, resource, object) = Archived::read_row_name(&name).ok_or_else(not_found)?;
    let asked = of_kind("get", resource, Some(&namespace), Some(object));
    api.allow(&user, &asked).await?;
    let query = ArchiveQuery {
        namespaces: vec![api.uid_of(&namespace)?.ok_or_else(not_found)?],
        name: Some(name.clone()),
        limit: 1,
        ..ArchiveQuery::default()
    };
    let page = api.slot.store()?.archived(query).await?;
    let row = page.rows.first().ok_or_else(not_found)?;
    let shape = accept::shape(&headers, parameters.include_object.as_deref());
    Ok(Json(match shape {
        Shape::Whole => whole(row),
        Shape::Metadata => partial(row),
        Shape::Table(_) => shaped(&page.rows, shape, &json!({})),
    }))
}

/// A list in the shape that the client wants.
fn shaped(rows: &[ArchiveRow], shape: Shape, metadata: &Value) -> Value {
    let (kind, version, items): (_, _, Vec<Value>) = match shape {
        Shape::Whole => ("ArchiveList", API_VERSION, rows.iter().map(whole).collect()),
        Shape::Metadata => (
            "PartialObjectMetadataList",
            "meta.k8s.io/v1",
            rows.iter().map(partial).collect(),
        ),
        Shape::Table(include) => {
            let lines: Vec<Value> = rows.iter().map(|row| line(row, include)).collect();
            return table::of(COLUMNS, &lines, metadata);
        }
    };
    json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})
}

fn line(row: &ArchiveRow, include: Include) -> Value {
    let archived = &row.archived;
    let age = table::millis(archived.finished_at, Timestamp::now());
    let cells = json!([
        archived.row_name(),
        archived.kind,
        archived.name,
        archived.outcome,
        table::short(age)
    ]);
    match include {
        Include::Nothing => json!({"cells": cells}),
        Include::Metadata => json!({"cells": cells, "object": partial(row)}),
        Include::Object => json!({"cells": cells, "object": whole(row)}),
    }
}

fn whole(row: &ArchiveRow) -> Value {
    let archived = &row.archived;
    json!({
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": metadata(row),
        "outcome": archived.outcome,
        "finishedAt": archived.finished_at,
        "object": archived.object,
    })
}

fn partial(row: &ArchiveRow) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata(row),
    })
}

/// It has the UID of the object that it is of.
fn metadata(row: &ArchiveRow) -> Value {
    let archived = &row.archived;
    json!({
        "name": archived.row_name(),
        "namespace": archived.namespace,
        "uid": archived.uid,
        "resourceVersion": row.archived_at.as_millisecond().to_string(),
        "creationTimestamp": row.archived_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}
