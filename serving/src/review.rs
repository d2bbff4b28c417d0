//! The two questions that only the API server can answer: whose token is this, and may this user do that.

use std::collections::BTreeMap;

use futures::future::BoxFuture;

/// Whoever asks, as the API server knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    pub name: String,
    pub uid: Option<String>,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What they want to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    pub verb: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: Option<String>,
    /// Absent when all namespaces are asked for.
    pub namespace: Option<String>,
    pub name: Option<String>,
}

/// The answer, with the reason that an administrator would look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
}

/// Who answers; the API server in production, a table in tests.
pub trait Review: Send + Sync + 'static {
    /// The token's owner; `None` when it is not valid, or not for this audience.
    fn whose<'a>(
        &'a self,
        token: &'a str,
        audience: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<User>, ReviewError>>;

    fn may<'a>(
        &'a self,
        user: &'a User,
        attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, ReviewError>>;
}

/// The API server did not answer, which is not a no.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("token review was not answered")]
    Token(#[source] Box<kube::Error>),
    #[error("access review was not answered")]
    Access(#[source] Box<kube::Error>),
}
