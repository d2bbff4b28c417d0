//! Where a replica of the webhook tells of what it has decided: under its own name alone, which its token proves, and nothing but refusals, warnings, what would have been one, and who broke the glass. The
//! webhook knows namespaces by their names; to which of that name an entry belongs is looked up here.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{Extension, Request, State},
    middleware::Next,
    response::Response,
};
use crds::{
    audit::{AuditDecision, AuditEntry},
    execution::{Acknowledgement, Batch},
};
use tokio::time;

use crate::{
    door,
    failure::Failure,
    ingest::{self, Ingest},
    namespaces::Namespaces,
};

/// How long a namespace is waited for that was made a moment ago.
const HEARD: Duration = Duration::from_secs(1);

/// The pod that tells.
#[derive(Clone)]
pub struct Replica(String);

/// Nothing of the body is read before this.
pub async fn admitted(
    State(ingest): State<Ingest>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let pod = door::pod(&*ingest.review, request.headers(), &ingest.webhook).await?;
    request.extensions_mut().insert(Replica(pod));
    Ok(next.run(request).await)
}

/// `POST /ingest/v1/decisions`
pub async fn add(
    State(ingest): State<Ingest>,
    Extension(replica): Extension<Replica>,
    body: Bytes,
) -> Result<Json<Acknowledgement>, Failure> {
    let mut batch = ingest::read(&body)?;
    drop(body);
    if !is_its_own(&batch, &replica) {
        return Err(Failure::BadRequest(format!(
            "pod {} tells here of what itself has refused or warned of, and of nothing else",
            replica.0
        )));
    }
    place(ingest.namespaces.clone(), &mut batch.audit).await?;
    ingest::stored(&ingest, batch).await
}

fn is_its_own(batch: &Batch, replica: &Replica) -> bool {
    let told = |entry: &AuditEntry| {
        use AuditDecision::{BrokeGlass, Denied, Warned, WouldDeny, WouldHold};
        let decision = entry.statement.decision;
        entry.source.replica == replica.0
            && matches!(
                decision,
                BrokeGlass | Denied | Warned | WouldDeny | WouldHold
            )
    };
    let rest = [batch.rows.len(), batch.logs.len(), batch.archived.len()];
    rest == [0; 3] && batch.audit.iter().all(told)
}

/// Says to which namespaces entries belong; to none where there is no such namespace any more, and then only the whole audit shows them.
async fn place(mut namespaces: Namespaces, entries: &mut [AuditEntry]) -> Result<(), Failure> {
    let names: Vec<String> = entries
        .iter()
        .map(|entry| entry.statement.subject.namespace.clone())
        .filter(|name| !name.is_empty())
        .collect();
    let heard = namespaces.wait_for(|known| {
        let known = known.as_ref();
        known.is_some_and(|known| names.iter().all(|name| known.contains_key(name)))
    });
    // One that is gone is never heard of.
    drop(time::timeout(HEARD, heard).await);
    let known = namespaces.borrow().clone();
    let known = known.ok_or(Failure::Waiting("the list of namespaces is"))?;
    for entry in entries {
        let subject = &mut entry.statement.subject;
        let uid = known.get(&subject.namespace).cloned();
        subject.namespace_uid = uid.unwrap_or_default();
    }
    Ok(())
}
