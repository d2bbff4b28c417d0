//! Lists and single objects. Pages follow each other by name, also for clients that set no limit; their resourceVersion is that of the first page, so
//! that a watch from there misses nothing that changed while the pages were read.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use records::{Cursor, Page, Selector, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    accept,
    api::{Api, Target},
    failure::Failure,
    selector, served, watch,
};

/// Rows of one answer at most, whatever was asked, which bounds what an answer costs in memory. As many as kubectl asks for; clients of Kubernetes follow
/// `continue`.
const MAX_PAGE: usize = 500;

/// Parameters of a list or watch, in the words of Kubernetes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parameters {
    pub limit: Option<usize>,
    #[serde(rename = "continue")]
    pub from: Option<String>,
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
    pub resource_version: Option<String>,
    pub resource_version_match: Option<String>,
    pub watch: Option<String>,
    pub allow_watch_bookmarks: Option<String>,
    pub send_initial_events: Option<String>,
    pub timeout_seconds: Option<u64>,
    pub include_object: Option<String>,
}

/// `true` and `1` are yes.
pub fn yes(flag: Option<&String>) -> bool {
    flag.is_some_and(|f| f == "true" || f == "1")
}

impl Parameters {
    pub fn selector(&self) -> Result<Selector, Failure> {
        selector::selector(
            self.label_selector.as_deref(),
            self.field_selector.as_deref(),
        )
    }

    /// How many are answered with, where there are no more than this many of one answer.
    pub fn at_most(&self, most: usize) -> usize {
        let limit = self.limit.filter(|limit| *limit > 0);
        limit.unwrap_or(most).min(most)
    }

    /// Where the page before has ended, if there was one.
    pub fn continued(&self) -> Result<Option<Continue>, Failure> {
        let token = self.from.as_deref().filter(|token| !token.is_empty());
        token.map(Continue::read).transpose()
    }

    /// Hands over each field that is chosen by, with its value, to `take`, which says whether there is such a field. Labels choose nothing.
    pub fn fields(
        &self,
        rule: &str,
        mut take: impl FnMut(&str, &str) -> bool,
    ) -> Result<(), Failure> {
        let wrong = |what: &str| Err(Failure::BadRequest(format!("{what}: {rule}")));
        let labels = self.label_selector.as_deref();
        if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
            return wrong(labels);
        }
        for requirement in selector::split(self.field_selector.as_deref().unwrap_or_default()) {
            match selector::equality(requirement) {
                Some((field, true, value)) if take(field, value) => {}
                _ => return wrong(requirement),
            }
        }
        Ok(())
    }

    /// The position asked for; none when any will do.
    pub fn position(&self) -> Result<Option<i64>, Failure> {
        match self.resource_version.as_deref() {
            None | Some("" | "0") => Ok(None),
            Some(text) => {
                let position = text.parse().ok().filter(|p: &i64| *p > 0);
                let wrong =
                    || Failure::BadRequest(format!("resourceVersion {text:?} is not one of ours"));
                position.map(Some).ok_or_else(wrong)
            }
        }
    }
}

/// `GET .../executions`, of one namespace or of all.
pub async fn all(
    State(api): State<Api>,
    namespace: Option<Path<String>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let namespace = namespace.map(|Path(name)| name);
    let target = Target {
        namespace: namespace.as_deref(),
        ..Target::default()
    };
    if yes(parameters.watch.as_ref()) {
        api.admit(&headers, "watch", target).await?;
        return watch::begin(api, namespace, &parameters, &headers);
    }
    api.admit(&headers, "list", target).await?;
    let list = list(&api, namespace.as_deref(), &parameters, &headers).await?;
    Ok(Json(list).into_response())
}

async fn list(
    api: &Api,
    namespace: Option<&str>,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Value, Failure> {
    let shape = accept::shape(headers, parameters.include_object.as_deref());
    let selector = parameters.selector()?;
    let store = api.slot.store()?;
    let from = parameters.continued()?;
    let begun = match &from {
        Some(from) => Some(from.seq),
        None => parameters.position()?,
    };
    if let Some(begun) = begun {
        // Asking for changes of nothing tells whether the position is still kept.
        store.changes(begun, None, 0).await?;
    }
    let limit = parameters.at_most(MAX_PAGE);
    let place = from.as_ref().map(|f| &f.place);
    let page = page(api, &*store, namespace, &selector, place, limit).await?;
    if parameters.resource_version_match.as_deref() == Some("Exact")
        && begun.is_some_and(|b| b != page.seq)
    {
        return Err(Failure::Expired("only the present is kept".into()));
    }
    let seq = from.map_or(page.seq, |f| f.seq);
    let next = page.next.map(|ended| Continue::after(seq, ended));
    let mut metadata = json!({"resourceVersion": seq.to_string()});
    if let Some(next) = next.transpose()? {
        metadata["continue"] = json!(next);
    }
    served::list(&page.rows, shape, &metadata)
}

/// A page with the name of the namespace in which it ended.
pub struct Paged {
    pub rows: Vec<records::Row>,
    pub seq: i64,
    pub next: Option<(String, Cursor)>,
}

/// Reads one page of a namespace, or of all that exist, from a place on.
pub async fn page(
    api: &Api,
    store: &dyn Store,
    namespace: Option<&str>,
    selector: &Selector,
    place: Option<&Place>,
    limit: usize,
) -> Result<Paged, Failure> {
    let (order, after) = from_on(order(api, namespace)?, place);
    let query = records::Query {
        namespaces: order.iter().map(|(_, uid)| uid.clone()).collect(),
        selector: selector.clone(),
        after,
        limit,
    };
    let Page { rows, next, seq } = store.list(query).await?;
    let next = next.and_then(|cursor| named(&order, cursor));
    Ok(Paged { rows, seq, next })
}

/// Namespaces from the one of a place on, and where a page of them begins.
pub fn from_on(
    mut order: Vec<(String, String)>,
    place: Option<&Place>,
) -> (Vec<(String, String)>, Option<Cursor>) {
    if let Some(place) = place {
        order.retain(|(name, _)| *name >= place.namespace);
    }
    let after = place.map(|p| Cursor {
        namespace_uid: p.uid.clone(),
        name: p.name.clone(),
    });
    (order, after)
}

/// Where a page ended, with the name of the namespace.
pub fn named(order: &[(String, String)], cursor: Cursor) -> Option<(String, Cursor)> {
    let mut all = order.iter();
    let (name, _) = all.find(|(_, uid)| *uid == cursor.namespace_uid)?;
    Some((name.clone(), cursor))
}

/// Namespaces that exist today, by name; rows of others are history without an owner.
pub fn order(api: &Api, namespace: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
    if let Some(name) = namespace {
        return Ok(api
            .uid_of(name)?
            .map(|uid| (name.to_owned(), uid))
            .into_iter()
            .collect());
    }
    let known = api.namespaces.borrow().clone();
    let known = known.ok_or(Failure::Waiting("the list of namespaces is"))?;
    let all = known.iter();
    Ok(all.map(|(name, uid)| (name.clone(), uid.clone())).collect())
}

/// `GET .../executions/NAME`
pub async fn one(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let target = Target {
        namespace: Some(&namespace),
        name: Some(&name),
        ..Target::default()
    };
    api.admit(&headers, "get", target).await?;
    let row = find(&api, &namespace, &name).await?;
    let shape = accept::shape(&headers, parameters.include_object.as_deref());
    let alone = json!({"resourceVersion": row.seq.to_string()});
    served::one(&row, shape, &alone).map(Json)
}

/// The row of a name, in the namespace as it is today.
pub async fn find(api: &Api, namespace: &str, name: &str) -> Result<records::Row, Failure> {
    let not_found = || Failure::NotFound {
        what: "executions.records.pilothouse.dev",
        name: name.to_owned(),
    };
    let uid = api.uid_of(namespace)?.ok_or_else(not_found)?;
    let row = api.slot.store()?.get(uid, name.to_owned()).await?;
    row.ok_or_else(not_found)
}

/// Where a page ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    pub namespace: String,
    pub uid: String,
    pub name: String,
}

/// What a continue token says; opaque to clients.
#[derive(Serialize, Deserialize)]
pub struct Continue {
    pub seq: i64,
    pub place: Place,
}

impl Continue {
    pub fn read(token: &str) -> Result<Self, Failure> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
        let read = bytes.and_then(|b| serde_json::from_slice(&b).ok());
        read.ok_or_else(|| Failure::BadRequest("continue: this token is not one of ours".into()))
    }

    /// The token for what follows where a page has ended, by the name of its namespace.
    pub fn after(seq: i64, (namespace, cursor): (String, Cursor)) -> Result<String, Failure> {
        let place = Place {
            namespace,
            uid: cursor.namespace_uid,
            name: cursor.name,
        };
        Self { seq, place }.token()
    }

    pub fn token(&self) -> Result<String, Failure> {
        let token = serde_json::to_vec(self).map_err(Failure::Encode)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(token))
    }
}
