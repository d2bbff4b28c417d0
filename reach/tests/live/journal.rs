//! Work over a host's journal, by a toolkit that is a fake.

use std::time::Duration;

use crds::journal::{EndReason, Interpreter, KeyRequest, RefusedReason};
use reach::{
    host,
    host::{Error, Outcome, Progress, Windows},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fake::{WINDOWS, key, request, stage};

#[tokio::test]
async fn the_toolkit_is_copied_once_and_an_effect_is_found_again_after_a_cut() {
    let stage = stage().await;
    let (sink, mut progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let watching = async {
        let mut heard = Vec::new();
        while let Some(piece) = progress.recv().await {
            let Progress::Output(output) = piece else {
                continue;
            };
            let first = heard.is_empty();
            heard.push((output.offset, String::from_utf8(output.data).unwrap()));
            if first {
                stage.server.cut();
            } else {
                std::fs::write(stage.root().join("over"), "").unwrap();
            }
        }
        heard
    };
    let running = async {
        let outcome = host::run(
            &stage.fleet,
            &toolkit,
            &stage.target,
            &request,
            WINDOWS,
            &sink,
            &CancellationToken::new(),
        )
        .await;
        drop(sink);
        outcome.unwrap()
    };
    let (outcome, heard) = tokio::join!(running, watching);
    assert!(matches!(outcome, Outcome::Ended(end) if end.exit_code == Some(0)));
    assert_eq!(
        heard,
        [(0, "hello".to_owned()), (5, " world".to_owned())],
        "nothing twice, nothing lost"
    );
    assert_eq!(
        std::fs::read_to_string(stage.root().join("effects")).unwrap(),
        "effect\n"
    );
    let copies = stage
        .server
        .commands()
        .iter()
        .filter(|command| command.contains("mkdir -p"))
        .count();
    assert_eq!(copies, 1);
}

#[tokio::test]
async fn a_host_that_is_not_found_again_leaves_the_effect_detached() {
    let stage = stage().await;
    let (sink, mut progress) = mpsc::channel(8);
    let windows = Windows {
        reattach: Duration::from_millis(150),
        ..WINDOWS
    };
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let running = stage.run(&toolkit, &request, windows, &sink, &never);
    let cutting = async {
        while !matches!(progress.recv().await, Some(Progress::Output(_))) {}
        stage.server.shut();
    };
    let (outcome, ()) = tokio::join!(running, cutting);
    assert!(matches!(
        outcome.unwrap(),
        Outcome::Detached { started: true, .. }
    ));
}

#[tokio::test]
async fn a_connection_lost_while_the_toolkit_is_copied_is_tried_again() {
    let stage = stage().await;
    stage.sign("over");
    let (sink, _progress) = mpsc::channel(64);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let running = stage.run(&toolkit, &request, WINDOWS, &sink, &never);
    let cutting = async {
        stage.until_commanded("mkdir -p").await;
        stage.server.cut();
    };
    let (outcome, ()) = tokio::join!(running, cutting);
    assert!(matches!(outcome.unwrap(), Outcome::Ended(_)));
    assert_eq!(stage.effects(), 1);
}

#[tokio::test]
async fn a_host_that_is_away_is_an_error_only_if_nothing_can_have_begun() {
    let stage = stage().await;
    stage.server.shut();
    let (sink, _progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let fresh = Windows {
        delivery: Duration::from_millis(400),
        ..WINDOWS
    };
    let error = stage
        .run(&toolkit, &request, fresh, &sink, &never)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Delivery { .. }) && error.is_passing(),
        "{error}"
    );
    let begun = Windows {
        reattach: Duration::from_millis(400),
        begun: true,
        ..WINDOWS
    };
    let outcome = stage.run(&toolkit, &request, begun, &sink, &never).await;
    assert!(matches!(
        outcome.unwrap(),
        Outcome::Detached { started: false, .. }
    ));
}

#[tokio::test]
async fn a_refusal_of_what_may_have_begun_is_no_proof_that_it_did_not() {
    let stage = stage().await;
    stage.sign("stale");
    let (sink, _progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let fresh = stage.run(&toolkit, &request, WINDOWS, &sink, &never).await;
    assert_eq!(fresh.unwrap_err().reason(), "StaleLeader");
    let begun = Windows {
        begun: true,
        ..WINDOWS
    };
    let outcome = stage.run(&toolkit, &request, begun, &sink, &never).await;
    assert!(
        matches!(outcome.unwrap(), Outcome::Detached { cause, .. } if cause.reason() == "StaleLeader")
    );
}

#[tokio::test]
async fn a_toolkit_that_dies_before_it_answers_is_asked_again() {
    let stage = stage().await;
    stage.sign("dies");
    stage.sign("over");
    let (sink, _progress) = mpsc::channel(64);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let outcome = stage.run(&toolkit, &request, WINDOWS, &sink, &never).await;
    assert!(matches!(outcome.unwrap(), Outcome::Ended(_)));
}

#[tokio::test]
async fn work_that_goes_on_longer_than_it_may_is_detached() {
    let stage = stage().await;
    let (sink, _progress) = mpsc::channel(64);
    let (toolkit, mut request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    (request.timeout_seconds, request.grace_seconds) = (Some(1), 0);
    let windows = Windows {
        reattach: Duration::from_secs(2),
        ..WINDOWS
    };
    let never = CancellationToken::new();
    let outcome = stage.run(&toolkit, &request, windows, &sink, &never).await;
    assert!(
        matches!(outcome.unwrap(), Outcome::Detached { cause, .. } if cause.reason() == "Overdue")
    );
}

#[tokio::test]
async fn what_is_cancelled_before_it_is_sent_is_over_at_once() {
    let stage = stage().await;
    stage.server.shut();
    let (sink, _progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let outcome = stage.run(&toolkit, &request, WINDOWS, &sink, &cancel).await;
    assert!(matches!(outcome.unwrap(), Outcome::Cancelled));
}

#[tokio::test]
async fn what_an_earlier_call_may_have_started_is_ended_and_never_started_by_a_cancel() {
    let stage = stage().await;
    let (sink, _progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let begun = Windows {
        begun: true,
        ..WINDOWS
    };
    let outcome = stage.run(&toolkit, &request, begun, &sink, &cancel).await;
    assert!(matches!(outcome.unwrap(), Outcome::Ended(end) if end.started_at.is_none()));
    assert_eq!(stage.effects(), 0);
}

#[tokio::test]
async fn a_cancel_reaches_the_host_though_nobody_takes_the_output() {
    let stage = stage().await;
    stage.sign("loud");
    let (sink, mut progress) = mpsc::channel(1);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let cancel = CancellationToken::new();
    let running = async {
        let outcome = stage.run(&toolkit, &request, WINDOWS, &sink, &cancel).await;
        drop(sink);
        outcome.unwrap()
    };
    let cancelling = async {
        stage.until_commanded(" exec").await;
        while stage.effects() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
        while !stage.root().join("over").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut next = 0;
        while let Some(piece) = progress.recv().await {
            if let Progress::Output(output) = piece {
                assert!(output.offset >= next, "nothing twice");
                next = output.offset + output.data.len() as u64;
            }
        }
        next
    };
    let (outcome, told) = tokio::join!(running, cancelling);
    assert!(matches!(outcome, Outcome::Ended(end) if end.started_at.is_some()));
    assert_eq!(told, 11 + 2000 * 1026, "all of it");
}

#[tokio::test]
async fn a_damaged_toolkit_is_copied_again_and_an_unsafe_folder_is_refused() {
    let stage = stage().await;
    let toolkit = stage.toolkit();
    let about = KeyRequest {
        version: 1,
        key: key(),
        epoch: 1,
    };
    let cancel = || {
        host::cancel(
            &stage.fleet,
            &toolkit,
            &stage.target,
            &about,
            Duration::from_secs(20),
        )
    };
    assert_eq!(cancel().await.unwrap().reason, EndReason::Cancelled);
    std::fs::write(toolkit.path(), "#!/bin/sh\necho evil\n").unwrap();
    assert_eq!(cancel().await.unwrap().reason, EndReason::Cancelled);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(stage.root().join("bin"), open).unwrap();
    assert_eq!(cancel().await.unwrap_err().reason(), "PathNotSafe");
    std::fs::remove_file(toolkit.path()).unwrap();
    assert_eq!(
        cancel().await.unwrap_err().reason(),
        "PathNotSafe",
        "nothing is copied into it either"
    );
}

#[tokio::test]
async fn a_refusal_keeps_its_reason_and_a_folder_that_cannot_be_written_is_named() {
    let stage = stage().await;
    let about = KeyRequest {
        version: 1,
        key: key(),
        epoch: 1,
    };
    let patience = Duration::from_secs(20);
    let error = host::forget(
        &stage.fleet,
        &stage.toolkit(),
        &stage.target,
        &about,
        patience,
    )
    .await
    .unwrap_err();
    assert!(
        matches!(&error, Error::Refused { refused, .. } if refused.reason == RefusedReason::StaleLeader),
        "{error}"
    );
    let nowhere = stage.toolkit().in_folder("/proc/pilothouse/bin");
    let error = host::forget(&stage.fleet, &nowhere, &stage.target, &about, patience)
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "PathNotWritable");
    assert!(
        error.to_string().contains("/proc/pilothouse/bin"),
        "{error}"
    );
}
