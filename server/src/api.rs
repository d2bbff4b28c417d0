//! The data of the aggregated API: its paths, and who may walk them. Every request is a front's and names its caller; whether they may is asked here.

use std::sync::Arc;

use axum::{Router, http::HeaderMap, routing::get};
use serving::{Attributes, CallerError, FrontProxy, Review, User};
use tokio_util::sync::CancellationToken;

use crate::{
    archive, audit, checkpoints, door,
    failure::{Failure, only},
    list::{self, Parameters},
    log,
    namespaces::Namespaces,
    object,
    signing::Keys,
    slot::Slot,
};

/// What every request needs.
#[derive(Clone)]
pub struct Api {
    pub slot: Slot,
    pub namespaces: Namespaces,
    pub review: Arc<dyn Review>,
    /// What the audit is signed with.
    pub keys: Keys,
    /// Account of our own fronts.
    pub front: Arc<str>,
    pub shutdown: CancellationToken,
}

/// All paths.
pub fn router(api: Api) -> Router {
    let base = format!("/apis/{}", object::API_VERSION);
    let executions = format!("{base}/namespaces/{{namespace}}/executions");
    let archives = format!("{base}/namespaces/{{namespace}}/archives");
    let audit = format!("{base}/namespaces/{{namespace}}/auditentries");
    let checkpoints = format!("{base}/auditcheckpoints");
    Router::new()
        .route(&format!("{base}/executions"), only(get(list::all)))
        .route(&executions, only(get(list::all)))
        .route(&format!("{executions}/{{name}}"), only(get(list::one)))
        .route(&format!("{executions}/{{name}}/log"), only(get(log::read)))
        .route(&format!("{base}/archives"), only(get(archive::all)))
        .route(&archives, only(get(archive::all)))
        .route(&format!("{archives}/{{name}}"), only(get(archive::one)))
        .route(&format!("{base}/auditentries"), only(get(audit::all)))
        .route(&audit, only(get(audit::all)))
        .route(&format!("{audit}/{{name}}"), only(get(audit::one)))
        .route(&checkpoints, only(get(checkpoints::all)))
        .route(
            &format!("{checkpoints}/{{name}}"),
            only(get(checkpoints::one)),
        )
        .with_state(api)
}

/// What is served.
#[derive(Clone, Copy, Debug, Default)]
pub enum Resource {
    #[default]
    Executions,
    Archives,
    AuditEntries,
    AuditCheckpoints,
}

impl Resource {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executions => object::RESOURCE,
            Self::Archives => archive::RESOURCE,
            Self::AuditEntries => audit::RESOURCE,
            Self::AuditCheckpoints => checkpoints::RESOURCE,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target<'a> {
    pub resource: Resource,
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
    pub subresource: Option<&'a str>,
}

impl Target<'_> {
    fn asked(&self, verb: &str) -> Attributes {
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        Attributes {
            verb: verb.to_owned(),
            group: object::GROUP.to_owned(),
            version: object::VERSION.to_owned(),
            resource: self.resource.name().to_owned(),
            subresource: owned(self.subresource),
            namespace: owned(self.namespace),
            name: owned(self.name),
        }
    }
}

impl Api {
    /// Lets the request of somebody pass, or says why not. Our own fronts ask, and say for whom.
    pub async fn admit(
        &self,
        headers: &HeaderMap,
        verb: &str,
        target: Target<'_>,
    ) -> Result<User, Failure> {
        door::admit(&*self.review, headers, &self.front).await?;
        let user = FrontProxy::ours().user(headers);
        let user = user.ok_or(Failure::Unauthorized(CallerError::NoUser))?;
        self.allow(&user, &target.asked(verb)).await?;
        Ok(user)
    }

    /// Whether somebody may do this, in the words of a refusal where not.
    pub async fn allow(&self, user: &User, asked: &Attributes) -> Result<(), Failure> {
        let decision = self.review.may(user, asked).await;
        if decision.map_err(Failure::Review)?.allowed {
            return Ok(());
        }
        Err(Failure::Forbidden(refusal(&user.name, asked)))
    }

    /// Lets a list of what nobody watches pass.
    pub async fn admit_list(
        &self,
        headers: &HeaderMap,
        parameters: &Parameters,
        target: Target<'_>,
    ) -> Result<User, Failure> {
        if list::yes(parameters.watch.as_ref()) {
            return Err(Failure::MethodNotAllowed);
        }
        self.admit(headers, "list", target).await
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
