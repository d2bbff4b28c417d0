//! The door of the store: each side of it is open to one account, proven by a token that was made for this audience.

use axum::http::HeaderMap;
use crds::names::RECORDS_AUDIENCE;
use serving::{CallerError, Review, User, token_of};

use crate::failure::Failure;

/// Where the API server says of a token in which pod it is.
const POD: &str = "authentication.kubernetes.io/pod-name";

/// Lets this account in, and nobody else.
pub async fn admit(
    review: &dyn Review,
    headers: &HeaderMap,
    account: &str,
) -> Result<User, Failure> {
    let token = token_of(headers).ok_or(Failure::Unauthorized(CallerError::NoCredentials))?;
    let owner = review.whose(token, Some(RECORDS_AUDIENCE)).await;
    let owner = owner.map_err(Failure::Review)?;
    let user = owner.ok_or(Failure::Unauthorized(CallerError::BadToken))?;
    if user.name == account {
        return Ok(user);
    }
    Err(Failure::Stranger {
        found: user.name,
        wanted: account.to_owned(),
    })
}

/// The pod of this account that asks, proven by its token.
pub async fn pod(
    review: &dyn Review,
    headers: &HeaderMap,
    account: &str,
) -> Result<String, Failure> {
    let mut user = admit(review, headers, account).await?;
    match user.extra.remove(POD).as_deref() {
        Some([pod]) => Ok(pod.clone()),
        _ => Err(Failure::Unbound(user.name)),
    }
}
