//! A command in a running container, at most once.
//!
//! Kubernetes offers a stream and nothing to come back to: when the stream breaks nobody can say how the command ended, so the outcome is Unknown and nothing here repeats it. Nor can a command be
//! ended: after a timeout or a cancellation the stream is closed, the command may still run, and the outcome says so. A command that leaves a process in the background holding its output does not
//! end before that process. Between the look at the pod's UID and the start lies one request; a namesake that begins to run in that instant would be taken for the pod.

use std::time::Duration;

use crds::{execution::State, journal::Stream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::{Client, api::AttachedProcess};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    task::yield_now,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Outcome, Recorder, container, reason, runtime, upgrade};

/// How long the look at what became of a pod may take after its stream broke.
const AFTERMATH: Duration = Duration::from_secs(3);

/// A command for a container of a running pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod; another pod of that name does not get the command.
    pub uid: String,
    /// Name of the container; the pod's first when absent.
    pub container: Option<String>,
    /// The program and its arguments. They are part of a URL, and visible in the container: no place for secrets.
    pub argv: Vec<String>,
    /// How long it may take until the container runs and the command is accepted.
    pub delivery: Duration,
    /// How long the command is listened to.
    pub execution: Duration,
}

/// Runs the command once and records what it writes. Dropping the future closes the stream.
pub async fn exec(
    client: &Client,
    command: &Command,
    mut recorder: Recorder,
    token: &CancellationToken,
) -> Outcome {
    let deadline = Instant::now() + command.delivery;
    let container = tokio::select! {
        found = container::find(client, command, deadline) => found,
        () = token.cancelled() => Err(Box::new(cancelled("cancelled before it began"))),
    };
    let container = match container {
        Ok(container) => container,
        Err(outcome) => return outcome.with(recorder).await,
    };
    let opened = tokio::select! {
        opened = upgrade::open(client, command, &container, deadline) => opened,
        () = token.cancelled() => {
            Err(Box::new(cancelled("cancelled while it was asked for; it may have begun")))
        }
    };
    let outcome = match opened {
        Ok(process) => {
            let started = Timestamp::now();
            let outcome = attend(client, command, process, &mut recorder, token).await;
            let begun = outcome.state != State::Undeliverable;
            Outcome {
                started_at: begun.then_some(started),
                ..outcome
            }
        }
        Err(outcome) => *outcome,
    };
    outcome.with(recorder).await
}

fn cancelled(message: &str) -> Outcome {
    Outcome::new(State::Cancelled, reason::CANCELLED, message)
}

async fn attend(
    client: &Client,
    command: &Command,
    mut process: AttachedProcess,
    recorder: &mut Recorder,
    token: &CancellationToken,
) -> Outcome {
    const LEFT: &str = "the stream was closed; Kubernetes can not end the command, it may still run in the container";
    let status = tokio::select! {
        status = listen(&mut process, recorder) => status,
        () = sleep(command.execution) => {
            let message = format!("no end within {:?}: {LEFT}", command.execution);
            return Outcome::new(State::TimedOut, reason::TIMED_OUT, message);
        }
        () = token.cancelled() => return cancelled(LEFT),
    };
    match status {
        Some(status) => read(&status, command),
        None => cut(client, command).await,
    }
}

/// Records both streams and waits for the exit status; `None` when the connection broke before it came. Only the status tells of a broken connection, the streams just stay silent then.
async fn listen(process: &mut AttachedProcess, recorder: &mut Recorder) -> Option<Status> {
    let status = process.take_status()?;
    let (mut stdout, mut stderr) = (process.stdout(), process.stderr());
    let (mut out, mut err) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let mut status = std::pin::pin!(status);
    let mut end = None;
    while stdout.is_some() || stderr.is_some() {
        let broken = matches!(end, Some(None));
        tokio::select! {
            biased;
            count = next(&mut stdout, &mut out) => match count {
                0 => stdout = None,
                count => recorder.record(Stream::Stdout, &out[..count]).await,
            },
            count = next(&mut stderr, &mut err) => match count {
                0 => stderr = None,
                count => recorder.record(Stream::Stderr, &err[..count]).await,
            },
            status = &mut status, if end.is_none() => end = Some(status),
            // What had arrived is recorded by now.
            () = yield_now(), if broken => break,
        }
    }
    match end {
        Some(status) => status,
        None => status.await,
    }
}

/// Bytes read from a stream, 0 at its end; never done where there is none.
async fn next(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// What the status at the end of the stream says.
fn read(status: &Status, command: &Command) -> Outcome {
    if status.status.as_deref() == Some("Success") {
        return Outcome::exited(0);
    }
    let details = status.details.as_ref();
    let mut causes = details
        .and_then(|details| details.causes.as_ref())
        .into_iter()
        .flatten();
    let code = causes.find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    if let Some(code) = code.and_then(|cause| cause.message.as_ref()?.parse().ok()) {
        return Outcome::exited(code);
    }
    let said = status
        .message
        .as_deref()
        .unwrap_or("the container runtime gave no reason");
    match runtime::not_started(said, command.argv.first().map_or("", String::as_str)) {
        Some(read) => Outcome::new(State::Undeliverable, read.reason, read.message),
        None => Outcome::new(State::Unknown, reason::STREAM_CUT, said),
    }
}

/// The stream broke; what became of the pod is worth a look.
async fn cut(client: &Client, command: &Command) -> Outcome {
    let aftermath = container::find(client, command, Instant::now() + AFTERMATH).await;
    let message = match aftermath {
        Ok(_) => "the pod runs on".to_owned(),
        Err(now) => now.message,
    };
    let message = format!("the stream broke before the command's end was seen ({message})");
    Outcome::new(State::Unknown, reason::STREAM_CUT, message)
}
