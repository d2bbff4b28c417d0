//! The one writer of a process: a task that takes what waits in the queue, applies it in one turn, and acknowledges everybody after the commit. What could not be committed is not
//! acknowledged; it comes again, and doing it twice equals doing it once.

use std::{future::Future, sync::Arc, time::Duration};

use crds::audit::Checkpoint;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time,
};

use super::{
    archive, audit,
    failed::Failed,
    output, receipt,
    session::{Connector, Session},
    sweep,
    turn::Turn,
    write,
};
use crate::{
    Error, Options, Position, Retention, Swept,
    queue::{Command, Queue, Waiting},
    ready::Ready,
};

/// Rows that a group may have before it is full.
const ROWS: usize = 10_000;
/// Time for a turn, with the wait for those of other replicas; the sender of a batch gives up soon after.
const TURN: Duration = Duration::from_secs(25);

/// Starts the writer; the way to it.
pub fn start(
    connector: Arc<Connector>,
    session: Session,
    options: Options,
    tell: Arc<watch::Sender<Position>>,
) -> Queue {
    let (queue, commands) = Queue::new(options.queue);
    let worker = Worker {
        connector,
        session: Some(session),
        commands,
        group: options.group,
        tell,
    };
    tokio::spawn(worker.run());
    queue
}

struct Worker {
    connector: Arc<Connector>,
    session: Option<Session>,
    commands: mpsc::Receiver<Command>,
    group: usize,
    tell: Arc<watch::Sender<Position>>,
}

impl Worker {
    /// Ends when every sender is gone and the queue is empty, so that what was taken is answered.
    async fn run(mut self) {
        let mut left_over = None;
        loop {
            let next = match left_over.take() {
                Some(command) => Some(command),
                None => self.commands.recv().await,
            };
            match next {
                Some(Command::Append { batch, reply }) => {
                    left_over = self.append((batch, reply)).await;
                }
                // A caller that went away has no use for the answer.
                Some(Command::Claim { receipt, reply }) => {
                    let claimed = self.in_turn(async |s| receipt::claim(s, receipt).await);
                    let _ = reply.send(claimed.await.map_err(Stop::told));
                }
                Some(Command::Sign { checkpoint, reply }) => {
                    let signed = self.sign(&checkpoint).await;
                    let _ = reply.send(signed.map_err(Stop::told));
                }
                Some(Command::Sweep {
                    retention,
                    now,
                    reply,
                }) => {
                    let swept = self.sweep(&retention, now).await;
                    let _ = reply.send(swept.map_err(Stop::told));
                }
                None => return,
            }
        }
    }

    /// Commits a group that begins with `first`; gives back a command of another kind that ended the group.
    async fn append(&mut self, first: Waiting) -> Option<Command> {
        let (mut rows, mut left_over) = (first.0.rows.len(), None);
        let mut group = vec![first];
        while group.len() < self.group && rows < ROWS {
            match self.commands.try_recv() {
                Ok(Command::Append { batch, reply }) => {
                    rows += batch.rows.len();
                    group.push((batch, reply));
                }
                Ok(other) => {
                    left_over = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let batches: Vec<&Ready> = group.iter().map(|(batch, _)| batch).collect();
        match self.commit(&batches).await {
            Err(stop) if stop.is_refusal() && group.len() > 1 => {
                for (batch, reply) in group {
                    // One batch that the database refuses must not cost its neighbours theirs.
                    let alone = self.commit(&[&batch]).await;
                    let _ = reply.send(alone.map_err(Stop::told));
                }
            }
            done => {
                let why = done.err().map(Stop::text);
                for (_, reply) in group {
                    let answer = why.clone().map_or(Ok(()), |why| Err(why.told()));
                    let _ = reply.send(answer);
                }
            }
        }
        left_over
    }

    async fn commit(&mut self, batches: &[&Ready]) -> Result<(), Stop> {
        let rows: Vec<_> = batches.iter().flat_map(|batch| &batch.rows).collect();
        let logs: Vec<_> = batches.iter().flat_map(|batch| &batch.logs).collect();
        let archived: Vec<_> = batches.iter().flat_map(|batch| &batch.archived).collect();
        let entries: Vec<_> = batches.iter().flat_map(|batch| &batch.audit).collect();
        let now = Timestamp::now();
        let committed = self.in_turn(async |session| {
            let mut turn = Turn::begin(session).await?;
            write::rows(&mut turn, &rows, now).await?;
            output::chunks(&mut turn, &logs, now).await?;
            for ready in archived {
                archive::keep(&mut turn, ready, now).await?;
            }
            audit::append(&mut turn, &entries, now).await?;
            Ok(turn.commit().await?)
        });
        let position = committed.await?;
        told(&self.tell, position);
        Ok(())
    }

    async fn sign(&mut self, checkpoint: &Checkpoint) -> Result<(), Stop> {
        let signed = self.in_turn(async |session| audit::sign(session, checkpoint).await);
        let position = signed.await?;
        told(&self.tell, position);
        Ok(())
    }

    async fn sweep(&mut self, retention: &Retention, now: Timestamp) -> Result<Swept, Stop> {
        let done = self.in_turn(async |session| {
            let mut turn = Turn::begin(session).await?;
            let swept = sweep::sweep(&mut turn, retention, now).await?;
            Ok((swept, turn.commit().await?))
        });
        let (swept, position) = done.await?;
        told(&self.tell, position);
        Ok(swept)
    }

    /// Does something on the connection, within a bound. One that is not known to be good afterwards is not used again.
    async fn in_turn<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failed>,
    ) -> Result<T, Stop> {
        let kept = self.session.take().filter(|session| !session.is_closed());
        let mut session = match kept {
            Some(session) => session,
            None => self.connector.connect().await.map_err(Stop::Away)?,
        };
        let done = within(TURN, work(&mut session)).await;
        if done.as_ref().err().is_none_or(Stop::is_refusal) {
            self.session = Some(session);
        }
        done
    }
}

async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Stop> {
    let done = time::timeout(time, work).await;
    done.map_err(|_| Stop::TooLong)?.map_err(Stop::Failed)
}

/// Passes on where the store is, unless later is known.
pub fn told(tell: &watch::Sender<Position>, position: Position) {
    tell.send_if_modified(|known| {
        let later = position.commits > known.commits;
        if later {
            *known = position;
        }
        later
    });
}

/// Why a command came to nothing.
enum Stop {
    Away(Error),
    TooLong,
    Failed(Failed),
}

/// The same told to each of a group; errors of the database cannot be cloned.
#[derive(Clone)]
struct Text {
    step: &'static str,
    why: String,
}

impl Stop {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(failed) if failed.is_refusal())
    }

    fn told(self) -> Error {
        match self {
            Self::Away(error) => error,
            Self::TooLong => Error::unavailable("commit", "PostgreSQL took too long"),
            Self::Failed(failed) => Error::unavailable("commit", failed),
        }
    }

    fn text(self) -> Text {
        let error = self.told();
        let step = match &error {
            Error::Unavailable { step, .. } => step,
            _ => "commit",
        };
        let mut causes = vec![];
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            causes.push(next.to_string());
            cause = next.source();
        }
        Text {
            step,
            why: causes.join(": "),
        }
    }
}

impl Text {
    fn told(self) -> Error {
        Error::unavailable(self.step, self.why)
    }
}
