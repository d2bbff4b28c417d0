//! Lists, objects, tables, rights and refusals.

use super::*;

#[tokio::test]
async fn lists_are_paged_and_selected() {
    let world = World::new();
    world
        .add(
            (0..5)
                .map(|i| row("a", "r", &format!("t{i}"), State::Succeeded))
                .collect::<Vec<_>>(),
        )
        .await;
    world
        .add([
            row("b", "r", "t0", State::Failed),
            row("gone", "r", "t0", State::Failed),
        ])
        .await;
    let first = world.get("/executions?limit=4").await;
    assert_eq!(
        (&first["kind"], first["items"].as_array().unwrap().len()),
        (&json!("ExecutionList"), 4)
    );
    let token = first["metadata"]["continue"].as_str().unwrap();
    world.add([row("a", "r", "t9", State::Failed)]).await;
    let second = world
        .get(&format!("/executions?limit=4&continue={token}"))
        .await;
    let places: Vec<_> = second["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["metadata"]["namespace"])
        .collect();
    assert_eq!(
        places,
        ["a", "a", "b"],
        "namespaces that are gone show nothing"
    );
    assert_eq!(
        second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"],
        "a watch from there misses nothing"
    );
    assert_eq!(second["metadata"]["continue"], Value::Null);
    let failed = world.get("/executions?fieldSelector=state%3DFailed").await;
    assert_eq!(names(&failed), ["r.step.t9.1", "r.step.t0.1"]);
    let labelled = world
        .get("/namespaces/a/executions?labelSelector=pilothouse.dev/target%20in%20(t1,t2)")
        .await;
    assert_eq!(names(&labelled), ["r.step.t1.1", "r.step.t2.1"]);
    assert_eq!(
        names(&world.get("/namespaces/nowhere/executions").await),
        [""; 0]
    );
}

#[tokio::test]
async fn a_list_without_a_limit_is_paged_too_and_every_row_is_on_one_page() {
    let world = World::new();
    let all = (0..1_001).map(|i| row("a", "r", &format!("t{i:04}"), State::Failed));
    world.add(all.collect::<Vec<_>>()).await;
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    let mut from = String::new();
    loop {
        let page = world
            .get(&format!("/executions?limit=0&continue={from}"))
            .await;
        sizes.push(names(&page).len());
        seen.extend(names(&page).into_iter().map(ToOwned::to_owned));
        match page["metadata"]["continue"].as_str() {
            Some(token) => token.clone_into(&mut from),
            None => break,
        }
    }
    assert_eq!(sizes, [500, 500, 1]);
    seen.dedup();
    assert_eq!(seen.len(), 1_001);
    let wide = world.get("/executions?limit=10000").await;
    assert_eq!(names(&wide).len(), 500);
}

#[tokio::test]
async fn an_object_says_what_it_is() {
    let world = World::new();
    world.add([row("a", "r", "t", State::Failed)]).await;
    let one = world.get("/namespaces/a/executions/r.step.t.1").await;
    assert_eq!(
        (&one["kind"], &one["apiVersion"]),
        (
            &json!("Execution"),
            &json!("records.pilothouse.dev/v1alpha1")
        )
    );
    assert_eq!(one["metadata"]["labels"]["pilothouse.dev/run"], "r");
    assert_eq!(one["metadata"]["labels"]["pilothouse.dev/run-uid"], "r-uid");
    assert_eq!(one["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(one["execution"]["state"], "Failed");
}

#[tokio::test]
async fn a_table_has_cells_for_its_columns() {
    let world = World::new();
    world.add([row("a", "r", "t", State::Failed)]).await;
    let accept = |kind| [ADMIN[0], ADMIN[1], ("Accept", kind)];
    for path in [
        "/namespaces/a/executions",
        "/namespaces/a/executions/r.step.t.1",
    ] {
        let table = body(world.ask(path, &accept(TABLE)).await).await;
        assert_eq!(
            (&table["kind"], &table["apiVersion"]),
            (&json!("Table"), &json!("meta.k8s.io/v1"))
        );
        let (columns, line) = (
            table["columnDefinitions"].as_array().unwrap(),
            &table["rows"][0],
        );
        assert_eq!(columns.len(), line["cells"].as_array().unwrap().len());
        assert_eq!(
            (&line["cells"][0], &line["cells"][1]),
            (&json!("r.step.t.1"), &json!("Failed"))
        );
        assert_eq!(line["object"]["kind"], "PartialObjectMetadata");
    }
    let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = body(world.ask("/executions", &accept(metadata)).await).await;
    assert_eq!(
        (&list["kind"], &list["items"][0]["execution"]),
        (&json!("PartialObjectMetadataList"), &Value::Null)
    );
}

#[tokio::test]
async fn nobody_gets_what_they_may_not() {
    let world = World::new();
    world.add([row("a", "r", "t", State::Failed)]).await;
    assert_eq!(
        world
            .ask("/namespaces/a/executions", &READER)
            .await
            .status(),
        StatusCode::OK
    );
    let forbidden = StatusCode::FORBIDDEN;
    for path in [
        "/executions",
        "/namespaces/b/executions",
        "/namespaces/b/executions?watch=1",
        "/namespaces/a/executions/r.step.t.1/log",
    ] {
        let told = world.refused(path, &READER, forbidden, "Forbidden").await;
        assert!(
            told["message"]
                .as_str()
                .unwrap()
                .contains("User \"reader\" cannot"),
            "{told}"
        );
    }
    for headers in [
        &[][..],
        &[("Authorization", "Bearer forged")],
        &[("Authorization", "Basic x")],
        &[("X-Remote-User", "admin")],
        &[ADMIN[0]],
        &[("Authorization", "Bearer system:nobody"), ADMIN[1]],
        &[("Authorization", "Bearer admin"), ADMIN[1]],
    ] {
        world
            .refused(
                "/executions",
                headers,
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
            )
            .await;
    }
}

#[tokio::test]
async fn bad_requests_are_named() {
    let world = World::new();
    for (path, named) in [
        ("/executions?fieldSelector=spec.x%3D1", "spec.x"),
        ("/executions?labelSelector=app%3Dweb", "app=web"),
        ("/executions?resourceVersion=abc", "abc"),
        ("/executions?continue=abc", "continue"),
    ] {
        let told = world
            .refused(path, &ADMIN, StatusCode::BAD_REQUEST, "BadRequest")
            .await;
        assert!(told["message"].as_str().unwrap().contains(named), "{told}");
    }
    world
        .refused(
            "/namespaces/a/executions/none",
            &ADMIN,
            StatusCode::NOT_FOUND,
            "NotFound",
        )
        .await;
    world
        .refused(
            "/executions?resourceVersion=1",
            &ADMIN,
            StatusCode::GONE,
            "Expired",
        )
        .await;
    let delete = Request::delete(format!("{BASE}/executions"))
        .body(Body::empty())
        .unwrap();
    let response = world.api.clone().oneshot(delete).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(body(response).await["kind"], "Status");
}

#[tokio::test]
async fn a_store_that_is_not_open_says_so() {
    let World { store, folder, .. } = World::new();
    let world = World::with(Slot::default(), store, folder, |_| None);
    for path in [
        "/executions",
        "/executions?watch=1",
        "/namespaces/a/executions/x",
    ] {
        world
            .refused(
                path,
                &ADMIN,
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
            )
            .await;
    }
}
