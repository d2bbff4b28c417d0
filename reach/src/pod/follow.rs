//! Watches a step pod to its end, keeps its time limits, and says how it ended and why.
//!
//! Whoever attaches to a pod after a crash comes to the same answer: what ended a pod is read from the pod's own times, and remembered nowhere else. Dropping the future leaves the pod alone.

use std::time::Duration;

use crds::{execution::State, journal::GRACE_SECONDS};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Outcome, Placed, Recorder,
    error::Error,
    log::{PodLog, Stage},
    progress::{Progress, deletion_asked, lost, timed_out},
    reason,
    step::cancel,
    watch::{PodWatch, Sight},
};

/// How long a node may take to report the end of a pod that was asked to end.
const SETTLE: Duration = Duration::from_secs(120 + GRACE_SECONDS as u64);

/// Follows the pod until it is over. A cancelled token ends it; an error means that nothing is known, and calling again is safe.
pub async fn follow(
    client: &Client,
    placed: &Placed,
    recorder: Recorder,
    token: &CancellationToken,
) -> Result<Outcome, Error> {
    let (stage, stages) = watch::channel(Stage::Waiting);
    let pods = Api::<Pod>::namespaced(client.clone(), &placed.namespace);
    let log = PodLog::new(pods, &placed.name, stages, recorder);
    let following = Following {
        client,
        placed,
        token,
        stage,
        began: None,
        waits_for: None,
        cause: None,
        limit: Instant::now()
            + left(
                placed.delivery,
                placed.attached.then_some(placed.created_at),
            ),
    };
    let copied = async { Ok(log.copy().await) };
    let (outcome, (recorder, trouble)) = tokio::try_join!(following.outcome(), copied)?;
    let outcome = trouble
        .iter()
        .fold(outcome, |outcome, note| outcome.with_note(note));
    Ok(outcome.with(recorder).await)
}

/// What is left of a time that began then; all of it where nobody began before.
fn left(of: Duration, since: Option<Timestamp>) -> Duration {
    let passed = since.map(|since| Timestamp::now().duration_since(since));
    of.saturating_sub(
        passed
            .and_then(|passed| passed.try_into().ok())
            .unwrap_or_default(),
    )
}

/// Why a pod was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Cancelled,
    TimedOut,
    NotDelivered,
    /// By somebody else.
    Deleted,
}

struct Following<'a> {
    client: &'a Client,
    placed: &'a Placed,
    token: &'a CancellationToken,
    stage: watch::Sender<Stage>,
    /// When the container began.
    began: Option<Timestamp>,
    /// What the pod waited for last, in the cluster's words.
    waits_for: Option<(String, String)>,
    cause: Option<Cause>,
    /// When something has to be done about the pod.
    limit: Instant,
}

impl Following<'_> {
    async fn outcome(mut self) -> Result<Outcome, Error> {
        let Placed {
            namespace,
            name,
            uid,
            ..
        } = self.placed;
        let mut pod = PodWatch::new(self.client, namespace, name, uid);
        loop {
            let outcome = tokio::select! {
                sight = pod.next() => {
                    let sight = sight.map_err(|source| Error::Watch { name: name.clone(), source })?;
                    self.look(&sight)
                }
                () = self.token.cancelled(), if self.cause.is_none() => {
                    self.end(Cause::Cancelled).await?
                }
                () = sleep_until(self.limit) => self.overdue().await?,
            };
            if let Some(outcome) = outcome {
                let logged = outcome.started_at.is_some() || self.began.is_some();
                self.stage
                    .send_replace(if logged { Stage::Over } else { Stage::Nothing });
                return Ok(Outcome {
                    started_at: outcome.started_at.or(self.began),
                    ..outcome
                });
            }
        }
    }

    fn look(&mut self, sight: &Sight) -> Option<Outcome> {
        let pod = match sight {
            Sight::Pod(pod) => pod,
            Sight::Gone => return Some(vanished(reason::POD_DELETED, "the pod is gone")),
            Sight::Replaced => {
                return Some(vanished(reason::POD_REPLACED, "another pod has its name"));
            }
        };
        let progress = Progress::of(pod);
        if let Progress::Running { since } = progress {
            self.running(since);
        }
        self.notice_deletion(pod);
        match progress {
            Progress::Waiting { reason, message } => {
                if self.cause.is_none() || self.waits_for.is_none() {
                    self.waits_for = Some((reason, message));
                }
                None
            }
            Progress::Running { .. } => None,
            Progress::NeverBegan { reason, message } => Some(self.never_began(reason, message)),
            Progress::Ended(outcome) => Some(self.because(outcome, pod)),
        }
    }

    fn running(&mut self, since: Timestamp) {
        if self.began.replace(since).is_none() {
            self.stage.send_replace(Stage::Running);
            if self.cause.is_none() {
                self.limit = Instant::now() + left(self.placed.execution, Some(since));
            }
        }
    }

    /// Learns why a pod that is being deleted was asked to end, when it was not this process that asked.
    fn notice_deletion(&mut self, pod: &Pod) {
        let (Some(asked), None) = (deletion_asked(pod), self.cause) else {
            return;
        };
        let after = |since: Timestamp, limit: Duration| {
            SignedDuration::try_from(limit).is_ok_and(|limit| asked.duration_since(since) >= limit)
        };
        self.cause = Some(match self.began {
            _ if self.token.is_cancelled() => Cause::Cancelled,
            Some(began) if after(began, self.placed.execution) => Cause::TimedOut,
            None if after(self.placed.created_at, self.placed.delivery) => Cause::NotDelivered,
            _ => Cause::Deleted,
        });
        self.limit = Instant::now() + SETTLE;
    }

    async fn end(&mut self, cause: Cause) -> Result<Option<Outcome>, Error> {
        cancel(self.client, self.placed).await?;
        self.cause = Some(cause);
        self.limit = Instant::now() + SETTLE;
        Ok(None)
    }

    async fn overdue(&mut self) -> Result<Option<Outcome>, Error> {
        match (self.cause, self.began) {
            (None, None) => self.end(Cause::NotDelivered).await,
            (None, Some(_)) => self.end(Cause::TimedOut).await,
            (Some(_), _) => Ok(Some(Outcome::new(
                State::Unknown,
                reason::NODE_SILENT,
                "the pod was asked to end and its node says nothing; look at the node",
            ))),
        }
    }

    fn never_began(&self, reason: String, message: String) -> Outcome {
        if self.began.is_some() {
            return lost(&message);
        }
        let hopeless = matches!(
            reason.as_str(),
            reason::COMMAND_NOT_FOUND | reason::START_FAILED
        );
        match self.cause {
            Some(Cause::Cancelled) => Outcome::new(
                State::Cancelled,
                reason::CANCELLED,
                "cancelled before it began",
            ),
            Some(Cause::Deleted) => Outcome::new(
                State::Undeliverable,
                reason::POD_DELETED,
                "somebody deleted the pod before it began",
            ),
            Some(Cause::NotDelivered | Cause::TimedOut) if !hopeless => {
                let (reason, said) = self.waits_for.clone().unwrap_or((reason, message));
                let limit = self.placed.delivery;
                let message = format!("the pod did not start within {limit:?}: {reason}: {said}");
                Outcome::new(State::DeliveryTimedOut, reason, message)
            }
            None if reason == "DeadlineExceeded" => {
                Outcome::new(State::DeliveryTimedOut, reason, message)
            }
            _ => Outcome::new(State::Undeliverable, reason, message),
        }
    }

    /// The end as it is, or as it was made by whoever asked for the pod's end before it came.
    fn because(&self, end: Outcome, pod: &Pod) -> Outcome {
        // The clocks of node and API server differ, so what TERM or KILL ended counts as asked for whatever the times say.
        let ended_by_signal = end.exit_code.is_some_and(|code| matches!(code, 137 | 143));
        let by_itself =
            deletion_asked(pod).is_none_or(|asked| end.finished_at < asked && !ended_by_signal);
        let (Some(cause), false) = (self.cause, by_itself) else {
            return end;
        };
        let made = match cause {
            Cause::Cancelled => Outcome::new(
                State::Cancelled,
                reason::CANCELLED,
                "cancelled while it ran",
            ),
            Cause::TimedOut => timed_out(),
            Cause::NotDelivered => Outcome::new(
                State::Failed,
                reason::POD_DELETED,
                "it began after its delivery timeout, while it was taken back, and was ended",
            ),
            Cause::Deleted => Outcome::new(
                State::Failed,
                reason::POD_DELETED,
                "somebody deleted the pod while it ran",
            ),
        };
        Outcome {
            exit_code: end.exit_code,
            started_at: end.started_at,
            finished_at: end.finished_at,
            ..made
        }
    }
}

fn vanished(reason: &'static str, what: &str) -> Outcome {
    let message = format!("{what}, and its result with it; nobody can say how far it got");
    Outcome::new(State::Unknown, reason, message)
}
