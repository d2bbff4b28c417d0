//! The container that a command goes to: in the pod of the right UID, by name, running.

use crds::execution::State;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use kube::Client;
use tokio::time::{Instant, timeout_at};

use super::{
    Command, Outcome, reason,
    watch::{PodWatch, Sight},
};

/// Where to look, and what there is to say about it.
enum Found {
    Running(String),
    /// It may run later; why it does not now.
    NotYet(String),
    Never(Outcome),
}

/// Waits until the container runs; the outcome says why it will not, or did not in time.
pub(super) async fn find(
    client: &Client,
    command: &Command,
    deadline: Instant,
) -> Result<String, Box<Outcome>> {
    let mut watch = PodWatch::new(client, &command.namespace, &command.pod, &command.uid);
    let mut waits_for = None;
    loop {
        let Ok(sight) = timeout_at(deadline, watch.next()).await else {
            return Err(Box::new(not_in_time(command, waits_for)));
        };
        let found = match sight {
            Ok(Sight::Pod(pod)) => seek(&pod, command.container.as_deref()),
            Ok(Sight::Gone) => Found::Never(Outcome::new(
                State::Undeliverable,
                reason::POD_GONE,
                format!("the pod {} is gone", command.pod),
            )),
            Ok(Sight::Replaced) => Found::Never(Outcome::new(
                State::Undeliverable,
                reason::POD_REPLACED,
                format!(
                    "the pod {} was replaced by another of its name",
                    command.pod
                ),
            )),
            Err(refusal) => Found::Never(Outcome::new(
                State::Undeliverable,
                refusal.category(),
                refusal.said(),
            )),
        };
        match found {
            Found::Running(container) => return Ok(container),
            Found::NotYet(why) => waits_for = Some(why),
            Found::Never(outcome) => return Err(Box::new(outcome)),
        }
    }
}

fn not_in_time(command: &Command, waits_for: Option<String>) -> Outcome {
    let (reason, why) = match waits_for {
        Some(why) => (reason::CONTAINER_NOT_RUNNING, why),
        None => (
            reason::API_UNREACHABLE,
            "the cluster's API did not answer".to_owned(),
        ),
    };
    let message = format!("not within {:?}: {why}", command.delivery);
    Outcome::new(State::DeliveryTimedOut, reason, message)
}

fn seek(pod: &Pod, wanted: Option<&str>) -> Found {
    let names = names(pod);
    let Some(name) = wanted.or_else(|| names.first().copied()) else {
        return Found::NotYet("the pod has no containers".to_owned());
    };
    if !names.contains(&name) {
        return Found::Never(Outcome::new(
            State::Undeliverable,
            reason::CONTAINER_UNKNOWN,
            format!(
                "the pod has no container {name}; it has {}",
                names.join(", ")
            ),
        ));
    }
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if let Some(over @ ("Succeeded" | "Failed")) = phase {
        let message = format!("the pod is over ({over})");
        return Found::Never(not_running(&message));
    }
    match state(pod, name) {
        Some(ContainerState {
            running: Some(_), ..
        }) => Found::Running(name.to_owned()),
        Some(ContainerState {
            terminated: Some(end),
            ..
        }) if !comes_back(pod) => {
            let message = format!(
                "the container {name} ended with exit code {}",
                end.exit_code
            );
            Found::Never(not_running(&message))
        }
        Some(ContainerState {
            waiting: Some(waiting),
            ..
        }) => {
            let why = waiting.reason.as_deref().unwrap_or("Waiting");
            let message = waiting.message.as_deref().unwrap_or("it has not started");
            Found::NotYet(format!("container {name}: {why}: {message}"))
        }
        _ => Found::NotYet(format!("container {name} does not run")),
    }
}

fn not_running(message: &str) -> Outcome {
    Outcome::new(State::Undeliverable, reason::CONTAINER_NOT_RUNNING, message)
}

/// Names of the containers that can be run in, the pod's own first.
fn names(pod: &Pod) -> Vec<&str> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let own = spec
        .containers
        .iter()
        .map(|container| container.name.as_str());
    let init = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| container.name.as_str());
    let added = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .map(|added| added.name.as_str());
    own.chain(init).chain(added).collect()
}

fn state<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerState> {
    let status = pod.status.as_ref()?;
    let all = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let mut all = all.into_iter().flatten().flatten();
    all.find(|status: &&ContainerStatus| status.name == name)?
        .state
        .as_ref()
}

fn comes_back(pod: &Pod) -> bool {
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    policy != Some("Never") && pod.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::{Found, seek};
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    fn pod(policy: &str, state: &Value) -> Pod {
        serde_json::from_value(json!({
            "spec": {"restartPolicy": policy, "containers": [{"name": "app"}, {"name": "log"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "log", "state": {"running": {}}, "image": "", "imageID": "", "ready": true, "restartCount": 0},
                {"name": "app", "state": state, "image": "", "imageID": "", "ready": true, "restartCount": 0},
            ]},
        }))
        .expect("pod")
    }

    fn said(found: Found) -> String {
        match found {
            Found::Running(name) => name,
            Found::NotYet(why) => format!("not yet: {why}"),
            Found::Never(outcome) => format!("never: {}: {}", outcome.reason, outcome.message),
        }
    }

    #[test]
    fn the_container_is_the_named_one_or_the_first() {
        let pod = pod("Always", &json!({"running": {}}));
        assert_eq!(said(seek(&pod, None)), "app");
        assert_eq!(said(seek(&pod, Some("log"))), "log");
        let unknown = "never: ContainerUnknown: the pod has no container web; it has app, log";
        assert_eq!(said(seek(&pod, Some("web"))), unknown);
    }

    #[test]
    fn a_container_that_comes_back_is_waited_for() {
        let ended = json!({"terminated": {"exitCode": 3}});
        let never = "never: ContainerNotRunning: the container app ended with exit code 3";
        assert_eq!(said(seek(&pod("Never", &ended), None)), never);
        let waits = "not yet: container app does not run";
        assert_eq!(said(seek(&pod("Always", &ended), None)), waits);
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
        let waits = "not yet: container app: CrashLoopBackOff: back-off";
        assert_eq!(said(seek(&pod("Always", &waiting), None)), waits);
    }

    #[test]
    fn a_pod_that_is_over_takes_no_command() {
        let mut pod = pod("Never", &json!({"terminated": {"exitCode": 0}}));
        pod.status.as_mut().expect("status").phase = Some("Succeeded".to_owned());
        let never = "never: ContainerNotRunning: the pod is over (Succeeded)";
        assert_eq!(said(seek(&pod, None)), never);
    }
}
