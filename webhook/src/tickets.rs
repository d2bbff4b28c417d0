//! Warns whoever writes a ChangeTicket of how risky it is and what it conflicts with. Every ticket is let in.

use std::{collections::BTreeMap, sync::PoisonError, time::Instant};

use axum::{Json, body::Bytes, extract::State};
use decide::admission::{self, Request};
use k8s_openapi::jiff::Timestamp;
use tokio::task::spawn_blocking;

use crate::{
    answer::{Doors, Failure},
    diary::Known,
    review::{self, Answered, Response, Review},
};

/// As metrics name it.
const DOOR: &str = "ticket";

pub async fn asked(State(doors): State<Doors>, body: Bytes) -> Result<Json<Answered>, Failure> {
    let began = Instant::now();
    let planned = doors.planned.clone();
    let answered = spawn_blocking(move || warned(&body, &planned)).await;
    let answered = answered.map_err(Failure::Ended).flatten();
    let decision = match &answered {
        Err(_) => "Failed",
        Ok(answered) if answered.response.warnings.is_empty() => "Allowed",
        Ok(_) => "Warned",
    };
    doors.metrics.answered(DOOR, decision, began.elapsed());
    answered.map(Json)
}

fn warned(body: &[u8], planned: &Known) -> Result<Answered, Failure> {
    let review: Review<'_> = serde_json::from_slice(body).map_err(Failure::NoReview)?;
    let asked = &review.request;
    let request = Request {
        object: review::text(asked.object).unwrap_or("{}"),
        before: review::text(asked.old_object),
        ..Request::default()
    };
    let planned = planned.read().unwrap_or_else(PoisonError::into_inner);
    let warnings = admission::warnings(&request, &planned, Timestamp::now())?;
    Ok(Answered::with(Response {
        uid: asked.uid.clone(),
        allowed: true,
        status: None,
        warnings,
        audit_annotations: BTreeMap::new(),
    }))
}
