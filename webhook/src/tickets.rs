//! Warns whoever writes a ChangeTicket of how risky it is and what it conflicts with, and a ScheduledTask of its calendars that are closed. All of it is let in.

use std::{sync::PoisonError, time::Instant};

use axum::{Json, body::Bytes, extract::State};
use decide::admission;
use k8s_openapi::jiff::Timestamp;
use tokio::task::spawn_blocking;

use crate::{
    answer::{Doors, Failure},
    diary::Known,
    review::{Answered, Review, Text},
};

/// As metrics name it.
const DOOR: &str = "ticket";

pub async fn asked(State(doors): State<Doors>, body: Bytes) -> Result<Json<Answered>, Failure> {
    let began = Instant::now();
    let planned = doors.planned.clone();
    let answered = spawn_blocking(move || warned(&body, &planned)).await;
    let answered = answered.map_err(Failure::Ended).flatten();
    doors.metrics.warned(DOOR, &answered, began);
    answered.map(Json)
}

fn warned(body: &[u8], planned: &Known) -> Result<Answered, Failure> {
    let review: Review<Text<'_>> = serde_json::from_slice(body).map_err(Failure::NoReview)?;
    let asked = &review.request;
    let (request, now) = (asked.written(), Timestamp::now());
    let planned = planned.read().unwrap_or_else(PoisonError::into_inner);
    let warnings = if asked.resource.resource == "scheduledtasks" {
        let namespace = asked.namespace.as_deref().unwrap_or_default();
        admission::closed(&request, namespace, &planned, now)?
    } else {
        admission::warnings(&request, &planned, now)?
    };
    Ok(Answered::warning(asked.uid.clone(), warnings))
}
