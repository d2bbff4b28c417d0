//! The door of the store: each side of it is open to one account, proven by a token that was made for this audience.

use axum::http::HeaderMap;
use crds::names::RECORDS_AUDIENCE;
use serving::{CallerError, Review, token_of};

use crate::failure::Failure;

/// Lets this account in, and nobody else.
pub async fn admit(review: &dyn Review, headers: &HeaderMap, account: &str) -> Result<(), Failure> {
    let token = token_of(headers).ok_or(Failure::Unauthorized(CallerError::NoCredentials))?;
    let owner = review.whose(token, Some(RECORDS_AUDIENCE)).await;
    let owner = owner.map_err(Failure::Review)?;
    let user = owner.ok_or(Failure::Unauthorized(CallerError::BadToken))?;
    if user.name == account {
        return Ok(());
    }
    Err(Failure::Stranger {
        found: user.name,
        wanted: account.to_owned(),
    })
}
