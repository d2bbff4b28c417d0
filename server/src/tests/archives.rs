//! What is found of objects that have finished, by whom, and in which forms.

use axum::http::StatusCode;
use crds::execution::Batch;
use records::conformance::archived;
use serde_json::json;

use super::{ADMIN, READER, TABLE, WATCHER, World, body, known, names};

async fn world() -> World {
    let world = World::new();
    let archived = vec![
        archived("a", "JobRun", "nightly", "11111111"),
        archived("a", "RunAction", "nightly-cancel", "22222222"),
        archived("b", "JobRun", "nightly", "33333333"),
        archived("b", "ChangeTicket", "move.db-8", "44444444"),
    ];
    let batch = Batch {
        archived,
        ..Batch::default()
    };
    world.store.append(batch).await.unwrap();
    world
}

#[tokio::test]
async fn a_finished_object_is_listed_and_read_whole() {
    let world = world().await;
    let all = world.get("/archives").await;
    let found = [
        "jobrun.nightly.11111111",
        "runaction.nightly-cancel.22222222",
        "changeticket.move.db-8.44444444",
        "jobrun.nightly.33333333",
    ];
    assert_eq!(names(&all), found);
    let chosen = "/namespaces/a/archives?fieldSelector=kind%3DJobRun,object%3Dnightly";
    assert_eq!(names(&world.get(chosen).await), ["jobrun.nightly.11111111"]);
    let one = world
        .get("/namespaces/a/archives/jobrun.nightly.11111111")
        .await;
    assert_eq!(
        (&one["kind"], &one["outcome"]),
        (&json!("Archive"), &json!("Succeeded"))
    );
    assert_eq!(one["object"]["spec"]["note"], "a\u{0}b");
    assert_eq!(one["metadata"]["uid"], "11111111-9c1f");
}

#[tokio::test]
async fn a_table_says_what_it_was_and_how_it_ended() {
    let world = world().await;
    let [as_front, user] = ADMIN;
    let asked = [as_front, user, ("Accept", TABLE)];
    let table = body(world.ask("/namespaces/a/archives", &asked).await).await;
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    let wanted = ["jobrun.nightly.11111111", "JobRun", "nightly", "Succeeded"].map(|c| json!(c));
    assert_eq!(cells[..4], wanted);
}

#[tokio::test]
async fn pages_follow_each_other_over_namespaces() {
    let world = world().await;
    let (mut path, mut found) = ("/archives?limit=1".to_owned(), Vec::new());
    loop {
        let page = world.get(&path).await;
        found.extend(names(&page).into_iter().map(ToOwned::to_owned));
        let Some(next) = page["metadata"]["continue"].as_str() else {
            break;
        };
        path = format!("/archives?limit=1&continue={next}");
    }
    assert_eq!(found.len(), 4, "{found:?}");
}

#[tokio::test]
async fn only_those_who_may_and_only_of_the_namespace_that_is_there_now() {
    let world = world().await;
    let mine = "/namespaces/a/archives/jobrun.nightly.11111111";
    assert_eq!(world.ask(mine, &READER).await.status(), StatusCode::OK);
    for path in [
        "/archives",
        "/namespaces/b/archives",
        "/namespaces/b/archives/jobrun.nightly.33333333",
    ] {
        world
            .refused(path, &READER, StatusCode::FORBIDDEN, "Forbidden")
            .await;
    }
    world
        .namespaces
        .send_replace(Some(known(&[("a", "made-anew")])));
    assert_eq!(names(&world.get("/archives").await), [""; 0]);
    world
        .refused(mine, &ADMIN, StatusCode::NOT_FOUND, "NotFound")
        .await;
}

#[tokio::test]
async fn what_is_kept_of_a_kind_is_read_by_those_who_may_read_the_kind() {
    let world = world().await;
    let all = body(world.ask("/namespaces/b/archives", &WATCHER).await).await;
    assert_eq!(names(&all), ["jobrun.nightly.33333333"], "and no ticket");
    let ticket = "/namespaces/b/archives/changeticket.move.db-8.44444444";
    assert_eq!(world.ask(ticket, &ADMIN).await.status(), StatusCode::OK);
    for path in [
        ticket,
        "/namespaces/b/archives/changeticket.never.44444444",
        "/archives?fieldSelector=kind%3DChangeTicket",
        "/namespaces/b/archives?fieldSelector=metadata.name%3Dchangeticket.move.db-8.44444444",
    ] {
        world
            .refused(path, &WATCHER, StatusCode::FORBIDDEN, "Forbidden")
            .await;
    }
    let nothing = "/namespaces/b/archives?fieldSelector=kind%3DSecret";
    assert_eq!(names(&world.get(nothing).await), [""; 0]);
    world
        .refused(
            "/namespaces/b/archives/secret.key.44444444",
            &ADMIN,
            StatusCode::NOT_FOUND,
            "NotFound",
        )
        .await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_what_can() {
    let world = world().await;
    for bad in [
        "labelSelector=app%3Dshop",
        "fieldSelector=state%3DFailed",
        "fieldSelector=kind!%3DJobRun",
        "continue=x",
    ] {
        let path = format!("/archives?{bad}");
        world
            .refused(&path, &ADMIN, StatusCode::BAD_REQUEST, "BadRequest")
            .await;
    }
    let watched = "/archives?watch=true";
    world
        .refused(
            watched,
            &ADMIN,
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
        )
        .await;
}
