//! What replicas of the webhook may tell.

use axum::http::StatusCode;
use crds::audit::{AuditDecision, AuditEntry};
use records::conformance::{decided, row, rows, told};
use serde_json::json;

use super::{OPERATOR, State, WEBHOOK, World, ingesting, names};

/// What a pod has refused in a namespace, whichever UID it says that this has.
fn denied(pod: &str, number: i64, namespace: &str) -> AuditEntry {
    let mut entry = decided(pod, number);
    entry.statement.decision = AuditDecision::Denied;
    entry.statement.subject.namespace = namespace.into();
    entry.statement.subject.namespace_uid = "b-uid".into();
    entry
}

async fn status(world: &World, path: &str, token: &str, batch: &crds::execution::Batch) -> u16 {
    let text = serde_json::to_string(batch).unwrap();
    let answer = ingesting::handed_in(world, path, token, text).await;
    answer.status().as_u16()
}

#[tokio::test]
async fn a_replica_tells_of_its_own_decisions_and_the_store_knows_where() {
    let world = World::new();
    let token = format!("{WEBHOOK}@w-1");
    let batch = told([
        denied("w-1", 1, "a"),
        denied("w-1", 2, "gone"),
        denied("w-1", 3, "a"),
    ]);
    assert_eq!(status(&world, "decisions", &token, &batch).await, 200);
    let of_a = world.get("/namespaces/a/auditentries").await;
    assert_eq!(names(&of_a), ["000000000001", "000000000003"]);
    let of_b = world.get("/namespaces/b/auditentries").await;
    assert_eq!(names(&of_b), [""; 0], "nobody says where it belongs");
    assert_eq!(names(&world.get("/auditentries").await).len(), 3);
    let by_id = "/namespaces/a/auditentries?fieldSelector=id%3Dstart-3";
    let found = world.get(by_id).await;
    assert_eq!(names(&found), ["000000000003"]);
    let source = &found["items"][0]["entry"]["source"];
    assert_eq!(source, &json!({"replica": "w-1", "start": "start"}));
}

#[tokio::test]
async fn a_replica_writes_nothing_else_and_in_no_other_name() {
    let world = World::new();
    let (pod, unbound) = (format!("{WEBHOOK}@w-1"), WEBHOOK.to_owned());
    let own = told([denied("w-1", 1, "a")]);
    let mut approved = own.clone();
    approved.audit[0].statement.decision = AuditDecision::Approved;
    let mut with_rows = rows([row("a", "r", "t", State::Failed)]);
    with_rows.audit.clone_from(&own.audit);
    let other = told([denied("w-2", 1, "a")]);
    for (path, token, batch, wanted) in [
        ("decisions", &pod, &other, StatusCode::BAD_REQUEST),
        ("decisions", &pod, &approved, StatusCode::BAD_REQUEST),
        ("decisions", &pod, &with_rows, StatusCode::BAD_REQUEST),
        ("decisions", &unbound, &own, StatusCode::UNAUTHORIZED),
        (
            "decisions",
            &OPERATOR.to_owned(),
            &own,
            StatusCode::UNAUTHORIZED,
        ),
        ("audit", &pod, &own, StatusCode::UNAUTHORIZED),
        ("batches", &pod, &own, StatusCode::UNAUTHORIZED),
        ("archives", &pod, &own, StatusCode::UNAUTHORIZED),
    ] {
        let found = status(&world, path, token, batch).await;
        assert_eq!(found, wanted.as_u16(), "{path} {token}");
    }
    assert_eq!(names(&world.get("/auditentries").await), [""; 0]);
    assert_eq!(names(&world.get("/executions").await), [""; 0]);
}
