//! Step pods against a cluster in memory.

use std::{collections::BTreeMap, time::Duration};

use crds::{execution::State, key::EffectKey, v1alpha1::Resources};
use jiff::Timestamp;
use reach::pod::{
    Outcome, Piece, Placed, Recorder, StepPod, attach, cancel, follow, release, start, sweep,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn},
};
use tokio_util::sync::CancellationToken;

use crate::api::Cluster;

fn step() -> StepPod {
    StepPod {
        namespace: "shop".into(),
        run: "nightly".into(),
        key: EffectKey {
            attempt: 1,
            cluster: "c".into(),
            plan: "p".into(),
            run: "run-uid".into(),
            step: "backup".into(),
            target: String::new(),
        },
        service_account: "runner".into(),
        image: "local/tool:1".into(),
        command: vec!["/tool".into()],
        args: Vec::new(),
        env: BTreeMap::new(),
        resources: Resources::default(),
        run_as_user: 1000,
        delivery: Duration::from_secs(30),
        execution: Duration::from_secs(30),
    }
}

fn recorder() -> (Recorder, mpsc::Receiver<Piece>) {
    let (sink, pieces) = mpsc::channel(64);
    let mask = [SecretString::from("hunter22")];
    (
        Recorder::new(&mask, 1 << 20, 0, sink).expect("recorder"),
        pieces,
    )
}

struct Followed {
    outcome: JoinHandle<Outcome>,
    pieces: mpsc::Receiver<Piece>,
    token: CancellationToken,
}

fn follow_it(cluster: &Cluster, placed: &Placed) -> Followed {
    let (client, placed) = (cluster.client(), placed.clone());
    let (recorder, pieces) = recorder();
    let token = CancellationToken::new();
    let watched = token.clone();
    let outcome = spawn(async move {
        follow(&client, &placed, recorder, &watched)
            .await
            .expect("followed")
    });
    Followed {
        outcome,
        pieces,
        token,
    }
}

async fn text(mut pieces: mpsc::Receiver<Piece>) -> String {
    let mut text = Vec::new();
    while let Some(piece) = pieces.recv().await {
        assert_eq!(piece.offset, text.len() as u64);
        text.extend(piece.data);
    }
    String::from_utf8(text).expect("text")
}

fn running() -> Value {
    json!({"running": {"startedAt": Timestamp::now()}})
}

fn ended(code: i32) -> Value {
    let now = Timestamp::now();
    json!({"terminated": {"exitCode": code, "startedAt": now, "finishedAt": now}})
}

fn is_being_deleted(pod: &Value) -> bool {
    pod["metadata"].get("deletionTimestamp").is_some()
}

#[tokio::test]
async fn a_step_starts_once_is_followed_and_released() {
    let cluster = Cluster::new();
    let client = cluster.client();
    let placed = start(&client, &step()).await.expect("started");
    assert_eq!((placed.attached, placed.uid.as_str()), (false, "u1"));
    assert!(start(&client, &step()).await.expect("attached").attached);
    let followed = follow_it(&cluster, &placed);
    cluster.write_log("password is hunter22\n");
    cluster.report(&running());
    cluster.write_log("done\n");
    cluster.report(&ended(3));
    let outcome = followed.outcome.await.expect("outcome");
    assert_eq!((outcome.state, outcome.exit_code), (State::Failed, Some(3)));
    assert!(outcome.started_at.is_some());
    assert_eq!(outcome.volume.output_bytes, 21);
    assert_eq!(text(followed.pieces).await, "password is ***\ndone\n");
    sweep(&client, "shop").await.expect("nothing to sweep");
    assert!(cluster.pod().is_object(), "its result is not safe yet");
    release(&client, &placed).await.expect("released");
    sweep(&client, "shop").await.expect("swept");
    assert_eq!(cluster.pod(), Value::Null);
    release(&client, &placed).await.expect("released again");
    assert_eq!(attach(&client, &step()).await.expect("looked"), None);
    let created = cluster
        .asked()
        .iter()
        .filter(|asked| asked.starts_with("POST"))
        .count();
    assert_eq!(created, 2, "the second was refused by name");
}

#[tokio::test]
async fn a_pod_of_another_key_is_left_alone() {
    let cluster = Cluster::new();
    let client = cluster.client();
    start(&client, &step()).await.expect("started");
    let mut pod = cluster.pod();
    pod["metadata"]["annotations"] = json!({});
    cluster.put(pod);
    let error = start(&client, &step()).await.expect_err("taken");
    assert_eq!((error.reason(), error.is_passing()), ("NameTaken", false));
    assert!(error.to_string().contains("the run nightly"), "{error}");
}

#[tokio::test]
async fn who_attaches_later_reads_the_same_end_and_log() {
    let cluster = Cluster::new();
    let client = cluster.client();
    let placed = start(&client, &step()).await.expect("started");
    cluster.write_log("all of it");
    cluster.report(&ended(0));
    for _ in 0..2 {
        let followed = follow_it(&cluster, &placed);
        let outcome = followed.outcome.await.expect("outcome");
        assert_eq!(
            (outcome.state, outcome.message.as_str()),
            (State::Succeeded, "")
        );
        assert_eq!(text(followed.pieces).await, "all of it");
    }
}

#[tokio::test]
async fn a_pod_that_does_not_start_in_time_is_taken_back_and_says_why() {
    let cluster = Cluster::new();
    let step = StepPod {
        delivery: Duration::from_millis(50),
        ..step()
    };
    let placed = start(&cluster.client(), &step).await.expect("started");
    cluster.report(&json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}));
    let followed = follow_it(&cluster, &placed);
    cluster.wait(is_being_deleted).await;
    let unseen = json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}});
    cluster.report(&unseen);
    let outcome = followed.outcome.await.expect("outcome");
    assert_eq!(outcome.state, State::DeliveryTimedOut);
    assert_eq!(outcome.reason, "ImagePullBackOff");
    assert!(
        outcome.message.contains("no such image"),
        "{}",
        outcome.message
    );
    assert_eq!(outcome.started_at, None);
}

#[tokio::test]
async fn a_missing_program_is_named_even_when_it_shows_too_late() {
    let cluster = Cluster::new();
    let step = StepPod {
        delivery: Duration::from_millis(50),
        ..step()
    };
    let placed = start(&cluster.client(), &step).await.expect("started");
    cluster.report(&json!({"waiting": {"reason": "ContainerCreating"}}));
    let followed = follow_it(&cluster, &placed);
    cluster.wait(is_being_deleted).await;
    let said = "unable to start container process: exec: \"/tool\": executable file not found";
    let epoch = "1970-01-01T00:00:00Z";
    cluster.report(&json!({"terminated": {
        "exitCode": 128, "reason": "StartError", "message": said, "startedAt": epoch}}));
    let outcome = followed.outcome.await.expect("outcome");
    assert_eq!(
        (outcome.state, outcome.reason.as_ref()),
        (State::Undeliverable, "CommandNotFound")
    );
}

#[tokio::test]
async fn a_step_over_its_time_is_ended() {
    let cluster = Cluster::new();
    let step = StepPod {
        execution: Duration::from_millis(50),
        ..step()
    };
    let placed = start(&cluster.client(), &step).await.expect("started");
    cluster.report(&running());
    let followed = follow_it(&cluster, &placed);
    cluster.wait(is_being_deleted).await;
    cluster.report(&ended(143));
    let outcome = followed.outcome.await.expect("outcome");
    assert_eq!(
        (outcome.state, outcome.exit_code),
        (State::TimedOut, Some(143))
    );
}

#[tokio::test]
async fn cancelling_ends_a_step_in_every_state() {
    for runs in [false, true] {
        let cluster = Cluster::new();
        let placed = start(&cluster.client(), &step()).await.expect("started");
        if runs {
            cluster.report(&running());
        }
        let followed = follow_it(&cluster, &placed);
        followed.token.cancel();
        cluster.wait(is_being_deleted).await;
        if runs {
            cluster.report(&ended(0));
        }
        let outcome = followed.outcome.await.expect("outcome");
        assert_eq!(
            (outcome.state, outcome.reason.as_ref()),
            (State::Cancelled, "Cancelled")
        );
        assert_eq!(outcome.started_at.is_some(), runs);
    }
}

#[tokio::test]
async fn a_pod_deleted_by_somebody_else_is_named() {
    let cluster = Cluster::new();
    let placed = start(&cluster.client(), &step()).await.expect("started");
    cluster.report(&running());
    let followed = follow_it(&cluster, &placed);
    cancel(&cluster.client(), &placed).await.expect("deleted");
    cluster.report(&ended(143));
    let outcome = followed.outcome.await.expect("outcome");
    assert_eq!(
        (outcome.state, outcome.reason.as_ref()),
        (State::Failed, "PodDeleted")
    );
    assert_eq!(outcome.exit_code, Some(143));
}

#[tokio::test]
async fn a_pod_that_vanished_with_its_result_is_unknown() {
    let cluster = Cluster::new();
    let placed = start(&cluster.client(), &step()).await.expect("started");
    cluster.report(&running());
    let followed = follow_it(&cluster, &placed);
    cluster.put(Value::Null);
    let outcome = followed.outcome.await.expect("outcome");
    assert_eq!(
        (outcome.state, outcome.reason.as_ref()),
        (State::Unknown, "PodDeleted")
    );
}
