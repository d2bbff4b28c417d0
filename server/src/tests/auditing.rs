//! What is found of the audit, by whom, in which forms, and what it takes to verify it.

use axum::http::StatusCode;
use crds::audit::{Checkpoint, Head, Link};
use records::conformance::{decided, told};
use serde_json::json;

use super::{ADMIN, OPERATOR, READER, Slot, TABLE, World, body, ingesting, known, names};
use crate::signing;

/// Three decisions: two about runs of `a`, one of a namespace that is no more.
async fn world() -> World {
    let world = World::new();
    let mut entries = [decided("o", 1), decided("o", 2), decided("o", 4)];
    for (entry, namespace) in entries.iter_mut().zip(["a", "gone", "a"]) {
        entry.statement.subject.namespace = namespace.into();
        entry.statement.subject.namespace_uid = format!("{namespace}-uid");
    }
    entries[2].statement.actor.user = "bob".into();
    let batch = serde_json::to_string(&told(entries)).unwrap();
    for _ in 0..2 {
        // The second time as if the acknowledgement had been lost.
        let answer = ingesting::handed_in(&world, "audit", OPERATOR, batch.clone()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(body(answer).await["acknowledged"], "audit");
    }
    world
}

#[tokio::test]
async fn a_namespace_shows_its_own_and_the_cluster_everything_that_ever_was() {
    let world = world().await;
    let all = world.get("/auditentries").await;
    assert_eq!(
        names(&all),
        ["000000000001", "000000000002", "000000000003"]
    );
    let own = world.get("/namespaces/a/auditentries").await;
    assert_eq!(names(&own), ["000000000001", "000000000003"]);
    let of_bob = world
        .get("/namespaces/a/auditentries?fieldSelector=user%3Dbob,decision%3DHeld,subject%3Dnightly,policy%3Dhouse,kind%3DJobRun,rule%3Dno-beep")
        .await;
    assert_eq!(names(&of_bob), ["000000000003"]);
    let named = "/auditentries?fieldSelector=metadata.name%3D000000000002";
    assert_eq!(names(&world.get(named).await), ["000000000002"]);
    let one = world.get("/namespaces/a/auditentries/000000000003").await;
    assert_eq!(
        (
            &one["kind"],
            &one["entry"]["number"],
            &one["entry"]["follows"]
        ),
        (&json!("AuditEntry"), &json!(4), &json!(2))
    );
    for absent in ["000000000002", "3", "x"] {
        let path = format!("/namespaces/a/auditentries/{absent}");
        world
            .refused(&path, &ADMIN, StatusCode::NOT_FOUND, "NotFound")
            .await;
    }
}

#[tokio::test]
async fn what_is_served_is_all_that_it_takes_to_verify() {
    let world = world().await;
    let (mut path, mut head) = ("/auditentries?limit=2".to_owned(), Head::default());
    loop {
        let page = world.get(&path).await;
        for item in page["items"].as_array().unwrap() {
            let text = |name: &str| item[name].as_str().unwrap().to_owned();
            let link = Link {
                sequence: item["sequence"].as_i64().unwrap(),
                previous: text("previous"),
                hash: text("hash"),
                entry: item["entry"].clone(),
            };
            assert_eq!(link.previous, head.hash);
            assert_eq!(link.computed().as_ref(), Some(&link.hash));
            head = link.head();
        }
        let Some(next) = page["metadata"]["continue"].as_str() else {
            break;
        };
        path = format!("/auditentries?limit=2&continue={next}");
    }
    assert_eq!(head.sequence, 3);

    let slot = Slot::default();
    slot.fill(world.store.clone());
    let mut last = None;
    for _ in 0..2 {
        signing::look(&slot, &world.key, &mut last).await.unwrap();
    }
    let signed = world.get("/auditcheckpoints").await;
    assert_eq!(
        names(&signed),
        ["000000000003"],
        "nothing new, nothing signed"
    );
    let item = &signed["items"][0];
    assert_eq!(item["publicKey"], world.key.public());
    let checkpoint: Checkpoint = serde_json::from_value(item["checkpoint"].clone()).unwrap();
    assert_eq!(checkpoint.head(), head);
    assert_eq!(checkpoint, world.key.sign(&head, checkpoint.at));
    assert_eq!(&world.get("/auditcheckpoints/000000000003").await, item);
    world
        .refused(
            "/auditcheckpoints/000000000002",
            &ADMIN,
            StatusCode::NOT_FOUND,
            "NotFound",
        )
        .await;
}

#[tokio::test]
async fn a_table_says_who_what_and_by_which_rule() {
    let world = world().await;
    let [as_front, user] = ADMIN;
    let asked = [as_front, user, ("Accept", TABLE)];
    let table = body(world.ask("/namespaces/a/auditentries", &asked).await).await;
    let cells = table["rows"][1]["cells"].as_array().unwrap();
    let wanted = [
        "000000000003",
        "Held",
        "bob",
        "jobrun/nightly",
        "house/no-beep",
    ];
    assert_eq!(cells[..5], wanted.map(|cell| json!(cell)));
    assert_eq!(cells[8], "o/start#4");
}

#[tokio::test]
async fn only_those_who_may_read_and_nobody_but_the_operator_writes() {
    let world = world().await;
    let mine = "/namespaces/a/auditentries";
    assert_eq!(world.ask(mine, &READER).await.status(), StatusCode::OK);
    for path in ["/auditentries", "/auditcheckpoints"] {
        world
            .refused(path, &READER, StatusCode::FORBIDDEN, "Forbidden")
            .await;
    }
    world
        .namespaces
        .send_replace(Some(known(&[("a", "made-anew")])));
    assert_eq!(names(&world.get(mine).await), [""; 0]);
    let batch = serde_json::to_string(&told([decided("x", 1)])).unwrap();
    let answer = ingesting::handed_in(&world, "audit", "system:stranger", batch).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_what_can() {
    let world = world().await;
    for bad in [
        "auditentries?labelSelector=app%3Dshop",
        "auditentries?fieldSelector=state%3DFailed",
        "auditentries?fieldSelector=user!%3Dbob",
        "auditentries?continue=x",
        "auditcheckpoints?fieldSelector=metadata.name%3Dx",
    ] {
        world
            .refused(
                &format!("/{bad}"),
                &ADMIN,
                StatusCode::BAD_REQUEST,
                "BadRequest",
            )
            .await;
    }
    for watched in ["/auditentries?watch=true", "/auditcheckpoints?watch=true"] {
        world
            .refused(
                watched,
                &ADMIN,
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
            )
            .await;
    }
}
