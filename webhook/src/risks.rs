//! Refuses ProtectionPolicies with rules of risk that cannot be used.

use std::{collections::BTreeMap, time::Instant};

use axum::{Json, body::Bytes, extract::State};
use decide::admission;
use tokio::task::spawn_blocking;

use crate::{
    answer::{Doors, Failure},
    review::{Answered, Response, Review, Status, Text},
};

/// As metrics name it.
const DOOR: &str = "risk";

pub async fn asked(State(doors): State<Doors>, body: Bytes) -> Result<Json<Answered>, Failure> {
    let began = Instant::now();
    let answered = spawn_blocking(move || judged(&body)).await;
    let answered = answered.map_err(Failure::Ended).flatten();
    let decision = match &answered {
        Err(_) => "Failed",
        Ok(answered) if answered.response.allowed => "Allowed",
        Ok(_) => "Refused",
    };
    doors.metrics.answered(DOOR, decision, began.elapsed());
    answered.map(Json)
}

fn judged(body: &[u8]) -> Result<Answered, Failure> {
    let review: Review<Text<'_>> = serde_json::from_slice(body).map_err(Failure::NoReview)?;
    let asked = &review.request;
    let refused = admission::refused_risks(&asked.written())?;
    Ok(Answered::with(Response {
        uid: asked.uid.clone(),
        allowed: refused.is_none(),
        status: refused.map(|message| Status {
            code: 422,
            reason: "Invalid",
            message,
        }),
        warnings: Vec::new(),
        audit_annotations: BTreeMap::new(),
    }))
}
