//! Statuses as kubelets write them.

use crds::execution::State;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Progress, deletion_asked};

fn pod(status: &Value) -> Pod {
    let spec = json!({"nodeName": "n1", "containers": [{"name": "step", "command": ["sh"]}]});
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec, "status": status}))
        .expect("pod")
}

fn with_state(state: &Value) -> Pod {
    pod(&json!({"phase": "Running", "containerStatuses": [
        {"name": "sidecar", "state": {"running": {}}, "image": "", "imageID": "", "ready": true, "restartCount": 0},
        {"name": "step", "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0},
    ]}))
}

fn terminated(mut extra: Value) -> Value {
    let mut state =
        json!({"startedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:04:09Z"});
    state
        .as_object_mut()
        .expect("map")
        .append(extra.as_object_mut().expect("map"));
    json!({"terminated": state})
}

fn ended(pod: &Pod) -> (State, String, Option<i32>) {
    match Progress::of(pod) {
        Progress::Ended(outcome) => (
            outcome.state,
            outcome.reason.into_owned(),
            outcome.exit_code,
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_end_is_read_whatever_the_other_containers_do() {
    let cases = [
        (
            json!({"exitCode": 0, "reason": "Completed"}),
            State::Succeeded,
            "Exited",
            0,
        ),
        (
            json!({"exitCode": 3, "reason": "Error"}),
            State::Failed,
            "Exited",
            3,
        ),
        (
            json!({"exitCode": 137, "reason": "OOMKilled"}),
            State::Failed,
            "OOMKilled",
            137,
        ),
        (
            json!({"exitCode": 137, "signal": 9}),
            State::Failed,
            "Signaled",
            137,
        ),
    ];
    for (state, expected, reason, code) in cases {
        let pod = with_state(&terminated(state));
        assert_eq!(ended(&pod), (expected, reason.to_owned(), Some(code)));
        let Progress::Ended(outcome) = Progress::of(&pod) else {
            panic!("ended")
        };
        assert_eq!(outcome.finished_at.to_string(), "2026-01-02T03:04:09Z");
    }
}

#[test]
fn what_ended_the_pod_is_named() {
    for (why, state, reason) in [
        ("DeadlineExceeded", State::TimedOut, "TimedOut"),
        ("Evicted", State::Failed, "Evicted"),
    ] {
        let mut pod = with_state(&terminated(json!({"exitCode": 137, "reason": "Error"})));
        pod.status.as_mut().expect("status").reason = Some(why.to_owned());
        assert_eq!(ended(&pod), (state, reason.to_owned(), Some(137)));
    }
}

#[test]
fn a_pod_that_is_over_without_its_container_never_began() {
    let evicted = json!({"phase": "Failed", "reason": "OutOfcpu", "message": "no cpu left"});
    let never = Progress::NeverBegan {
        reason: "OutOfcpu".into(),
        message: "no cpu left".into(),
    };
    assert_eq!(Progress::of(&pod(&evicted)), never);
    let lost = json!({"phase": "Failed", "reason": "NodeLost", "containerStatuses": [
        {"name": "step", "containerID": "x", "state": {"running": {}}, "image": "", "imageID": "", "ready": false, "restartCount": 0}]});
    assert_eq!(
        ended(&pod(&lost)),
        (State::Unknown, "NodeLost".to_owned(), None)
    );
}

#[test]
fn a_missing_program_never_began() {
    let said = "failed to create containerd task: unable to start container process: exec: \"sh\": executable file not found in $PATH";
    let state = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": said, "startedAt": "1970-01-01T00:00:00Z"}});
    let Progress::NeverBegan { reason, message } = Progress::of(&with_state(&state)) else {
        panic!("never began")
    };
    assert_eq!(reason, "CommandNotFound");
    assert!(message.contains("no `sh`"), "{message}");
}

#[test]
fn a_container_whose_end_nobody_saw_is_unknown_unless_it_never_was() {
    let unseen = |message: &str| {
        with_state(&json!({"terminated": {
            "exitCode": 137, "reason": "ContainerStatusUnknown", "message": message}}))
    };
    let never = unseen("The container could not be located when the pod was terminated");
    assert!(matches!(Progress::of(&never), Progress::NeverBegan { .. }));
    let ran = unseen("The container could not be located.  The container used to be Running");
    assert_eq!(ended(&ran).0, State::Unknown);
    let mut ran = never;
    let statuses = ran
        .status
        .as_mut()
        .and_then(|status| status.container_statuses.as_mut());
    statuses.expect("statuses")[1].container_id = Some("containerd://x".to_owned());
    assert_eq!(ended(&ran).0, State::Unknown);
}

#[test]
fn waiting_is_named_by_the_cluster() {
    let waiting = |pod: &Pod| match Progress::of(pod) {
        Progress::Waiting { reason, message } => (reason, message),
        other => panic!("{other:?}"),
    };
    let pull =
        with_state(&json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}));
    assert_eq!(
        waiting(&pull),
        ("ImagePullBackOff".into(), "no such image".into())
    );
    let creating = with_state(&json!({"waiting": {"reason": "ContainerCreating"}}));
    assert_eq!(waiting(&creating).1, "starting on node n1");
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"});
    let mut homeless = pod(&json!({"phase": "Pending", "conditions": [condition]}));
    homeless.spec.as_mut().expect("spec").node_name = None;
    assert_eq!(
        waiting(&homeless),
        ("Unschedulable".into(), "0/2 nodes".into())
    );
    homeless.metadata = serde_json::from_value(json!({
        "name": "p", "deletionTimestamp": "2026-01-02T03:04:35Z", "deletionGracePeriodSeconds": 30,
    }))
    .expect("metadata");
    assert!(matches!(
        Progress::of(&homeless),
        Progress::NeverBegan { .. }
    ));
    assert_eq!(
        deletion_asked(&homeless).expect("time").to_string(),
        "2026-01-02T03:04:05Z"
    );
}

#[test]
fn an_image_that_no_registry_can_have_is_given_up() {
    let state = json!({"waiting": {"reason": "InvalidImageName", "message": "m"}});
    assert!(matches!(
        Progress::of(&with_state(&state)),
        Progress::NeverBegan { .. }
    ));
}
