//! Who is asking: the front proxy's word on a connection of the front proxy, else the owner of the bearer token, else nobody.

use axum::http::{HeaderMap, header::AUTHORIZATION};

use crate::{FrontProxy, Peer, Review, ReviewError, User};

/// Why nobody is believed.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    #[error("the front proxy names no user")]
    NoUser,
    #[error("client certificate {0:?} may not speak for others")]
    NotAllowed(String),
    #[error("no client certificate of the front proxy and no bearer token")]
    NoCredentials,
    #[error("the bearer token is not valid")]
    BadToken,
    #[error("the caller could not be reviewed")]
    Review(#[source] ReviewError),
}

/// Finds out who is asking on this connection with these headers.
pub async fn caller(
    peer: &Peer,
    headers: &HeaderMap,
    front_proxy: &FrontProxy,
    review: &dyn Review,
) -> Result<User, CallerError> {
    if let Some(name) = peer.common_name() {
        if !front_proxy.allows(name) {
            return Err(CallerError::NotAllowed(name.to_owned()));
        }
        return front_proxy.user(headers).ok_or(CallerError::NoUser);
    }
    let token = token_of(headers).ok_or(CallerError::NoCredentials)?;
    let owner = review
        .whose(token, None)
        .await
        .map_err(CallerError::Review)?;
    owner.ok_or(CallerError::BadToken)
}

/// The bearer token of a request.
pub fn token_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
