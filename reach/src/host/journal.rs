//! Work over a host's journal: an effect is started once under its key, followed to its end, found again when the connection breaks, and ended on request.

use std::{
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use crds::journal::{End, Forgotten, KeyRequest, Line, Request};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Outcome, Sink, Toolkit,
    answer::Answers,
    following::{Following, Shared},
    patience::Patience,
    toolkit::{Asked, Copied},
};
use crate::ssh::{Fleet, Session, Target};

/// How long a host is sought.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Until the effect is started.
    pub delivery: Duration,
    /// Until the host is found again when the connection broke.
    pub reattach: Duration,
    /// An earlier call may have started it: the host is sought for `reattach` from the beginning, and silence never means that nothing was started.
    pub begun: bool,
}

/// How long a host is sought to be told that an effect shall end, and its last output is awaited.
const CANCELLING: Duration = Duration::from_secs(20);

/// The way to one host and its journal.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub fleet: &'a Fleet,
    pub toolkit: &'a Toolkit,
    pub target: &'a Target,
}

impl Way<'_> {
    pub(super) async fn session(&self, deadline: Instant) -> Result<Session, Error> {
        let session = self.fleet.session(self.target, deadline).await;
        session.map_err(|source| Error::delivery(self.target, source))
    }

    pub(super) async fn copy_once(
        &self,
        copied: &mut Copied,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.toolkit
            .copy_once(self.fleet, self.target, copied, deadline)
            .await
    }
}

/// Starts the effect, or attaches to it, and follows it to its end, or ends it when `cancel` fires. Calling it twice with the same key is calling it once.
/// An error means that nothing was started, neither by this call nor by an earlier one.
pub async fn run(
    fleet: &Fleet,
    toolkit: &Toolkit,
    target: &Target,
    request: &Request,
    windows: Windows,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Outcome, Error> {
    let way = Way {
        fleet,
        toolkit,
        target,
    };
    let shared = Shared {
        cancel,
        sent: AtomicBool::new(windows.begun),
        over: CancellationToken::new(),
    };
    let following = Following::new(way, request, windows, sink, &shared);
    let mut following = pin!(following.finish());
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        outcome = &mut following => return outcome,
    }
    if !shared.sent.load(Relaxed) {
        return Ok(Outcome::Cancelled);
    }
    let key = KeyRequest {
        version: request.version,
        key: request.key.clone(),
        epoch: request.epoch,
    };
    let cancelling = self::cancel(fleet, toolkit, target, &key, CANCELLING);
    end(following, cancelling, &shared.over).await
}

/// Tells the host that the effect shall end, and goes on to follow it: a stream that nobody reads holds up everything else on its connection, the cancel included.
async fn end(
    mut following: Pin<&mut impl Future<Output = Result<Outcome, Error>>>,
    cancelling: impl Future<Output = Result<End, Error>>,
    over: &CancellationToken,
) -> Result<Outcome, Error> {
    let deadline = Instant::now() + CANCELLING;
    let (mut cancelling, mut seen) = (pin!(cancelling), None);
    let told = loop {
        tokio::select! {
            outcome = &mut following, if seen.is_none() => match outcome {
                Ok(outcome @ (Outcome::Ended(_) | Outcome::Cancelled)) => return Ok(outcome),
                other => seen = Some(other),
            },
            told = &mut cancelling => break told,
        }
    };
    let buried = told.as_ref().is_ok_and(|end| end.started_at.is_none());
    if told.is_ok() {
        over.cancel();
    }
    if !buried && seen.is_none() {
        // The output that was written until then is still on its way, and with it perhaps the end.
        seen = timeout_at(deadline, following).await.ok();
    }
    match (seen, told) {
        (Some(Ok(Outcome::Ended(end))), _) | (_, Ok(end)) => Ok(Outcome::Ended(end)),
        (Some(Err(nothing_began)), Err(_)) => Err(nothing_began),
        (_, Err(cause)) => Ok(Outcome::CancelUndelivered { cause }),
    }
}

/// Ends the effect on the host, or keeps it from ever beginning.
pub async fn cancel(
    fleet: &Fleet,
    toolkit: &Toolkit,
    target: &Target,
    key: &KeyRequest,
    patience: Duration,
) -> Result<End, Error> {
    match answer(fleet, toolkit, target, "cancel", key, patience).await? {
        Line::End(end) => Ok(end),
        other => Err(Error::not_understood(target, format!("{other:?}"))),
    }
}

/// Tells the host that the result is safe elsewhere, so that its journal may be swept.
pub async fn forget(
    fleet: &Fleet,
    toolkit: &Toolkit,
    target: &Target,
    key: &KeyRequest,
    patience: Duration,
) -> Result<Forgotten, Error> {
    match answer(fleet, toolkit, target, "forget", key, patience).await? {
        Line::Forgotten(forgotten) => Ok(forgotten),
        other => Err(Error::not_understood(target, format!("{other:?}"))),
    }
}

/// Both verbs may be repeated, so a broken connection is simply tried again.
async fn answer(
    fleet: &Fleet,
    toolkit: &Toolkit,
    target: &Target,
    verb: &str,
    key: &KeyRequest,
    patience: Duration,
) -> Result<Line, Error> {
    let way = Way {
        fleet,
        toolkit,
        target,
    };
    let (mut patience, mut copied) = (Patience::lasting(patience), Copied::default());
    loop {
        let cause = match try_answer(way, verb, key, &mut copied, patience.deadline()).await {
            Ok(Some(line)) => return Ok(line),
            Ok(None) => continue,
            Err(cause) => cause,
        };
        if !cause.is_passing() || !patience.rest().await {
            return Err(cause);
        }
    }
}

/// The one line that such a verb is answered with; `None` when the toolkit had to be copied first.
async fn try_answer(
    way: Way<'_>,
    verb: &str,
    key: &KeyRequest,
    copied: &mut Copied,
    deadline: Instant,
) -> Result<Option<Line>, Error> {
    let (session, body) = (way.session(deadline).await?, json_line(key));
    let asking = way
        .toolkit
        .ask(session, way.target, verb, body, deadline)
        .await?;
    match asking {
        Asked::Lost(cause) => Err(cause),
        Asked::Absent => way.copy_once(copied, deadline).await.map(|()| None),
        Asked::Answers(mut answers) => {
            match next_line(&mut answers, way.target, Some(deadline)).await? {
                Some(Line::Refused(refused)) => Err(Error::refused(way.target, refused)),
                Some(line) => Ok(Some(line)),
                None => Err(Error::lost(way.target)),
            }
        }
    }
}

/// The next line of an answer; `None` when it did not come in time.
pub(super) async fn next_line(
    answers: &mut Answers,
    target: &Target,
    deadline: Option<Instant>,
) -> Result<Option<Line>, Error> {
    let next = match deadline {
        Some(deadline) => timeout_at(deadline, answers.next()).await,
        None => Ok(answers.next().await),
    };
    match next {
        Ok(Ok(Some(Ok(line)))) => Ok(Some(line)),
        Ok(Ok(Some(Err(message)))) => Err(Error::not_understood(target, message)),
        Ok(Ok(None)) => Err(Error::lost(target)),
        Ok(Err(source)) => Err(Error::delivery(target, source)),
        Err(_) => Ok(None),
    }
}

/// A request as the toolkit reads it: one line.
pub(super) fn json_line(request: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(request).expect("requests are plain data");
    line.push(b'\n');
    line.into()
}
