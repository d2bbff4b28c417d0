//! How far a step pod got, read from its status alone.

use crds::execution::State;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
    PodStatus,
};

use super::{Outcome, manifest::CONTAINER, reason, runtime};

/// How far the container got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has not begun; the cluster's word for why, and its sentence.
    Waiting { reason: String, message: String },
    /// It will not begin, for the same kinds of reasons.
    NeverBegan { reason: String, message: String },
    /// It runs.
    Running { since: Timestamp },
    /// It is over.
    Ended(Outcome),
}

impl Progress {
    pub(super) fn of(pod: &Pod) -> Self {
        let nothing = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&nothing);
        let container = status
            .container_statuses
            .iter()
            .flatten()
            .find(|container| container.name == CONTAINER);
        let state = container.and_then(|container| container.state.as_ref());
        let end = state.and_then(|state| state.terminated.as_ref());
        if let (Some(container), Some(end)) = (container, end) {
            return terminated_as(end, container, pod);
        }
        if is_over(status) {
            return over(status, container);
        }
        if let Some(running) = state.and_then(|state| state.running.as_ref()) {
            let since = running
                .started_at
                .as_ref()
                .map_or_else(Timestamp::now, |time| time.0);
            return Self::Running { since };
        }
        let waiting = state.and_then(|state| state.waiting.as_ref());
        waiting_for(waiting, pod, status)
    }
}

/// When someone asked for the pod's end.
pub(super) fn deletion_asked(pod: &Pod) -> Option<Timestamp> {
    let at = pod.metadata.deletion_timestamp.as_ref()?.0;
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    at.checked_sub(jiff::SignedDuration::from_secs(grace)).ok()
}

fn is_over(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

fn terminated_as(
    terminated: &ContainerStateTerminated,
    container: &ContainerStatus,
    pod: &Pod,
) -> Progress {
    let said = terminated.message.clone().unwrap_or_default();
    // A container that never was has no clock either: its times are absent or zero.
    let time = |time: Option<Timestamp>| time.filter(|time| time.as_second() > 0);
    let started = time(terminated.started_at.as_ref().map(|time| time.0));
    match terminated.reason.as_deref() {
        Some("StartError" | "ContainerCannotRun" | "RunContainerError") => not_started(&said, pod),
        Some("ContainerStatusUnknown") => unseen(container, terminated),
        _ => {
            let finished = time(terminated.finished_at.as_ref().map(|time| time.0));
            let mut outcome = ended(terminated, pod);
            outcome.started_at = started;
            outcome.finished_at = finished.unwrap_or(outcome.finished_at);
            Progress::Ended(outcome)
        }
    }
}

fn not_started(said: &str, pod: &Pod) -> Progress {
    let container = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .find(|c| c.name == CONTAINER);
    let program = container.and_then(|c| c.command.iter().chain(&c.args).flatten().next());
    let program = program.map_or("entrypoint", String::as_str);
    let (reason, message) = match runtime::not_started(said, program) {
        Some(read) => (read.reason, read.message),
        None => (reason::START_FAILED, said.to_owned()),
    };
    Progress::NeverBegan {
        reason: reason.to_owned(),
        message,
    }
}

/// The kubelet closed the pod's books without having seen the container's end. Only where nothing at all speaks of a container was there none.
fn unseen(container: &ContainerStatus, terminated: &ContainerStateTerminated) -> Progress {
    let said = terminated.message.as_deref().unwrap_or_default();
    let ids = [&terminated.container_id, &container.container_id];
    let begun = ids.into_iter().flatten().any(|id| !id.is_empty())
        || terminated.started_at.is_some()
        || container
            .last_state
            .as_ref()
            .is_some_and(|last| *last != ContainerState::default())
        || said.contains("used to be Running");
    if begun {
        return Progress::Ended(lost(said));
    }
    Progress::NeverBegan {
        reason: reason::CONTAINER_NOT_RUNNING.to_owned(),
        message: "the pod ended before its container began".to_owned(),
    }
}

pub(super) fn lost(said: &str) -> Outcome {
    let message = format!("the container vanished without an exit code: {said}");
    Outcome::new(State::Unknown, reason::CONTAINER_LOST, message)
}

fn ended(terminated: &ContainerStateTerminated, pod: &Pod) -> Outcome {
    let code = terminated.exit_code;
    let status = pod.status.as_ref();
    let pod_reason = status.and_then(|status| status.reason.as_deref());
    let pod_said = status
        .and_then(|status| status.message.as_deref())
        .unwrap_or_default();
    let outcome = match (terminated.reason.as_deref(), pod_reason, terminated.signal) {
        (Some("OOMKilled"), ..) => Outcome::new(
            State::Failed,
            reason::OUT_OF_MEMORY,
            "it used more memory than its limit; raise resources.limits.memory",
        ),
        (_, Some("DeadlineExceeded"), _) if code != 0 => timed_out(),
        (_, Some(why), _) if code != 0 => Outcome::new(State::Failed, why.to_owned(), pod_said),
        (_, _, Some(signal)) if signal != 0 => Outcome::new(
            State::Failed,
            reason::SIGNALED,
            format!("ended by signal {signal}"),
        ),
        _ => return Outcome::exited(code),
    };
    Outcome {
        exit_code: Some(code),
        ..outcome
    }
}

/// It ran longer than it may, and was ended.
pub(super) fn timed_out() -> Outcome {
    Outcome::new(
        State::TimedOut,
        reason::TIMED_OUT,
        "it ran longer than its timeout and was ended",
    )
}

/// The pod is over and its container has no end of its own: evicted, refused by the node, or out of time before it began.
fn over(status: &PodStatus, container: Option<&ContainerStatus>) -> Progress {
    let reason = status
        .reason
        .clone()
        .unwrap_or_else(|| reason::CONTAINER_NOT_RUNNING.to_owned());
    let message = status.message.clone().unwrap_or_default();
    let begun = container.is_some_and(|container| {
        container
            .container_id
            .as_ref()
            .is_some_and(|id| !id.is_empty())
            || container
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
    });
    if begun {
        Progress::Ended(Outcome::new(
            State::Unknown,
            reason,
            format!("no exit code is known: {message}"),
        ))
    } else {
        Progress::NeverBegan { reason, message }
    }
}

fn waiting_for(waiting: Option<&ContainerStateWaiting>, pod: &Pod, status: &PodStatus) -> Progress {
    let said = waiting.map(|waiting| {
        let reason = waiting.reason.clone().unwrap_or_default();
        (reason, waiting.message.clone().unwrap_or_default())
    });
    let said = said.filter(|(reason, _)| {
        !matches!(
            reason.as_str(),
            "" | "ContainerCreating" | "PodInitializing"
        )
    });
    let (reason, message) = said.or_else(|| unmet_condition(status)).unwrap_or_else(|| {
        let place = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        match place {
            Some(node) => (
                "ContainerCreating".to_owned(),
                format!("starting on node {node}"),
            ),
            None => ("Pending".to_owned(), "not yet on a node".to_owned()),
        }
    });
    let unscheduled = pod
        .spec
        .as_ref()
        .is_none_or(|spec| spec.node_name.is_none());
    // Nothing schedules a pod that is being deleted, and no registry mends the name of an image.
    let never = deletion_asked(pod).is_some() && unscheduled || reason == "InvalidImageName";
    if never {
        Progress::NeverBegan { reason, message }
    } else {
        Progress::Waiting { reason, message }
    }
}

fn unmet_condition(status: &PodStatus) -> Option<(String, String)> {
    let unmet = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some((
        unmet.reason.clone()?,
        unmet.message.clone().unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests;
