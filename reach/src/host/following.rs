//! One effect on its way from the request to its end, over as many connections as it takes. Knows at each moment whether it may have begun.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use crds::journal::{End, Line, Output, RefusedReason, Request, Started};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Outcome, Progress, Sink, Windows,
    answer::Answers,
    journal::{Way, json_line, next_line},
    patience::Patience,
    toolkit::{Asked, Copied},
};

/// How long whoever takes progress may hold up a connection, which others share.
const SLUGGISH: Duration = Duration::from_secs(1);

/// What the one who follows an effect and the one who ends it know of each other.
pub(super) struct Shared<'a> {
    /// It is to be ended.
    pub cancel: &'a CancellationToken,
    /// It may have begun, by this call or an earlier one.
    pub sent: AtomicBool,
    /// The host said that it is over.
    pub over: CancellationToken,
}

/// What came of one turn.
enum Turn {
    Ended(End),
    /// Ask again at once.
    Again,
    /// Progress is not taken; ask again when it is.
    Full,
    Failed(Error),
}

/// An effect that is being followed.
pub(super) struct Following<'a> {
    way: Way<'a>,
    request: Request,
    windows: Windows,
    sink: &'a Sink,
    shared: &'a Shared<'a>,
    started: bool,
    copied: Copied,
    patience: Patience,
    /// When it must be over, once it may have begun.
    bound: Option<Instant>,
}

impl<'a> Following<'a> {
    pub(super) fn new(
        way: Way<'a>,
        request: &Request,
        windows: Windows,
        sink: &'a Sink,
        shared: &'a Shared<'a>,
    ) -> Self {
        let mut following = Self {
            way,
            request: request.clone(),
            windows,
            sink,
            shared,
            started: false,
            copied: Copied::default(),
            patience: Patience::lasting(windows.delivery),
            bound: None,
        };
        if windows.begun {
            following.begins();
        }
        following
    }

    /// Asks until the end is told. An error means that nothing was ever started.
    pub(super) async fn finish(mut self) -> Result<Outcome, Error> {
        loop {
            if !self.may_ask() {
                if !self.shared.sent.load(Relaxed) {
                    return Ok(Outcome::Cancelled);
                }
                self.shared.over.cancelled().await;
            }
            let cause = match self.turn().await {
                Turn::Ended(end) => return Ok(Outcome::Ended(end)),
                Turn::Again => continue,
                Turn::Full => match self.room().await {
                    Ok(()) => continue,
                    Err(cause) => cause,
                },
                Turn::Failed(cause) => cause,
            };
            if self.is_overdue() || !cause.is_passing() || !self.patience.rest().await {
                if !self.shared.sent.load(Relaxed) || proves_nothing_began(&cause) {
                    return Err(cause);
                }
                return Ok(Outcome::Detached {
                    started: self.started,
                    cause,
                });
            }
        }
    }

    /// One request and its answer, as far as the connection carries it.
    async fn turn(&mut self) -> Turn {
        let session = match self.way.session(self.patience.deadline()).await {
            Ok(session) => session,
            Err(cause) => return Turn::Failed(cause),
        };
        if !self.may_ask() {
            return Turn::Again;
        }
        let before = self.shared.sent.swap(true, Relaxed);
        // Found at the last moment, a host has all the same some time to answer.
        let deadline = self.patience.deadline().max(self.renewed().deadline());
        let (way, body) = (self.way, json_line(&self.request));
        let asked = way.toolkit.ask(session, way.target, "exec", body, deadline);
        match asked.await {
            Ok(Asked::Answers(answers)) => self.follow(answers, before).await,
            Ok(Asked::Lost(cause)) => {
                if !before {
                    self.begins();
                }
                Turn::Failed(cause)
            }
            Ok(Asked::Absent) => {
                self.shared.sent.store(before, Relaxed);
                let deadline = self.patience.deadline();
                match self.way.copy_once(&mut self.copied, deadline).await {
                    Ok(()) => Turn::Again,
                    Err(cause) => Turn::Failed(cause),
                }
            }
            Err(cause) => {
                self.shared.sent.store(before, Relaxed);
                Turn::Failed(cause)
            }
        }
    }

    /// To ask is to start what has not begun, which nobody wants once it is cancelled.
    fn may_ask(&self) -> bool {
        self.started || !self.shared.cancel.is_cancelled() || self.shared.over.is_cancelled()
    }

    async fn follow(&mut self, mut answers: Answers, before: bool) -> Turn {
        if !before {
            self.begins();
        }
        loop {
            let line = match next_line(&mut answers, self.way.target, self.bound).await {
                Ok(Some(line)) => line,
                Ok(None) => return Turn::Failed(self.overdue()),
                Err(cause) => return Turn::Failed(cause),
            };
            let taken = match line {
                Line::Started(started) => self.begun(started).await,
                Line::Output(output) => self.pass(output).await,
                Line::End(end) => return Turn::Ended(end),
                Line::Refused(refused) => {
                    self.shared.sent.store(before, Relaxed);
                    return Turn::Failed(Error::refused(self.way.target, refused));
                }
                Line::Forgotten(_) => true,
            };
            if !taken {
                return Turn::Full;
            }
        }
    }

    /// From here on it may have begun.
    fn begins(&mut self) {
        self.patience = self.renewed();
        let work = self.request.timeout_seconds.map(|seconds| {
            Duration::from_secs(u64::from(seconds) + u64::from(self.request.grace_seconds))
        });
        // A bound beyond what the clock can say is none.
        self.bound = work.and_then(|work| Instant::now().checked_add(work + self.windows.reattach));
    }

    fn renewed(&self) -> Patience {
        Patience::lasting(self.windows.reattach)
    }

    fn is_overdue(&self) -> bool {
        self.bound.is_some_and(|bound| Instant::now() >= bound)
    }

    fn overdue(&self) -> Error {
        Error::Overdue {
            address: self.way.target.endpoint(),
        }
    }

    /// Later attachments tell the same beginning again.
    async fn begun(&mut self, started: Started) -> bool {
        if self.started {
            return true;
        }
        self.started = self.hand_on(Progress::Started(started)).await;
        self.started
    }

    /// Hands on what was not handed on before.
    async fn pass(&mut self, mut output: Output) -> bool {
        let next = self.request.resume_from;
        let known = usize::try_from(next.saturating_sub(output.offset)).unwrap_or(usize::MAX);
        if known >= output.data.len() {
            return true;
        }
        output.data.drain(..known);
        output.offset = output.offset.max(next);
        let end = output.offset + output.data.len() as u64;
        let taken = self.hand_on(Progress::Output(output)).await;
        if taken {
            self.request.resume_from = end;
        }
        taken
    }

    /// False when nobody took it in time.
    async fn hand_on(&mut self, progress: Progress) -> bool {
        match timeout(SLUGGISH, self.sink.reserve()).await {
            Ok(Ok(permit)) => permit.send(progress),
            Ok(Err(_)) => {}
            Err(_) => return false,
        }
        // Only news starts the wait anew, so that a host that always breaks off is given up in the end.
        self.patience = self.renewed();
        true
    }

    /// Waits, without a connection, until progress is taken again.
    async fn room(&mut self) -> Result<(), Error> {
        let room = async { drop(self.sink.reserve().await) };
        match self.bound {
            None => room.await,
            Some(bound) => timeout_at(bound, room).await.map_err(|_| self.overdue())?,
        }
        self.patience = self.renewed();
        Ok(())
    }
}

/// These refusals are given only after a look at the key's journal, which had not begun; any other may come before that look.
fn proves_nothing_began(cause: &Error) -> bool {
    use RefusedReason as R;
    matches!(cause, Error::Refused { refused, .. }
        if matches!(refused.reason, R::Cancelled | R::UnknownUser | R::ProgramMissing))
}
