//! The way to a store's one writer: what it is asked for, and the answer that comes after the commit.

use crds::{audit::Checkpoint, receipt::Receipt};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::{Error, Retention, Swept, ready::Ready};

/// What a writer is asked for.
pub enum Command {
    Append {
        batch: Ready,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Claim {
        receipt: Receipt,
        reply: oneshot::Sender<Result<Receipt, Error>>,
    },
    Sign {
        checkpoint: Checkpoint,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Sweep {
        retention: Retention,
        now: Timestamp,
        reply: oneshot::Sender<Result<Swept, Error>>,
    },
}

/// A batch, and who waits for its commit.
pub type Waiting = (Ready, oneshot::Sender<Result<(), Error>>);

/// The queue's end for senders.
pub struct Queue(mpsc::Sender<Command>);

impl Queue {
    /// A queue for so many commands, and the writer's end.
    pub fn new(most: usize) -> (Self, mpsc::Receiver<Command>) {
        let (queue, commands) = mpsc::channel(most);
        (Self(queue), commands)
    }

    /// Asks the writer, and waits for its answer.
    pub async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(command(reply)).await;
        sent.map_err(|_| Error::unavailable("reach the writer", "the writer has ended"))?;
        answer
            .await
            .map_err(|e| Error::unavailable("hear from the writer", e))?
    }
}
