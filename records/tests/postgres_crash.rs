//! kill -9 of every process of PostgreSQL, at random instants, while rows are appended: every row whose acknowledgement was heard is there afterwards, and none is there twice.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crds::execution::{Batch, State};
use jiff::Timestamp;
use records::{
    Error, Options, PostgresStore, Settings, Store as _,
    conformance::{self, decided, row, rows},
    private::PrivatePostgres,
};
use tokio::time::{Instant, sleep};

/// Kills in one run, processes that write, and writers in each.
const KILLS: usize = 6;
const REPLICAS: usize = 2;
const WRITERS: usize = 16;
/// Pause before a writer tries again while the database is away.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_rows_survive_kills_of_postgres() {
    let mut server = PrivatePostgres::start(&[]).unwrap();
    let settings = server.database("records").unwrap();
    let heard = Arc::new(Heard::default());
    let mut writers = Vec::new();
    for replica in 0..REPLICAS {
        let store = open(&settings).await;
        for writer in 0..WRITERS {
            let name = format!("{replica}-{writer}");
            writers.push(tokio::spawn(write(store.clone(), name, Arc::clone(&heard))));
        }
    }
    for _ in 0..KILLS {
        heard.until_more().await;
        sleep(Duration::from_micros(rand::random_range(0..60_000))).await;
        server.kill().unwrap();
        sleep(Duration::from_millis(300)).await;
        server.up().unwrap();
    }
    heard.until_more().await;
    heard.enough.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let store = open(&settings).await;
    let stored = store.run("r-uid".into()).await.unwrap();
    let audit = conformance::whole(&store).await;
    assert_eq!(audit.len(), stored.len(), "decisions are kept with rows");
    let targets: HashSet<_> = stored.iter().map(|row| row.target.clone()).collect();
    assert_eq!(targets.len(), stored.len(), "none is there twice");
    let acknowledged = heard.acknowledged.lock().unwrap().clone();
    let lost: Vec<_> = acknowledged.difference(&targets).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    println!(
        "{} acknowledged rows survived {KILLS} kills of PostgreSQL",
        acknowledged.len()
    );
}

async fn open(settings: &Settings) -> PostgresStore {
    let opened = PostgresStore::open(settings.clone(), Options::default(), Timestamp::now());
    opened.await.unwrap()
}

/// What was acknowledged.
#[derive(Default)]
struct Heard {
    acknowledged: Mutex<HashSet<String>>,
    enough: AtomicBool,
}

impl Heard {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Returns once writing goes on, in time.
    async fn until_more(&self) {
        let (before, began) = (self.count(), Instant::now());
        while self.count() < before + WRITERS {
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "writing does not go on"
            );
            sleep(PAUSE).await;
        }
    }
}

/// Hands in one row after the other, each until it is acknowledged.
async fn write(store: PostgresStore, name: String, heard: Arc<Heard>) {
    for n in 0_i64.. {
        if heard.enough.load(Ordering::Relaxed) {
            return;
        }
        let target = format!("t-{name}-{n}");
        let batch = Batch {
            audit: vec![decided(&name, n + 1)],
            ..rows([row("n", "r", &target, State::Succeeded)])
        };
        while let Err(error) = store.append(batch.clone()).await {
            assert!(matches!(error, Error::Unavailable { .. }), "{error}");
            sleep(PAUSE).await;
        }
        heard.acknowledged.lock().unwrap().insert(target);
    }
}
