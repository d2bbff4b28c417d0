//! The aggregated API: its paths, and who may walk them. Every request for data names its caller and asks whether they may.

use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, Uri, request::Parts},
    routing::{MethodRouter, get},
};
use crds::names::RECORDS_AUDIENCE;
use serving::{Attributes, CallerError, FrontProxy, Peer, Review, User, token_of};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    discovery, failure::Failure, list, log, namespaces::Namespaces, object, openapi, slot::Slot,
};

/// What every request needs.
#[derive(Clone)]
pub struct Api {
    pub slot: Slot,
    pub namespaces: Namespaces,
    pub review: Arc<dyn Review>,
    pub front_proxy: watch::Receiver<FrontProxy>,
    /// Account of our own fronts, who say who asks.
    pub front: Arc<str>,
    pub shutdown: CancellationToken,
}

/// All paths.
pub fn router(api: Api) -> Router {
    let base = format!("/apis/{}", object::API_VERSION);
    let executions = format!("{base}/namespaces/{{namespace}}/executions");
    let data = Router::new()
        .route(&format!("{base}/executions"), only(get(list::all)))
        .route(&executions, only(get(list::namespaced)))
        .route(&format!("{executions}/{{name}}"), only(get(list::one)))
        .route(&format!("{executions}/{{name}}/log"), only(get(log::read)))
        .with_state(api);
    described().merge(data).fallback(unknown)
}

/// The paths that say what is served, which need neither store nor API server.
pub fn described<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let base = format!("/apis/{}", object::API_VERSION);
    Router::new()
        .route("/apis", only(get(discovery::groups)))
        .route(
            &format!("/apis/{}", object::GROUP),
            only(get(discovery::group)),
        )
        .route(&base, only(get(discovery::resources)))
        .route("/openapi/v2", only(get(openapi::v2)))
        .route("/openapi/v3", only(get(openapi::v3_index)))
        .route(&format!("/openapi/v3{base}"), only(get(openapi::v3)))
        .route("/healthz", get(async || "ok"))
}

pub async fn unknown(uri: Uri) -> Failure {
    let what = "path";
    Failure::NotFound {
        what,
        name: uri.path().to_owned(),
    }
}

pub fn only<S: Clone + Send + Sync + 'static>(method: MethodRouter<S>) -> MethodRouter<S> {
    method.fallback(async || Failure::MethodNotAllowed)
}

/// The connection and the headers: all that tells who asks.
pub struct Asking {
    peer: Peer,
    pub headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let peer = ConnectInfo::<Peer>::from_request_parts(parts, state).await;
        let ConnectInfo(peer) = peer.map_err(|_| Failure::Waiting("the listener is"))?;
        Ok(Self {
            peer,
            headers: parts.headers.clone(),
        })
    }
}

impl Asking {
    /// Who asks: the API server's front proxy says, or the bearer token.
    pub async fn user(
        &self,
        front_proxy: &watch::Receiver<FrontProxy>,
        review: &dyn Review,
    ) -> Result<User, Failure> {
        let settings = front_proxy.borrow().clone();
        let user = serving::caller(&self.peer, &self.headers, &settings, review).await;
        user.map_err(Failure::Unauthorized)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target<'a> {
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
    pub subresource: Option<&'a str>,
}

impl Api {
    /// Lets the request pass, or says why not.
    pub async fn admit(
        &self,
        asking: &Asking,
        verb: &str,
        target: Target<'_>,
    ) -> Result<(), Failure> {
        let user = match self.told_by_a_front(asking).await? {
            Some(user) => user,
            None => asking.user(&self.front_proxy, &*self.review).await?,
        };
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        let attributes = Attributes {
            verb: verb.to_owned(),
            group: object::GROUP.to_owned(),
            version: object::VERSION.to_owned(),
            resource: object::RESOURCE.to_owned(),
            subresource: owned(target.subresource),
            namespace: owned(target.namespace),
            name: owned(target.name),
        };
        let decision = self
            .review
            .may(&user, &attributes)
            .await
            .map_err(Failure::Review)?;
        if decision.allowed {
            return Ok(());
        }
        Err(Failure::Forbidden(refusal(&user.name, &attributes)))
    }

    /// The user whom a front of ours has found out; none where it is no front that asks.
    async fn told_by_a_front(&self, asking: &Asking) -> Result<Option<User>, Failure> {
        let Some(token) = token_of(&asking.headers) else {
            return Ok(None);
        };
        let owner = self.review.whose(token, Some(RECORDS_AUDIENCE)).await;
        let owner = owner.map_err(Failure::Review)?;
        if owner.is_none_or(|owner| *owner.name != *self.front) {
            return Ok(None);
        }
        let user = FrontProxy::ours().user(&asking.headers);
        user.map(Some)
            .ok_or(Failure::Unauthorized(CallerError::NoUser))
    }

    /// UID of a namespace, if it exists; rows belong to UIDs.
    pub fn uid_of(&self, namespace: &str) -> Result<Option<String>, Failure> {
        let known = self.namespaces.borrow().clone();
        let known = known.ok_or(Failure::Waiting("the list of namespaces is"))?;
        Ok(known.get(namespace).cloned())
    }
}

/// In the words of the API server, which people and tools know.
fn refusal(user: &str, a: &Attributes) -> String {
    let sub = a
        .subresource
        .as_ref()
        .map(|s| format!("/{s}"))
        .unwrap_or_default();
    let place = match &a.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".into(),
    };
    format!(
        "{}.{} is forbidden: User {user:?} cannot {} resource \"{}{sub}\" in API group {:?} {place}",
        a.resource, a.group, a.verb, a.resource, a.group
    )
}
