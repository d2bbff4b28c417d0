//! Where the operator hands over what happened, and replicas of the webhook what they have decided. One account may write each, proven by a token made for this audience before any of
//! the body is read; the answer comes after the sync. Few bodies are in memory at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use crds::{
    execution::{Acknowledgement, Batch, KnownRows},
    receipt::Receipt,
};
use decide::volume::Fullness;
use records::{MAX_BATCH_BYTES, MAX_BATCHES};
use serving::Review;
use tokio::{sync::Semaphore, time};

use crate::{
    decisions, door, failure::Failure, metrics::Metrics, namespaces::Namespaces, slot::Slot,
    volume::Volume,
};

/// Time for a batch; its sender gives up as soon.
const TIME: Duration = Duration::from_secs(30);

/// What every request needs.
#[derive(Clone)]
pub struct Ingest {
    pub slot: Slot,
    pub review: Arc<dyn Review>,
    /// The one user that may write.
    pub operator: Arc<str>,
    /// The one whose pods tell of their own decisions.
    pub webhook: Arc<str>,
    pub metrics: Metrics,
    pub volume: Volume,
    pub namespaces: Namespaces,
}

/// All paths.
pub fn router(ingest: Ingest) -> Router {
    let within = |places| {
        let places = Arc::new(Semaphore::new(places));
        from_fn(move |request, next| in_turn(Arc::clone(&places), request, next))
    };
    // Whoever answers the whole cluster has a place of its own, and takes none of the operator's.
    let decisions = Router::new()
        .route("/ingest/v1/decisions", post(decisions::add))
        .layer(within(1))
        .route_layer(from_fn_with_state(ingest.clone(), decisions::admitted));
    Router::new()
        .route("/ingest/v1/batches", post(append))
        .route("/ingest/v1/archives", post(append))
        .route("/ingest/v1/audit", post(append))
        .layer(within(MAX_BATCHES))
        .route("/ingest/v1/receipts", post(claim))
        .route("/ingest/v1/runs/{uid}", get(rows))
        .route_layer(from_fn_with_state(ingest.clone(), admitted))
        .merge(decisions)
        .layer(DefaultBodyLimit::max(MAX_BATCH_BYTES))
        .with_state(ingest)
}

/// Nothing of the body is read before this, so a stranger costs no memory.
async fn admitted(
    State(ingest): State<Ingest>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    door::admit(&*ingest.review, request.headers(), &ingest.operator).await?;
    Ok(next.run(request).await)
}

/// Holds a place for as long as the batch is in memory, from the first byte of its body to the sync; a connection that went dead gives it back in time.
async fn in_turn(
    places: Arc<Semaphore>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let _place = places.acquire().await;
    let answer = time::timeout(TIME, next.run(request)).await;
    answer.map_err(|_| Failure::TooSlow)
}

async fn append(
    State(ingest): State<Ingest>,
    body: Bytes,
) -> Result<Json<Acknowledgement>, Failure> {
    let mut batch = read(&body)?;
    drop(body);
    if ingest.volume.fullness() == Fullness::Scarce {
        let output = batch.logs.drain(..).map(|log| log.data.len()).sum();
        ingest.metrics.given_up(output);
    }
    stored(&ingest, batch).await
}

pub fn read(body: &[u8]) -> Result<Batch, Failure> {
    serde_json::from_slice(body).map_err(|e| Failure::BadRequest(format!("batch: {e}")))
}

pub async fn stored(ingest: &Ingest, batch: Batch) -> Result<Json<Acknowledgement>, Failure> {
    let (id, rows) = (batch.id.clone(), batch.rows.len());
    let began = Instant::now();
    let stored = ingest.slot.store()?.append(batch).await;
    ingest
        .metrics
        .ingested(rows, began.elapsed(), stored.is_ok());
    stored?;
    Ok(Json(Acknowledgement { acknowledged: id }))
}

async fn claim(State(ingest): State<Ingest>, body: Bytes) -> Result<Json<Receipt>, Failure> {
    let receipt =
        serde_json::from_slice(&body).map_err(|e| Failure::BadRequest(format!("receipt: {e}")))?;
    Ok(Json(ingest.slot.store()?.claim(receipt).await?))
}

async fn rows(
    State(ingest): State<Ingest>,
    Path(uid): Path<String>,
) -> Result<Json<KnownRows>, Failure> {
    let rows = ingest.slot.store()?.run(uid).await?;
    Ok(Json(KnownRows { rows }))
}
