//! The operator's batches.

use std::{
    convert::Infallible,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};

use axum::body::Bytes;
use futures::{poll, stream};
use records::MAX_BATCHES;

use super::*;

pub async fn post(world: &World, token: &str, body: impl Into<Body>) -> Response {
    handed_in(world, "batches", token, body).await
}

/// What is handed in at a path.
pub async fn handed_in(world: &World, path: &str, token: &str, body: impl Into<Body>) -> Response {
    let request = Request::post(format!("/ingest/v1/{path}"))
        .header("Authorization", format!("Bearer {token}"));
    world
        .ingest
        .clone()
        .oneshot(request.body(body.into()).unwrap())
        .await
        .unwrap()
}

/// A body that never comes, and counts whether anybody waits for it.
fn endless(awaited: &Arc<AtomicUsize>) -> Body {
    let mut awaited = Some(Arc::clone(awaited));
    Body::from_stream(stream::poll_fn(move |_| {
        if let Some(count) = awaited.take() {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Poll::<Option<Result<Bytes, Infallible>>>::Pending
    }))
}

#[tokio::test]
async fn nothing_is_read_from_a_stranger() {
    let (world, awaited) = (World::new(), Arc::new(AtomicUsize::new(0)));
    let refused = post(&world, "admin", endless(&awaited)).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(awaited.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn few_batches_are_read_at_once_and_a_place_that_gets_free_is_taken() {
    let (world, awaited) = (World::new(), Arc::new(AtomicUsize::new(0)));
    let mut slow: Vec<_> = (0..MAX_BATCHES)
        .map(|_| Box::pin(post(&world, OPERATOR, endless(&awaited))))
        .collect();
    for post in &mut slow {
        assert!(poll!(post).is_pending());
    }
    let mut next = pin!(post(&world, OPERATOR, endless(&awaited)));
    assert!(poll!(&mut next).is_pending());
    assert_eq!(awaited.load(Ordering::SeqCst), MAX_BATCHES);
    drop(slow.pop());
    assert!(poll!(&mut next).is_pending());
    assert_eq!(awaited.load(Ordering::SeqCst), MAX_BATCHES + 1);
}

#[tokio::test]
async fn only_the_operator_writes_and_is_acknowledged() {
    let world = World::new();
    let batch = serde_json::to_string(&Batch {
        id: "7".into(),
        ..rows([row("a", "r", "t", State::Failed)])
    })
    .unwrap();
    for (token, status) in [
        ("admin", StatusCode::UNAUTHORIZED),
        (
            "system:serviceaccount:a:pilothouse-operator",
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        assert_eq!(post(&world, token, batch.clone()).await.status(), status);
    }
    assert_eq!(names(&world.get("/executions").await), [""; 0]);
    let stored = post(&world, OPERATOR, batch).await;
    assert_eq!(body(stored).await, json!({"acknowledged": "7"}));
    let ledger =
        Request::get("/ingest/v1/runs/r-uid").header("Authorization", format!("Bearer {OPERATOR}"));
    let ledger = world
        .ingest
        .clone()
        .oneshot(ledger.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(body(ledger).await["rows"][0]["target"], "t");
}

#[tokio::test]
async fn bad_batches_are_refused_for_good() {
    let world = World::new();
    let mut newer = rows([row("a", "r", "t", State::Failed)]);
    newer.rows[0].version = 9;
    let newer = serde_json::to_string(&newer).unwrap();
    for (text, status, named) in [
        ("{}".to_owned(), StatusCode::BAD_REQUEST, "id"),
        (newer, StatusCode::BAD_REQUEST, "version 9"),
    ] {
        let response = post(&world, OPERATOR, text).await;
        assert_eq!(response.status(), status);
        let told = body(response).await;
        assert!(told["message"].as_str().unwrap().contains(named), "{told}");
    }
    let large = post(&world, OPERATOR, " ".repeat(records::MAX_BATCH_BYTES + 1)).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn on_a_volume_that_is_nearly_full_rows_are_kept_and_output_is_not() {
    for (percent, kept) in [(89, 1), (90, 0)] {
        let world = World::on_a_volume(if percent == 89 {
            |_| Some(89)
        } else {
            |_| Some(90)
        });
        let mut batch = rows([row("a", "r", "t", State::Failed)]);
        let key = batch.rows[0].key.clone();
        let (offset, data) = (0, b"output".to_vec());
        batch.logs.push(LogChunk {
            key: key.clone(),
            offset,
            data,
        });
        let taken = post(&world, OPERATOR, serde_json::to_vec(&batch).unwrap()).await;
        assert_eq!(taken.status(), StatusCode::OK);
        assert_eq!(world.store.run("r-uid".into()).await.unwrap().len(), 1);
        let log = world.store.log(key.digest(), 0, 100).await.unwrap();
        assert_eq!(log.len(), kept, "{percent} %");
    }
}
