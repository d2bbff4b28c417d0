//! Answers one `AdmissionReview`. What cannot be answered is an error of HTTP, on which the API server does what the policy's failurePolicy says.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use crds::v1alpha1::CommandAction;
use decide::admission::{self, Answer, Door, Request, Unreadable};
use serving::telemetry::chain;
use tokio::task::{JoinError, spawn_blocking};

use crate::{
    book::{Book, Known},
    metrics::Metrics,
    review::{self, Answered, Question, Review},
};

/// Bytes of a review: two objects of the size that the API server takes, and then some.
const BODY: usize = 8 << 20;
/// Bytes of a review that is judged where it is read; a longer one would hold up others.
const SHORT: usize = 16 << 10;

/// What every request needs.
#[derive(Clone)]
pub struct Doors {
    pub known: Known,
    pub metrics: Metrics,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no such door")]
    NoDoor(#[source] admission::NoDoor),
    #[error("CommandPolicy {0} is not known here")]
    NoPolicy(String),
    #[error("{0}")]
    Unusable(String),
    #[error("not an AdmissionReview of admission.k8s.io/v1")]
    NoReview(#[source] serde_json::Error),
    #[error("not what was announced")]
    Unreadable(#[from] Unreadable),
    #[error("the judgement ended early")]
    Ended(#[source] JoinError),
}

/// All paths.
pub fn router(doors: Doors) -> Router {
    Router::new()
        .route("/commands/{policy}/{door}", post(asked))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(doors)
}

async fn asked(
    State(doors): State<Doors>,
    Path((policy, door)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Answered>, Failure> {
    let began = Instant::now();
    let door: Door = door.parse().map_err(Failure::NoDoor)?;
    let book = doors.known.borrow().get(&policy).cloned();
    let answered = match book {
        None => Err(Failure::NoPolicy(policy)),
        Some(book) if body.len() <= SHORT => judged(door, &body, &book),
        Some(book) => spawn_blocking(move || judged(door, &body, &book))
            .await
            .map_err(Failure::Ended)
            .flatten(),
    };
    let decision = answered
        .as_ref()
        .map_or("Failed", |(_, decision)| *decision);
    doors.metrics.answered(door, decision, began.elapsed());
    answered.map(|(answered, _)| Json(answered))
}

/// The answer, and what it is in a word.
fn judged(door: Door, body: &[u8], book: &Arc<Book>) -> Result<(Answered, &'static str), Failure> {
    let review: Review<'_> = serde_json::from_slice(body).map_err(Failure::NoReview)?;
    let asked = &review.request;
    let book = book
        .as_ref()
        .as_ref()
        .map_err(|why| Failure::Unusable(why.clone()))?;
    let request = Request {
        subresource: asked.sub_resource.as_deref().unwrap_or_default(),
        object: review::text(asked.object).unwrap_or("{}"),
        before: review::text(asked.old_object),
    };
    let answer = admission::answer(door, &request, book)?;
    let decision = decision(&answer);
    if decision != "Allowed" {
        tell(door, &book.policy, asked, &answer, decision);
    }
    Ok((
        answered(asked.uid.clone(), &book.policy, answer, decision),
        decision,
    ))
}

fn decision(answer: &Answer) -> &'static str {
    match (&answer.refused, answer.asked) {
        (Some(_), _) => "Refused",
        (None, CommandAction::Allow) => "Allowed",
        (None, _) if answer.warnings.is_empty() => "Noted",
        (None, _) => "Warned",
    }
}

/// Commands may hold what nobody should read in a log, so only the rules are told.
fn tell(door: Door, policy: &str, asked: &Question<'_>, answer: &Answer, decision: &str) {
    tracing::info!(
        %door,
        policy,
        user = asked.user_info.username,
        namespace = asked.namespace,
        name = asked.name,
        rules = answer.rules.join(","),
        decision,
        "a request was judged"
    );
}

fn answered(uid: String, policy: &str, answer: Answer, decision: &'static str) -> Answered {
    let told = [
        ("decision", decision.to_owned()),
        ("policy", policy.to_owned()),
        ("asked", format!("{:?}", answer.asked)),
        ("rules", answer.rules.join(",")),
    ];
    let told = told.into_iter().filter(|_| decision != "Allowed");
    Answered::with(review::Response {
        uid,
        allowed: answer.refused.is_none(),
        audit_annotations: told.collect(),
        warnings: answer.warnings,
        status: answer.refused.map(|message| review::Status {
            code: 403,
            reason: "Forbidden",
            message,
        }),
    })
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = match self {
            Self::NoDoor(_) | Self::NoPolicy(_) => StatusCode::NOT_FOUND,
            Self::NoReview(_) | Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::Unusable(_) | Self::Ended(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::warn!(error = chain(&self), "a request was not judged");
        (code, chain(&self)).into_response()
    }
}
