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
    object::VERSION,
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
    let user = api.admit_list(&headers, &parameters, target).await?;
    let chosen = chosen(&parameters)?;
    let kinds = readable(&api, &user, namespace, &chosen).await?;
    let from = parameters.continued()?;
    let place = from.as_ref().map(|from| &from.place);
    let (order, after) = list::from_on(list::order(&api, namespace)?, place);
    let query = ArchiveQuery {
        namespaces: order.iter().map(|(_, uid)| uid.clone()).collect(),
        after,
        limit: parameters.at_most(MAX_PAGE),
        ..chosen
    };
    let mut page = api.slot.store()?.archived(query).await?;
    page.rows
        .retain(|row| kinds.contains(&row.archived.kind.as_str()));
    let mut metadata = json!({"resourceVersion": ""});
    if let Some(ended) = page.next.and_then(|cursor| list::named(&order, cursor)) {
        metadata["continue"] = json!(Continue::after(0, ended)?);
    }
    let shape = accept::shape(&headers, parameters.include_object.as_deref());
    served::list(&page.rows, shape, &metadata).map(Json)
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
