//! Producers that each wait for their acknowledgement before they send the next batch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::execution::Batch;
use futures::future::try_join_all;
use records::{Store, client::Client};

use crate::{Result, row};

/// Takes batches, and answers once they are on disk.
#[derive(Clone)]
pub enum Sink {
    Process(Arc<dyn Store>),
    Network(Client),
}

impl Sink {
    async fn append(&self, batch: Batch) -> Result<()> {
        match self {
            Self::Process(store) => store.append(batch).await?,
            Self::Network(client) => client.append(&batch).await?,
        }
        Ok(())
    }
}

/// How many write together, and how much at once.
#[derive(Clone, Copy)]
pub struct Shape {
    pub producers: usize,
    pub rows: usize,
}

/// What a while of it came to.
pub struct Measured {
    pub rows_per_second: f64,
    /// The time within which 99 of 100 acknowledgements came, in milliseconds.
    pub p99: f64,
}

pub async fn measure(sink: &Sink, shape: Shape, time: Duration) -> Result<Measured> {
    let began = Instant::now();
    let producers = (0..shape.producers)
        .map(|producer| tokio::spawn(produce(sink.clone(), producer, shape.rows, began + time)));
    let all = try_join_all(producers).await?;
    let elapsed = began.elapsed();
    let mut acks: Vec<Duration> = all.into_iter().collect::<Result<Vec<_>>>()?.concat();
    acks.sort_unstable();
    let rows = u32::try_from(acks.len() * shape.rows)?;
    Ok(Measured {
        rows_per_second: f64::from(rows) / elapsed.as_secs_f64(),
        p99: acks[acks.len() * 99 / 100].as_secs_f64() * 1e3,
    })
}

/// Sends until the time is over; how long each acknowledgement took.
async fn produce(
    sink: Sink,
    producer: usize,
    size: usize,
    until: Instant,
) -> Result<Vec<Duration>> {
    let (mut rows, mut acks) = (row::of(producer), Vec::new());
    while Instant::now() < until {
        let batch = row::batch(acks.len(), rows.by_ref().take(size).collect());
        let sent = Instant::now();
        sink.append(batch).await?;
        acks.push(sent.elapsed());
    }
    Ok(acks)
}
