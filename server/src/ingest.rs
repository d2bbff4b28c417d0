//! Where the operator hands over what happened. One account may write, proven by a token made for this audience; the answer comes after the sync.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::HeaderMap,
    routing::{get, post},
};
use crds::{
    execution::{Acknowledgement, Batch, KnownRows},
    names::RECORDS_AUDIENCE,
};
use records::MAX_BATCH_BYTES;
use serving::{CallerError, Review, token_of};

use crate::{failure::Failure, metrics::Metrics, slot::Slot};

/// What every request needs.
#[derive(Clone)]
pub struct Ingest {
    pub slot: Slot,
    pub review: Arc<dyn Review>,
    /// The one user that may write.
    pub operator: Arc<str>,
    pub metrics: Metrics,
}

/// All paths.
pub fn router(ingest: Ingest) -> Router {
    Router::new()
        .route("/ingest/v1/batches", post(append))
        .route("/ingest/v1/runs/{uid}", get(rows))
        .layer(DefaultBodyLimit::max(MAX_BATCH_BYTES))
        .with_state(ingest)
}

async fn append(
    State(ingest): State<Ingest>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Acknowledgement>, Failure> {
    ingest.admit(&headers).await?;
    let batch: Batch =
        serde_json::from_slice(&body).map_err(|e| Failure::BadRequest(format!("batch: {e}")))?;
    let (id, rows) = (batch.id.clone(), batch.rows.len());
    let began = Instant::now();
    let stored = ingest.slot.store()?.append(batch).await;
    ingest
        .metrics
        .ingested(rows, began.elapsed(), stored.is_ok());
    stored?;
    Ok(Json(Acknowledgement { acknowledged: id }))
}

async fn rows(
    State(ingest): State<Ingest>,
    Path(uid): Path<String>,
    headers: HeaderMap,
) -> Result<Json<KnownRows>, Failure> {
    ingest.admit(&headers).await?;
    let rows = ingest.slot.store()?.run(uid).await?;
    Ok(Json(KnownRows { rows }))
}

impl Ingest {
    async fn admit(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let token = token_of(headers).ok_or(Failure::Unauthorized(CallerError::NoCredentials))?;
        let owner = self.review.whose(token, Some(RECORDS_AUDIENCE)).await;
        let owner = owner.map_err(Failure::Review)?;
        let user = owner.ok_or(Failure::Unauthorized(CallerError::BadToken))?;
        if *user.name != *self.operator {
            return Err(Failure::Forbidden(format!(
                "User {:?} may not write records, only {:?}",
                user.name, self.operator
            )));
        }
        Ok(())
    }
}
