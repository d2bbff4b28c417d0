//! Work where nothing may be copied: the script and its environment travel on standard input. At most once: what is cut off is Unknown, and timeouts are the host's best effort.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use crds::{
    journal::{
        End, EndReason, Interpreter, Output, Program, Refused, RefusedReason, Request, Started,
        Stream,
    },
    mask::{self, Masks},
};
use jiff::Timestamp;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, error::Elapsed, timeout_at},
};

use super::{Error, Outcome, Progress, Sink, patience::Patience};
use crate::{
    shell::{as_root, as_user, quote},
    ssh::{self, Chunk, Exchange, Exit, Fleet, Session, Target},
};

/// Exit codes of a program that `timeout` ended: its own word for it, and those of KILL and TERM.
const ENDED_BY_TIMEOUT: [u32; 3] = [124, 137, 143];

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
    let session = session(fleet, target, delivery).await.map_err(failed)?;
    let (started_at, began) = (Timestamp::now(), Instant::now());
    let exchange = match session
        .exec(&command(target, request), stdin(request))
        .await
    {
        Ok(exchange) => exchange,
        Err(cause) => return Ok(Outcome::Unknown { cause }),
    };
    let mut following = Following::of(request);
    let begun = Started {
        at: started_at,
        attached: false,
    };
    let patience = give_up_at(request);
    match following
        .until_it_ends(exchange, begun, patience, sink)
        .await
    {
        Ok(Ok(exit)) => {
            let late = is_late(request, began.elapsed());
            Ok(Outcome::Ended(following.end(&exit, late, started_at)))
        }
        Ok(Err(cause @ ssh::Error::ExecRefused { .. })) => Err(failed(cause)),
        Ok(Err(cause)) => Ok(Outcome::Unknown { cause }),
        Err(_) => {
            let address = target.endpoint();
            let cause = ssh::Error::ConnectionLost { address };
            Ok(Outcome::Unknown { cause })
        }
    }
}

/// A session on the target; a host that is away for a moment is sought until the window ends.
async fn session(fleet: &Fleet, target: &Target, window: Duration) -> Result<Session, ssh::Error> {
    let mut patience = Patience::lasting(window);
    loop {
        match fleet.session(target, patience.deadline()).await {
            Err(cause) if cause.is_passing() && patience.rest().await => {}
            done => return done,
        }
    }
}

/// Whether the program ran as long as it may, less what two clocks may differ by.
fn is_late(request: &Request, ran: Duration) -> bool {
    request
        .timeout_seconds
        .is_some_and(|seconds| ran >= Duration::from_secs(seconds.into()).mul_f64(0.99))
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
    if let Err(unmaskable) = mask::check(request.mask.iter().map(String::as_str)) {
        return refuse(unmaskable.reason(), unmaskable.to_string());
    }
    let secrets = || {
        request
            .mask
            .iter()
            .filter(|secret| !secret.trim().is_empty())
    };
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

/// Hands on what waits. It is no more than may be kept, so that a slow taker holds up neither the program nor what shares its connection.
async fn hand_on(mut waiting: UnboundedReceiver<Progress>, sink: &Sink) {
    while let Some(progress) = waiting.recv().await {
        let _ = sink.send(progress).await;
    }
}

/// Output on its way through the masks and the bound.
struct Following {
    masks: Masks,
    seen: u64,
    passed: u64,
    keep: u64,
}

impl Following {
    fn of(request: &Request) -> Self {
        Self {
            masks: Masks::new(request.mask.iter().map(String::as_str)),
            seen: 0,
            passed: 0,
            keep: request.keep_bytes,
        }
    }

    /// Says that it has begun and hands on what it writes, until it ends or somebody has to give up on it.
    async fn until_it_ends(
        &mut self,
        exchange: Exchange,
        begun: Started,
        give_up_at: Option<Instant>,
        sink: &Sink,
    ) -> Result<Result<Exit, ssh::Error>, Elapsed> {
        let (kept, waiting) = mpsc::unbounded_channel();
        let _ = kept.send(Progress::Started(begun));
        let reading = async {
            let follow = self.follow(exchange, kept);
            match give_up_at {
                Some(deadline) => timeout_at(deadline, follow).await,
                None => Ok(follow.await),
            }
        };
        let (ended, ()) = tokio::join!(reading, hand_on(waiting, sink));
        ended
    }

    async fn follow(
        &mut self,
        mut exchange: Exchange,
        kept: UnboundedSender<Progress>,
    ) -> Result<Exit, ssh::Error> {
        while let Some(chunk) = exchange.next().await? {
            let (stream, bytes) = match &chunk {
                Chunk::Stdout(bytes) => (Stream::Stdout, bytes),
                Chunk::Stderr(bytes) => (Stream::Stderr, bytes),
            };
            let mut masked = Vec::new();
            self.masks.push(stream, bytes, &mut |stream, bytes| {
                masked.push((stream, bytes.to_vec()));
            });
            self.pass(masked, &kept);
        }
        let mut masked = Vec::new();
        self.masks
            .finish(&mut |stream, bytes| masked.push((stream, bytes.to_vec())));
        self.pass(masked, &kept);
        Ok(exchange
            .exit()
            .cloned()
            .unwrap_or(Exit::Signal("unknown".to_owned())))
    }

    /// The first bytes are kept, up to the bound; the rest is counted.
    fn pass(&mut self, pieces: Vec<(Stream, Vec<u8>)>, kept: &UnboundedSender<Progress>) {
        for (stream, mut data) in pieces {
            let offset = self.seen;
            self.seen += data.len() as u64;
            let room = usize::try_from(self.keep - self.passed).unwrap_or(usize::MAX);
            data.truncate(room);
            if data.is_empty() {
                continue;
            }
            self.passed += data.len() as u64;
            let _ = kept.send(Progress::Output(Output {
                offset,
                stream,
                data,
            }));
        }
    }

    /// How it ended; `late` says that it ran as long as it may, without which nothing was timed out.
    fn end(&self, exit: &Exit, late: bool, started_at: Timestamp) -> End {
        let ended = match exit {
            Exit::Code(code) => ENDED_BY_TIMEOUT.contains(code),
            Exit::Signal(signal) => ["KILL", "TERM"].contains(&signal.as_str()),
        };
        let (reason, exit_code, message) = match exit {
            _ if late && ended => (EndReason::TimedOut, None, String::new()),
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
