//! The front: stateless, and there are several. It says what is served by itself, so that a dead store never breaks discovery; finds out who asks; and has the
//! store answer, which asks whether they may.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, OriginalUri, State},
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures::StreamExt as _;
use records::client::Client;
use serving::{FrontProxy, Peer, Review};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    discovery,
    failure::{Failure, only, unknown},
    object,
};

/// What every request needs.
#[derive(Clone)]
pub struct Front {
    pub store: Client,
    pub review: Arc<dyn Review>,
    /// Whom the API server speaks for.
    pub proxy: watch::Receiver<FrontProxy>,
    pub shutdown: CancellationToken,
}

/// All paths.
pub fn router(front: Front) -> Router {
    let data = format!("/apis/{}/{{*path}}", object::API_VERSION);
    discovery::router()
        .route(&data, only(get(pass)))
        .fallback(unknown)
        .with_state(front)
}

async fn pass(
    State(front): State<Front>,
    OriginalUri(uri): OriginalUri,
    ConnectInfo(peer): ConnectInfo<Peer>,
    asked: HeaderMap,
) -> Result<Response, Failure> {
    let proxy = front.proxy.borrow().clone();
    let user = serving::caller(&peer, &asked, &proxy, &*front.review).await;
    let mut headers = FrontProxy::headers(&user.map_err(Failure::Unauthorized)?);
    for accepted in asked.get_all(ACCEPT) {
        headers.append(ACCEPT, accepted.clone());
    }
    let path = uri.path_and_query().map_or(uri.path(), |all| all.as_str());
    let answer = front.store.pass(path, headers).await;
    let answer = answer.map_err(Failure::Away)?;
    // Were it the caller whom the store does not know, we would have said so.
    if answer.status() == StatusCode::UNAUTHORIZED {
        return Err(Failure::Waiting("the store's trust in this front is"));
    }
    Ok(told(answer, front.shutdown))
}

/// The store's answer as it comes, until it or this process ends.
fn told(answer: reqwest::Response, shutdown: CancellationToken) -> Response {
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE).cloned();
    let pieces = answer.bytes_stream();
    let body = Body::from_stream(pieces.take_until(shutdown.cancelled_owned()));
    let mut response = (status, body).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}
