//! Watches: order, kinds of events, bookmarks, ends.

use super::*;

#[tokio::test]
async fn a_watch_tells_changes_in_order() {
    let world = World::new();
    world.add([row("a", "r", "t0", State::Started)]).await;
    let from = world.get("/namespaces/a/executions").await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut all = world
        .watch(&format!(
            "/namespaces/a/executions?watch=true&resourceVersion={from}"
        ))
        .await;
    let mut started = world.watch(&format!("/namespaces/a/executions?watch=true&resourceVersion={from}&fieldSelector=state%3DStarted")).await;
    world
        .add([
            row("a", "r", "t1", State::Started),
            row("b", "r", "t0", State::Started),
        ])
        .await;
    assert_eq!(all.told().await, event("ADDED", "r.step.t1.1"));
    assert_eq!(started.told().await, event("ADDED", "r.step.t1.1"));
    world.add([row("a", "r", "t0", State::Failed)]).await;
    assert_eq!(all.told().await, event("MODIFIED", "r.step.t0.1"));
    assert_eq!(
        started.told().await,
        event("DELETED", "r.step.t0.1"),
        "it is no longer among the started"
    );
    let retention = Retention {
        audit: Duration::from_hours(365 * 24),
        age: Duration::ZERO,
        size: u64::MAX,
        removals: Duration::from_hours(1),
        protected_runs: std::collections::HashSet::new(),
    };
    world
        .store
        .sweep(retention, Timestamp::now() + Duration::from_hours(2))
        .await
        .unwrap();
    assert_eq!(all.told().await.0, "DELETED");
    assert_eq!(all.told().await.0, "DELETED");
}

#[tokio::test]
async fn a_watch_without_a_position_begins_with_what_is_there() {
    let world = World::new();
    world
        .add([
            row("a", "r", "t0", State::Started),
            row("b", "r", "t0", State::Started),
        ])
        .await;
    let list =
        "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    for query in ["watch=1", list] {
        let mut events = world.watch(&format!("/executions?{query}")).await;
        assert_eq!(
            [events.told().await.0, events.told().await.0],
            ["ADDED", "ADDED"]
        );
        if query == list {
            let bookmark = events.next().await.unwrap();
            assert_eq!(bookmark["type"], "BOOKMARK");
            assert_eq!(
                bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
                "true"
            );
        }
    }
}

#[tokio::test]
async fn a_watch_ends_with_a_reason() {
    let world = World::new();
    let mut stale = world.watch("/executions?watch=1&resourceVersion=1").await;
    let error = stale.next().await.unwrap();
    assert_eq!(
        (&error["type"], &error["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert!(stale.next().await.is_none());
    let mut anew = world.watch("/namespaces/a/executions?watch=1").await;
    world
        .namespaces
        .send_replace(Some(known(&[("a", "another-uid")])));
    assert!(
        anew.next().await.is_none(),
        "a namespace made anew is another namespace"
    );
    let mut last = world.watch("/executions?watch=1").await;
    world.shutdown.cancel();
    assert!(last.next().await.is_none());
}
