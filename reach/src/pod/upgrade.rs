//! The request that starts a command. It is sent once: whether a request that was not answered began the command is unknown, so only one that was surely refused is tried again.

use std::{io, time::Duration};

use bytes::Bytes;
use crds::execution::State;
use http::{Request, Response};
use http_body_util::Empty;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Error,
    api::{AttachParams, AttachedProcess},
    client::{Body, UpgradeConnectionError},
};
use tokio::time::{Instant, sleep, timeout_at};
use tower::service_fn;

use super::{Command, Outcome, error::Refusal, reason, runtime};

/// Room for output between the connection and its reader, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Starts the command, or says why it did not start, or that nobody knows.
pub(super) async fn open(
    client: &Client,
    command: &Command,
    container: &str,
    deadline: Instant,
) -> Result<AttachedProcess, Box<Outcome>> {
    let pods = Api::<Pod>::namespaced(once(client), &command.namespace);
    let params = AttachParams {
        container: Some(container.to_owned()),
        max_stdout_buf_size: Some(BUFFER_BYTES),
        max_stderr_buf_size: Some(BUFFER_BYTES),
        ..AttachParams::default()
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = pods.exec(&command.pod, &command.argv, &params);
        let Ok(answer) = timeout_at(deadline, asked).await else {
            return Err(Box::new(unanswered("no answer came in time")));
        };
        let error = match answer {
            Ok(process) => return Ok(process),
            Err(error) => error,
        };
        let again = Instant::now() + pause;
        if !is_turned_away(&error) || again >= deadline {
            return Err(Box::new(refused(error, command)));
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// A client that never sends a request twice, whatever the given one does with answers such as 504: what it is given can not be copied.
fn once(client: &Client) -> Client {
    let inner = client.clone();
    let send = service_fn(move |request: Request<Body>| {
        let inner = inner.clone();
        async move {
            let (head, _) = request.into_parts();
            inner
                .send(Request::from_parts(head, single_use().await?))
                .await
        }
    });
    Client::new(send, client.default_namespace())
}

/// An empty body that can not be copied. Only a client makes those, out of an answer.
async fn single_use() -> Result<Body, Error> {
    let empty = service_fn(|_: Request<Body>| async {
        Ok::<_, io::Error>(Response::new(Empty::<Bytes>::new()))
    });
    Client::new(empty, "")
        .send(Request::new(Body::empty()))
        .await
        .map(Response::into_body)
}

/// Whether the request surely did nothing, and may do so later: the API server turned it away before it looked at it.
fn is_turned_away(error: &Error) -> bool {
    match error {
        Error::Api(status) => {
            matches!(
                (status.code, status.reason.as_str()),
                (429, _) | (503, "ServiceUnavailable")
            )
        }
        other => is_unconnected(other),
    }
}

fn is_unconnected(error: &Error) -> bool {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    causes.any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            )
        })
    })
}

fn refused(error: Error, command: &Command) -> Outcome {
    let code = match &error {
        Error::Api(status) => status.code,
        Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) => code.as_u16(),
        unconnected if is_unconnected(unconnected) => 0,
        other => return unanswered(&other.to_string()),
    };
    let refusal = Refusal(error);
    let said = refusal.said();
    let program = command.argv.first().map_or("", String::as_str);
    let (state, reason, message) = match (code, runtime::not_started(&said, program)) {
        // Something between the API server and us gave up waiting.
        (502 | 504, _) => return unanswered(&said),
        (503, _) if !is_turned_away(&refusal.0) => return unanswered(&said),
        (0 | 429 | 503, _) => (State::DeliveryTimedOut, reason::API_UNREACHABLE, said),
        (404, _) => (State::Undeliverable, reason::POD_GONE, said),
        (_, Some(read)) => (State::Undeliverable, read.reason, read.message),
        (_, None) => (State::Undeliverable, refusal.category(), said),
    };
    Outcome::new(state, reason, message)
}

fn unanswered(why: &str) -> Outcome {
    let message = format!("the command was asked for and may have begun: {why}");
    Outcome::new(State::Unknown, reason::UPGRADE_UNANSWERED, message)
}
