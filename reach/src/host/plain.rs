//! Work where nothing may be copied: the script and its environment travel on standard input. At most once: what is cut off is Unknown, and timeouts are the host's best effort.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use crds::{
    journal::{
        End, EndReason, Interpreter, Output, Program, Refused, RefusedReason, Request,
        SECRET_BYTES_MIN, Started, Stream,
    },
    mask::Masks,
};
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::{Error, Outcome, Progress, Sink};
use crate::{
    shell::{as_root, as_user, quote},
    ssh::{self, Chunk, Exchange, Exit, Fleet, Target},
};

/// Exit code with which `timeout` says that it ended the program.
const TIMED_OUT: u32 = 124;

/// How long past its timeout a program is waited for; the host needs some of it for its own TERM and KILL.
const MARGIN: Duration = Duration::from_secs(5);

/// Runs the request's program once, if the target is reached before the delivery window ends. Its key, epoch and resume offset mean nothing here.
pub async fn run(
    fleet: &Fleet,
    target: &Target,
    request: &Request,
    delivery: Duration,
    sink: &Sink,
) -> Result<Outcome, Error> {
    check(request).map_err(|refused| Error::Refused {
        address: target.endpoint(),
        refused,
    })?;
    let failed = |source| Error::Delivery {
        address: target.endpoint(),
        source,
    };
    let session = fleet
        .session(target, Instant::now() + delivery)
        .await
        .map_err(failed)?;
    let started_at = Timestamp::now();
    let exchange = match session
        .exec(&command(target, request), stdin(request))
        .await
    {
        Ok(exchange) => exchange,
        Err(cause) => return Ok(Outcome::Unknown { cause }),
    };
    let _ = sink
        .send(Progress::Started(Started {
            at: started_at,
            attached: false,
        }))
        .await;
    let mut following = Following {
        masks: Masks::new(request.mask.iter().map(String::as_str)),
        seen: 0,
        passed: 0,
        keep: request.keep_bytes,
        sink,
    };
    let ended = match give_up_at(request) {
        Some(deadline) => timeout_at(deadline, following.follow(exchange)).await,
        None => Ok(following.follow(exchange).await),
    };
    let cause = match ended {
        Ok(Ok(exit)) => return Ok(Outcome::Ended(following.end(&exit, request, started_at))),
        Ok(Err(ssh::Error::ExecRefused { address })) => {
            return Err(failed(ssh::Error::ExecRefused { address }));
        }
        Ok(Err(cause)) => cause,
        Err(_) => ssh::Error::ConnectionLost {
            address: target.endpoint(),
        },
    };
    Ok(Outcome::Unknown { cause })
}

/// What the toolkit would refuse on the host is refused here.
fn check(request: &Request) -> Result<(), Refused> {
    let refuse = |reason, message: String| Err(Refused { reason, message });
    let is_name = |name: &str| {
        !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(name) = request.env.keys().find(|name| !is_name(name)) {
        return refuse(
            RefusedReason::BadRequest,
            format!("{name:?} is no name of a variable"),
        );
    }
    let secrets = || {
        request
            .mask
            .iter()
            .filter(|secret| !secret.trim().is_empty())
    };
    if secrets().any(|secret| secret.len() < SECRET_BYTES_MIN) {
        let message = format!("a secret of less than {SECRET_BYTES_MIN} bytes cannot be masked");
        return refuse(RefusedReason::SecretTooShort, message);
    }
    if let Program::Argv(words) = &request.program
        && words
            .iter()
            .any(|word| secrets().any(|secret| word.contains(secret.as_str())))
    {
        let message = "an argument holds a secret; pass it in the environment".to_owned();
        return refuse(RefusedReason::SecretInArguments, message);
    }
    Ok(())
}

fn give_up_at(request: &Request) -> Option<Instant> {
    let seconds = u64::from(request.timeout_seconds?) + u64::from(request.grace_seconds);
    Some(Instant::now() + Duration::from_secs(seconds) + MARGIN)
}

/// Output on its way through the masks and the bound.
struct Following<'a> {
    masks: Masks,
    seen: u64,
    passed: u64,
    keep: u64,
    sink: &'a Sink,
}

impl Following<'_> {
    async fn follow(&mut self, mut exchange: Exchange) -> Result<Exit, ssh::Error> {
        while let Some(chunk) = exchange.next().await? {
            let (stream, bytes) = match &chunk {
                Chunk::Stdout(bytes) => (Stream::Stdout, bytes),
                Chunk::Stderr(bytes) => (Stream::Stderr, bytes),
            };
            let mut masked = Vec::new();
            self.masks.push(stream, bytes, &mut |stream, bytes| {
                masked.push((stream, bytes.to_vec()))
            });
            self.pass(masked).await;
        }
        let mut masked = Vec::new();
        self.masks
            .finish(&mut |stream, bytes| masked.push((stream, bytes.to_vec())));
        self.pass(masked).await;
        Ok(exchange
            .exit()
            .cloned()
            .unwrap_or(Exit::Signal("unknown".to_owned())))
    }

    /// The first bytes are kept, up to the bound; the rest is counted.
    async fn pass(&mut self, pieces: Vec<(Stream, Vec<u8>)>) {
        for (stream, mut data) in pieces {
            let offset = self.seen;
            self.seen += data.len() as u64;
            let room = usize::try_from(self.keep - self.passed).unwrap_or(usize::MAX);
            data.truncate(room);
            if data.is_empty() {
                continue;
            }
            self.passed += data.len() as u64;
            let _ = self
                .sink
                .send(Progress::Output(Output {
                    offset,
                    stream,
                    data,
                }))
                .await;
        }
    }

    fn end(&self, exit: &Exit, request: &Request, started_at: Timestamp) -> End {
        let (reason, exit_code, message) = match exit {
            Exit::Code(TIMED_OUT) if request.timeout_seconds.is_some() => {
                (EndReason::TimedOut, None, String::new())
            }
            Exit::Code(code) => (EndReason::Exited, i32::try_from(*code).ok(), String::new()),
            Exit::Signal(signal) => (
                EndReason::Signaled,
                None,
                format!("ended by signal {signal}"),
            ),
        };
        End {
            reason,
            exit_code,
            signal: None,
            message,
            started_at: Some(started_at),
            finished_at: Timestamp::now(),
            output_bytes: self.seen,
            dropped_bytes: self.seen - self.passed,
        }
    }
}

/// The command line: it holds no content and no secret, since every user of a host can read it.
fn command(target: &Target, request: &Request) -> String {
    let reader = match &request.program {
        Program::Script {
            interpreter: Interpreter::Python,
            ..
        } => format!("python3 -c {}", quote(PYTHON)),
        Program::Script {
            interpreter: Interpreter::Bash,
            ..
        } => "bash -c 'eval \"$(cat)\"'".to_owned(),
        Program::Script {
            interpreter: Interpreter::Shell,
            ..
        }
        | Program::Argv(_) => "sh -c 'eval \"$(cat)\"'".to_owned(),
    };
    let mut script = String::new();
    if let Some(folder) = &request.workdir {
        let _ = write!(script, "cd {} || exit 125; ", quote(folder));
    }
    let _ = match request.timeout_seconds {
        None => write!(script, "exec {reader}"),
        Some(seconds) => write!(
            script,
            "if command -v timeout >/dev/null 2>&1; then exec timeout -k {} {seconds} {reader}; fi; exec {reader}",
            request.grace_seconds,
        ),
    };
    match &request.run_as {
        Some(user) if *user != target.user => as_user(target, user, &script),
        Some(_) => format!("sh -c {}", quote(&script)),
        None => as_root(target, &script),
    }
}

/// Reads the environment from the first line and the script from the rest, so that the script's own first line stays its first.
const PYTHON: &str = "import sys,os,json; os.environ.update(json.loads(sys.stdin.readline())); \
                      exec(compile(sys.stdin.read(),'script','exec'),{'__name__':'__main__'})";

/// Environment first, then what to run; all of it is read before any of it runs, so a script that reads its input finds none.
fn stdin(request: &Request) -> Bytes {
    let mut text = String::new();
    if let Program::Script {
        interpreter: Interpreter::Python,
        content,
    } = &request.program
    {
        text.push_str(&serde_json::to_string(&request.env).expect("a map of strings"));
        text.push('\n');
        text.push_str(content);
        return text.into();
    }
    for (name, value) in &request.env {
        let _ = writeln!(text, "export {name}={}", quote(value));
    }
    match &request.program {
        Program::Script { content, .. } => text.push_str(content),
        Program::Argv(words) => {
            let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
            let _ = writeln!(text, "exec {}", words.join(" "));
        }
    }
    text.into()
}
