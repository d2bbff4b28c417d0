//! Lines that the operator itself says of an attempt, as its log at records.

use crds::{execution::LogChunk, key::EffectKey};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
};

use super::Work;
use crate::desk::Desk;

/// More bytes than the lines of one second have.
const SECOND: u64 = 64 << 10;

/// A log that is being written.
pub struct Lines {
    said: UnboundedSender<String>,
    writing: JoinHandle<u64>,
}

impl Lines {
    pub fn open(work: &Work) -> Self {
        let (said, lines) = mpsc::unbounded_channel();
        let (key, namespace) = (work.row.key.clone(), work.run.namespace.clone());
        let first = first_byte(work);
        let writing = tokio::spawn(written(work.ctx.desk.clone(), key, namespace, first, lines));
        Self { said, writing }
    }

    pub fn tell(&self, line: &str) {
        // Its reader ends with its sender.
        let _ = self.said.send(format!("{line}\n"));
    }

    /// Waits until all of it is handed over; gives how many bytes there are.
    pub async fn close(self) -> u64 {
        drop(self.said);
        self.writing.await.expect("writing does not panic")
    }
}

/// Where this operator's part of the log begins: behind all that an earlier one can have said, so that neither is written over.
fn first_byte(work: &Work) -> u64 {
    if work.joining {
        work.passed().as_secs().max(1) * SECOND
    } else {
        0
    }
}

async fn written(
    desk: Desk,
    key: EffectKey,
    namespace: String,
    mut offset: u64,
    mut lines: UnboundedReceiver<String>,
) -> u64 {
    while let Some(line) = lines.recv().await {
        let (key, data) = (key.clone(), line.into_bytes());
        let bytes = data.len() as u64;
        desk.log(&namespace, LogChunk { key, offset, data }).await;
        offset += bytes;
    }
    offset
}
