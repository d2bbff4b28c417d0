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
use crds::{
    audit::AuditDecision,
    v1alpha1::{CommandAction, Requester},
};
use decide::{
    admission::{self, Answer, Asked, Door, Exec, Matter, Unreadable, Workload, Written},
    break_glass::{self, Asker},
    change::Deed,
};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serving::telemetry::chain;
use tokio::task::{JoinError, spawn_blocking};

use crate::{
    audit::Audit,
    book::{Book, Known, Ruled},
    diary,
    glass::{self, Glasses},
    metrics::Metrics,
    permits::{self, Permits},
    review::{self, Answered, Question, Review},
    risks, tickets, work,
};

/// Bytes of a review: two objects of the size that the API server takes, and then some.
const BODY: usize = 8 << 20;
/// Bytes of commands that are judged where they are read; more would hold up others.
const SHORT: usize = 16 << 10;

/// What every request needs.
#[derive(Clone)]
pub struct Doors {
    pub known: Known,
    pub audit: Arc<Audit>,
    pub glasses: glass::Known,
    pub permits: permits::Known,
    pub planned: diary::Known,
    /// By which what a Job names is read.
    pub client: Client,
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
    #[error("not an AdmissionReview of admission.k8s.io/v1 about what this door judges")]
    NoReview(#[source] serde_json::Error),
    #[error("not what was announced")]
    Unreadable(#[from] Unreadable),
    #[error("the request has no object")]
    NoObject,
    #[error("the judgement ended early")]
    Ended(#[source] JoinError),
}

/// All paths.
pub fn router(doors: Doors) -> Router {
    Router::new()
        .route("/commands/{policy}/{door}", post(asked))
        .route("/commands/{policy}/{door}/glass", post(broken))
        .route("/jobs/{policy}", post(work::asked))
        .route("/tickets", post(tickets::asked))
        .route("/risks", post(risks::asked))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(doors)
}

async fn asked(
    State(doors): State<Doors>,
    Path(path): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Answered>, Failure> {
    reviewed(doors, path, false, body).await
}

async fn broken(
    State(doors): State<Doors>,
    Path(path): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Answered>, Failure> {
    reviewed(doors, path, true, body).await
}

async fn reviewed(
    doors: Doors,
    (policy, door): (String, String),
    glass: bool,
    body: Bytes,
) -> Result<Json<Answered>, Failure> {
    let began = Instant::now();
    let door: Door = door.parse().map_err(Failure::NoDoor)?;
    let answered = match Now::of(&doors, policy, glass) {
        Err(failure) => Err(failure),
        Ok(now) => match door {
            Door::Exec => now.judge::<Exec>(&body).await,
            Door::Workload => now.judge::<Workload>(&body).await,
            Door::Script => now.judge::<Written>(&body).await,
        },
    };
    let decision = answered
        .as_ref()
        .map_or("Failed", |(_, decision)| *decision);
    doors
        .metrics
        .answered(door.name(), decision, began.elapsed());
    answered.map(|(answered, _)| Json(answered))
}

/// The answer, and what it is in a word.
type Judged = (Answered, &'static str);

/// What is known when a request comes, and who is told.
struct Now {
    book: Arc<Book>,
    permits: Arc<Permits>,
    glasses: Arc<Glasses>,
    audit: Arc<Audit>,
    /// They may break the glass, so that nothing refuses them.
    glass: bool,
}

impl Now {
    fn of(doors: &Doors, policy: String, glass: bool) -> Result<Self, Failure> {
        let book = doors.known.borrow().get(&policy).cloned();
        Ok(Self {
            book: book.ok_or(Failure::NoPolicy(policy))?,
            permits: doors.permits.borrow().clone(),
            glasses: doors.glasses.borrow().clone(),
            audit: Arc::clone(&doors.audit),
            glass,
        })
    }

    async fn judge<M: Matter>(self, body: &[u8]) -> Result<Judged, Failure> {
        let review: Review<M> = serde_json::from_slice(body).map_err(Failure::NoReview)?;
        let mut asked = review.request;
        let matter = asked.object.take().ok_or(Failure::NoObject)?;
        if matter.length() <= SHORT {
            return self.judged(matter, asked);
        }
        let judged = spawn_blocking(move || self.judged(matter, asked));
        judged.await.map_err(Failure::Ended).flatten()
    }

    fn judged<M: Matter>(&self, matter: M, mut asked: Question<M>) -> Result<Judged, Failure> {
        let book = self.book.as_ref().as_ref();
        let book = book.map_err(|why| Failure::Unusable(why.clone()))?;
        let before = asked.old_object.take();
        let ticket = ticket(&asked, &self.permits);
        let request = Asked {
            subresource: asked.sub_resource.as_deref().unwrap_or_default(),
            matter,
            before,
            ticket: ticket.as_deref().ok(),
            own: ticket.as_ref().err().and_then(Option::as_deref),
        };
        let mut answer = admission::answer(request, &book.rules, &book.memory);
        let broken = answer
            .refused
            .as_ref()
            .and_then(|_| own_glass(book, &asked, &self.glasses));
        if self.glass || broken.is_some() {
            answer = answer.through_glass();
        }
        if let Some(why) = &mut answer.refused {
            why.push_str(&break_glass::way_out(book.glass.as_ref()).unwrap_or_default());
        }
        let (policy, decision) = (&book.rules.policy, decision(&answer));
        let id = self.audit.told(M::DOOR, &asked, answer.ruling.as_ref());
        if decision != "Allowed" {
            tell(M::DOOR, policy, &asked, &answer, (decision, id.as_deref()));
        }
        let mut answered = answered(&asked, policy, answer, (decision, id));
        let noted = broken.map(|name| ("break-glass", name));
        answered.response.audit_annotations.extend(noted);
        Ok((answered, decision))
    }
}

/// The live ticket under which the request may be made, or why one of the asker's own does not let it pass.
fn ticket(asked: &Question<impl Sized>, permits: &Permits) -> Result<String, Option<String>> {
    let by = Requester {
        user: asked.user_info.username.clone(),
        groups: asked.user_info.groups.clone(),
    };
    let subresource = asked.sub_resource.as_deref().unwrap_or_default();
    let deed = Deed {
        group: &asked.resource.group,
        resource: &asked.resource.resource,
        name: asked.name.as_deref().unwrap_or_default(),
        operation: admission::operation(subresource, asked.operation == "UPDATE"),
    };
    let namespace = asked.namespace.as_deref().unwrap_or_default();
    permits.ticket(namespace, &by, deed, Timestamp::now())
}

/// The BreakGlass by which whoever asks gets past the policy now.
fn own_glass(book: &Ruled, asked: &Question<impl Sized>, glasses: &Glasses) -> Option<String> {
    let asker = Asker {
        user: &asked.user_info.username,
        groups: &asked.user_info.groups,
        namespace: asked.namespace.as_deref()?,
    };
    let policy = (book.rules.policy.as_str(), book.glass.as_ref());
    let broken = break_glass::passes(policy, asker, glasses.values(), Timestamp::now());
    broken.map(|broken| broken.break_glass)
}

fn decision(answer: &Answer) -> &'static str {
    let ruling = answer.ruling.as_ref();
    if ruling.is_some_and(|ruling| ruling.decision == AuditDecision::BrokeGlass) {
        return "BrokeGlass";
    }
    match (&answer.refused, answer.asked) {
        (Some(_), _) => "Refused",
        (None, CommandAction::Allow) => "Allowed",
        (None, _) if answer.warnings.is_empty() => "Noted",
        (None, _) => "Warned",
    }
}

/// Commands may hold what nobody should read in a log, so only the rules are told.
fn tell(
    door: Door,
    policy: &str,
    asked: &Question<impl Sized>,
    answer: &Answer,
    (decision, id): (&str, Option<&str>),
) {
    tracing::info!(
        %door,
        policy,
        user = asked.user_info.username,
        namespace = asked.namespace,
        name = asked.name,
        rules = answer.rules.join(","),
        ticket = answer.ticket,
        decision,
        id,
        "a request was judged"
    );
}

/// The ID of an entry leads whoever is refused to it, and from the API server's audit log as well.
fn answered(
    asked: &Question<impl Sized>,
    policy: &str,
    answer: Answer,
    (decision, id): (&'static str, Option<String>),
) -> Answered {
    let namespace = asked.namespace.as_deref().unwrap_or_default();
    let more = id.as_ref();
    let more = more.map(|id| format!("; kubectl pilothouse explain denial {id} -n {namespace}"));
    let told = [
        ("decision", decision.to_owned()),
        ("policy", policy.to_owned()),
        ("asked", format!("{:?}", answer.asked)),
        ("rules", answer.rules.join(",")),
    ];
    let ticket = answer.ticket.map(|ticket| ("ticket", ticket));
    let told = told.into_iter().filter(|_| decision != "Allowed");
    let told = told.chain(ticket).chain(id.map(|id| ("id", id)));
    Answered::with(review::Response {
        uid: asked.uid.clone(),
        allowed: answer.refused.is_none(),
        audit_annotations: told.collect(),
        warnings: answer.warnings,
        status: answer.refused.map(|message| review::Status {
            code: 403,
            reason: "Forbidden",
            message: message + &more.unwrap_or_default(),
        }),
    })
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = match self {
            Self::NoDoor(_) | Self::NoPolicy(_) => StatusCode::NOT_FOUND,
            Self::NoReview(_) | Self::Unreadable(_) | Self::NoObject => StatusCode::BAD_REQUEST,
            Self::Unusable(_) | Self::Ended(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::warn!(error = chain(&self), "a request was not judged");
        (code, chain(&self)).into_response()
    }
}
