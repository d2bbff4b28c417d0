//! The one writer: a thread that takes what waits in the queue, applies it in one transaction, and acknowledges everybody after the one sync.

use std::{
    fs::File,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, watch};

use super::{
    audit,
    checkpoints::Copier,
    receipt, sweep,
    write::{self, Positions},
};
use crate::{
    Error, Options, Position, Retention, Swept,
    queue::{Command, Queue, Waiting},
};

/// Time for which a group is filled; whoever comes later waits for the next.
const FILL: Duration = Duration::from_millis(20);

/// Starts the writer: the way to it, and the position that it has come to.
pub fn start(
    connection: Connection,
    copier: Copier,
    lock: File,
    options: Options,
    seq: i64,
) -> Result<(Queue, watch::Receiver<Position>), Error> {
    let (queue, commands) = Queue::new(options.queue);
    let (tell, position) = watch::channel(Position { seq, commits: 0 });
    let worker = Worker {
        connection,
        _copier: copier,
        commands,
        group: options.group,
        _lock: lock,
        tell,
    };
    thread::Builder::new()
        .name("records-writer".into())
        .spawn(move || worker.run())
        .map_err(|e| Error::unavailable("start the writer", e))?;
    Ok((queue, position))
}

struct Worker {
    connection: Connection,
    // Dropped after the connection whose closing ends it, and before the folder is free.
    _copier: Copier,
    commands: mpsc::Receiver<Command>,
    group: usize,
    _lock: File,
    // Dropped last: its closing says that the folder is free.
    tell: watch::Sender<Position>,
}

impl Worker {
    /// Ends when every sender is gone and the queue is empty, so that what was taken is answered.
    fn run(mut self) {
        let mut left_over = None;
        while let Some(command) = left_over.take().or_else(|| self.commands.blocking_recv()) {
            match command {
                Command::Append { batch, reply } => left_over = self.append((batch, reply)),
                // A caller that went away has no use for the answer.
                Command::Claim { receipt, reply } => {
                    let claimed = self.in_transaction(|tx, _| receipt::claim(tx, &receipt));
                    let _ = reply.send(claimed.map_err(|e| failed(&e)));
                }
                Command::Sign { checkpoint, reply } => {
                    let signed = self.in_transaction(|tx, _| audit::sign(tx, &checkpoint));
                    let _ = reply.send(signed.map_err(|e| failed(&e)));
                }
                Command::Sweep {
                    retention,
                    now,
                    reply,
                } => {
                    let _ = reply.send(self.sweep(&retention, now));
                }
            }
        }
    }

    /// Commits a group that begins with `first`; gives back a command of another kind that ended the group.
    fn append(&mut self, first: Waiting) -> Option<Command> {
        let mut group = Vec::new();
        let mut left_over = None;
        match self.fill_and_commit(first, &mut group, &mut left_over) {
            Ok(seq) => {
                self.told(seq);
                for (_, reply) in group {
                    let _ = reply.send(Ok(()));
                }
            }
            Err(_) if group.len() > 1 => group.into_iter().for_each(|w| self.append_alone(w)),
            Err(source) => {
                for (_, reply) in group.drain(..) {
                    let _ = reply.send(Err(failed(&source)));
                }
            }
        }
        left_over
    }

    fn fill_and_commit(
        &mut self,
        first: Waiting,
        group: &mut Vec<Waiting>,
        left_over: &mut Option<Command>,
    ) -> rusqlite::Result<i64> {
        group.push(first);
        let began = Instant::now();
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut positions = Positions::begin(&tx)?;
        let now = Timestamp::now();
        while let Some((batch, _)) = group.last() {
            write::append(&tx, &mut positions, batch, now)?;
            if group.len() >= self.group || began.elapsed() >= FILL {
                break;
            }
            match self.commands.try_recv() {
                Ok(Command::Append { batch, reply }) => group.push((batch, reply)),
                Ok(other) => {
                    *left_over = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        positions.save(&tx)?;
        tx.commit()?;
        Ok(positions.seq)
    }

    /// One batch that the file refuses must not cost its neighbours theirs.
    fn append_alone(&mut self, (batch, reply): Waiting) {
        let answer = self
            .in_transaction(|tx, positions| write::append(tx, positions, &batch, Timestamp::now()));
        let _ = reply.send(answer.map_err(|e| failed(&e)));
    }

    fn sweep(&mut self, retention: &Retention, now: Timestamp) -> Result<Swept, Error> {
        let swept =
            self.in_transaction(|tx, positions| sweep::sweep(tx, positions, retention, now));
        let shrunk = swept.and_then(|swept| sweep::shrink(&self.connection).map(|()| swept));
        shrunk.map_err(|e| Error::unavailable("sweep", e))
    }

    fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Positions) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut positions = Positions::begin(&tx)?;
        let done = work(&tx, &mut positions)?;
        positions.save(&tx)?;
        tx.commit()?;
        self.told(positions.seq);
        Ok(done)
    }

    fn told(&self, seq: i64) {
        self.tell.send_modify(|position| {
            position.seq = seq;
            position.commits += 1;
        });
    }
}

/// The same failure told to each of a group; SQLite's error cannot be cloned.
fn failed(source: &rusqlite::Error) -> Error {
    Error::unavailable("commit", source.to_string())
}
