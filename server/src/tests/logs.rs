//! Output: offsets, gaps, following.

use super::*;

fn output(execution: &Execution, offset: u64, text: &str) -> Batch {
    Batch {
        id: "output".into(),
        logs: vec![LogChunk {
            key: execution.key.clone(),
            offset,
            data: text.into(),
        }],
        ..Batch::default()
    }
}

#[tokio::test]
async fn a_log_is_read_from_an_offset_and_names_what_is_missing() {
    let world = World::new();
    let execution = row("a", "r", "t", State::Failed);
    world.add([execution.clone()]).await;
    for (offset, text) in [(0, "hello "), (6, "world"), (20, "end")] {
        world
            .store
            .append(output(&execution, offset, text))
            .await
            .unwrap();
    }
    let log = "/namespaces/a/executions/r.step.t.1/log";
    for (query, wanted) in [
        ("", "hello world\n[9 bytes of output were not kept]\nend"),
        ("?offset=8&limitBytes=2", "rl"),
        ("?offset=22", "d"),
        ("?offset=99", ""),
    ] {
        let response = world.ask(&format!("{log}{query}"), &ADMIN).await;
        assert!(
            response.headers()[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .starts_with("text/plain")
        );
        let text = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(text, wanted, "{query}");
    }
}

#[tokio::test]
async fn a_followed_log_ends_with_its_execution() {
    let world = World::new();
    let mut execution = row("a", "r", "t", State::Started);
    world.add([execution.clone()]).await;
    let path = "/namespaces/a/executions/r.step.t.1/log?follow=true";
    let response = world.ask(path, &ADMIN).await;
    let mut text = response.into_body().into_data_stream();
    for (offset, piece) in [(0, "one "), (4, "two")] {
        world
            .store
            .append(output(&execution, offset, piece))
            .await
            .unwrap();
        assert_eq!(text.next().await.unwrap().unwrap(), piece);
    }
    execution.state = State::Succeeded;
    execution.output_bytes = 12;
    world.add([execution.clone()]).await;
    world
        .store
        .append(output(&execution, 7, " last"))
        .await
        .unwrap();
    assert_eq!(
        text.next().await.unwrap().unwrap(),
        " last",
        "output that comes after the end is waited for"
    );
    assert!(text.next().await.is_none());
}
