//! The way to records: rows and output enter one queue, leave in batches, and are acknowledged once they are on disk. Nothing is given up while records are away.

use std::time::Duration;

use crds::execution::{Batch, Execution, LogChunk};
use records::client::Client;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::chain;

/// Items that wait before workers are made to wait.
const QUEUE: usize = 4096;
/// Items of one batch.
const ITEMS: usize = 512;
/// Output bytes of one batch.
const BYTES: usize = 1 << 20;
/// Waits between tries while records are away.
const RETRY: [u64; 5] = [100, 250, 500, 1000, 2000];

/// Hands things in; clones share the queue.
#[derive(Clone)]
pub struct Desk {
    queue: mpsc::Sender<Item>,
    away: watch::Receiver<Option<String>>,
}

enum Item {
    Row(Box<Execution>, oneshot::Sender<()>),
    Log(LogChunk),
}

impl Desk {
    /// Opens the desk; the task behind it lives as long as some clone does.
    pub fn open(client: Client, identity: &str) -> Self {
        let (queue, items) = mpsc::channel(QUEUE);
        let (told, away) = watch::channel(None);
        tokio::spawn(clerk(client, items, told, identity.to_owned()));
        Self { queue, away }
    }

    /// Returns once the row, and everything handed in before it, is on disk.
    pub async fn row(&self, row: Execution) {
        let (done, acknowledged) = oneshot::channel();
        self.queue
            .send(Item::Row(Box::new(row), done))
            .await
            .expect("the clerk outlives every desk");
        acknowledged
            .await
            .expect("the clerk acknowledges every row");
    }

    /// Hands in a piece of output; waits only when the queue is full.
    pub async fn log(&self, chunk: LogChunk) {
        self.queue
            .send(Item::Log(chunk))
            .await
            .expect("the clerk outlives every desk");
    }

    /// Why records do not take anything just now.
    pub fn away(&self) -> Option<String> {
        self.away.borrow().clone()
    }
}

async fn clerk(
    client: Client,
    mut items: mpsc::Receiver<Item>,
    told: watch::Sender<Option<String>>,
    identity: String,
) {
    let mut number = 0_u64;
    while let Some(first) = items.recv().await {
        number += 1;
        let mut batch = Batch {
            id: format!("{identity}-{number}"),
            rows: Vec::new(),
            logs: Vec::new(),
        };
        let mut waiting = Vec::new();
        let mut bytes = put(&mut batch, &mut waiting, first);
        while batch.rows.len() + batch.logs.len() < ITEMS && bytes < BYTES {
            let Ok(item) = items.try_recv() else { break };
            bytes += put(&mut batch, &mut waiting, item);
        }
        deliver(&client, &batch, &told).await;
        // A worker that is gone no longer waits for its acknowledgement.
        for done in waiting {
            let _ = done.send(());
        }
    }
}

fn put(batch: &mut Batch, waiting: &mut Vec<oneshot::Sender<()>>, item: Item) -> usize {
    match item {
        Item::Row(row, done) => {
            batch.rows.push(*row);
            waiting.push(done);
            0
        }
        Item::Log(chunk) => {
            let bytes = chunk.data.len();
            batch.logs.push(chunk);
            bytes
        }
    }
}

async fn deliver(client: &Client, batch: &Batch, told: &watch::Sender<Option<String>>) {
    let mut tries = 0;
    while let Err(error) = client.append(batch).await {
        let reason = chain(&error);
        tracing::warn!(error = %reason, batch = %batch.id, "records did not take a batch; trying again");
        told.send_replace(Some(reason));
        tokio::time::sleep(Duration::from_millis(RETRY[tries.min(RETRY.len() - 1)])).await;
        tries += 1;
    }
    if told.borrow().is_some() {
        told.send_replace(None);
    }
}
