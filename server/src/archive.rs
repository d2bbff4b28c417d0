//! Objects that have finished, as `Archive`: found under their kind and name after the cluster has let them go. They do not change, so nobody watches them.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use jiff::Timestamp;
use records::{ArchiveQuery, ArchiveRow};
use serde_json::{Value, json};

use crate::{
    accept,
    api::{Api, Resource, Target},
    failure::Failure,
    list::{self, Continue, Parameters},
    served::{self, Served, seconds},
    table::{Column, millis, short},
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

/// `GET .../archives`, of one namespace or of all.
pub async fn all(
    State(api): State<Api>,
    namespace: Option<Path<String>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let namespace = namespace.as_ref().map(|Path(name)| name.as_str());
    let target = Target {
        resource: Resource::Archives,
        namespace,
        ..Target::default()
    };
    api.admit_list(&headers, &parameters, target).await?;
    let from = parameters.continued()?;
    let place = from.as_ref().map(|from| &from.place);
    let (order, after) = list::from_on(list::order(&api, namespace)?, place);
    let query = ArchiveQuery {
        namespaces: order.iter().map(|(_, uid)| uid.clone()).collect(),
        after,
        limit: parameters.at_most(MAX_PAGE),
        ..chosen(&parameters)?
    };
    let page = api.slot.store()?.archived(query).await?;
    let mut metadata = json!({"resourceVersion": ""});
    if let Some(ended) = page.next.and_then(|cursor| list::named(&order, cursor)) {
        metadata["continue"] = json!(Continue::after(0, ended)?);
    }
    let shape = accept::shape(&headers, parameters.include_object.as_deref());
    served::list(&page.rows, shape, &metadata).map(Json)
}

/// What the selectors of a request choose.
fn chosen(parameters: &Parameters) -> Result<ArchiveQuery, Failure> {
    let rule =
        "archives are chosen by the fields metadata.name, kind and object, each by field=value";
    let mut query = ArchiveQuery::default();
    parameters.fields(rule, |field, value| {
        let of = match field {
            "metadata.name" => &mut query.name,
            "kind" => &mut query.kind,
            "object" => &mut query.object,
            _ => return false,
        };
        *of = Some(value.to_owned());
        true
    })?;
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
    api.admit(&headers, "get", target).await?;
    let not_found = || Failure::NotFound {
        what: "archives.records.pilothouse.dev",
        name: name.clone(),
    };
    let query = ArchiveQuery {
        namespaces: vec![api.uid_of(&namespace)?.ok_or_else(not_found)?],
        name: Some(name.clone()),
        limit: 1,
        ..ArchiveQuery::default()
    };
    let page = api.slot.store()?.archived(query).await?;
    let row = page.rows.first().ok_or_else(not_found)?;
    let shape = accept::shape(&headers, parameters.include_object.as_deref());
    served::one(row, shape, &json!({})).map(Json)
}

impl Served for ArchiveRow {
    const KIND: &'static str = KIND;
    const COLUMNS: &'static [Column] = COLUMNS;

    /// It has the UID of the object that it is of.
    fn metadata(&self) -> Value {
        let archived = &self.archived;
        json!({
            "name": archived.row_name(),
            "namespace": archived.namespace,
            "uid": archived.uid,
            "resourceVersion": self.archived_at.as_millisecond().to_string(),
            "creationTimestamp": seconds(self.archived_at),
        })
    }

    fn fields(&self) -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
        let archived = &self.archived;
        Ok(vec![
            ("outcome", json!(archived.outcome)),
            ("finishedAt", json!(archived.finished_at)),
            ("object", json!(archived.object)),
        ])
    }

    fn cells(&self, now: Timestamp) -> Value {
        let archived = &self.archived;
        json!([
            archived.row_name(),
            archived.kind,
            archived.name,
            archived.outcome,
            short(millis(archived.finished_at, now)),
        ])
    }
}
