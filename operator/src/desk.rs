//! The way to records: rows and output enter the line of their namespace, leave in batches to which all lines give in turn, and are acknowledged once they are on
//! disk. Nothing is given up while records are away, and what records refuse for good holds up nothing but itself.

use std::{
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crds::{
    execution::{Batch, Execution, LogChunk},
    key::EffectKey,
};
use decide::turns::{Room, Turns};
use reach::Fence;
use records::{
    client::{Client, Error},
    shortened,
};
use tokio::sync::{Notify, oneshot, watch};

use crate::error::chain;

/// What waits of one namespace before its workers are made to wait.
const LINE: Room = Room {
    items: 1024,
    weight: 4 << 20,
};
/// Items of one batch.
const ITEMS: usize = 512;
/// Output bytes of one batch.
const BYTES: usize = 1 << 20;
/// Waits between tries while records are away.
const RETRY: [u64; 5] = [100, 250, 500, 1000, 2000];
/// Wait before a refused row is handed in again.
const REFUSED: Duration = Duration::from_secs(10);

/// Hands things in; clones share the lines.
#[derive(Clone)]
pub struct Desk {
    hall: Arc<Hall>,
    away: watch::Receiver<Option<String>>,
}

/// Where things wait.
struct Hall {
    lines: Mutex<Turns<Item>>,
    filled: Notify,
    freed: Notify,
}

enum Item {
    Row(Box<Execution>, oneshot::Sender<Answer>),
    Log(LogChunk),
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Stored,
    Refused,
}

/// Where batches go; records in production.
trait Records: Send + Sync + 'static {
    fn append(&self, batch: &Batch) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Records, as long as this operator leads: who was replaced no longer knows best.
struct Fenced(Client, Fence);

impl Records for Fenced {
    async fn append(&self, batch: &Batch) -> Result<(), Error> {
        self.1.passed().await;
        self.0.append(batch).await
    }
}

impl Desk {
    /// Opens the desk of a leader's term; the task behind it lives as long as the process.
    pub fn open(client: Client, fence: Fence, identity: &str, epoch: i64) -> Self {
        Self::at(Fenced(client, fence), &format!("{identity}-{epoch}"))
    }

    fn at(records: impl Records, identity: &str) -> Self {
        let hall = Arc::new(Hall {
            lines: Mutex::new(Turns::new(LINE)),
            filled: Notify::new(),
            freed: Notify::new(),
        });
        let (told, away) = watch::channel(None);
        tokio::spawn(clerk(records, hall.clone(), told, identity.to_owned()));
        Self { hall, away }
    }

    /// Returns once the row, and everything handed in before it for the same namespace, is on disk. A row that records refuse, as an older server does, is handed in again
    /// and again: an effect whose row is not on disk must not go on.
    pub async fn row(&self, row: Execution) {
        let row = shortened(row);
        while self.answer(row.clone()).await == Answer::Refused {
            tokio::time::sleep(REFUSED).await;
        }
    }

    async fn answer(&self, row: Execution) -> Answer {
        let (done, answer) = oneshot::channel();
        let namespace = row.namespace.clone();
        let item = Item::Row(Box::new(row), done);
        self.hall.hand_in(&namespace, item).await;
        answer.await.expect("the clerk answers every row")
    }

    /// Hands in a piece of a namespace's output; waits only when its line is full.
    pub async fn log(&self, namespace: &str, chunk: LogChunk) {
        self.hall.hand_in(namespace, Item::Log(chunk)).await;
    }

    /// Why records do not take anything just now.
    pub fn away(&self) -> Option<String> {
        self.away.borrow().clone()
    }
}

impl Hall {
    async fn hand_in(&self, namespace: &str, mut item: Item) {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let offered = self.lines().offer(namespace, item.weight(), item);
            let Err(back) = offered else { break };
            item = back;
            freed.await;
        }
        self.filled.notify_one();
    }

    /// What is handed over next; nothing where nothing waits.
    fn parcel(&self, id: String) -> Option<Parcel> {
        let (mut parcel, mut bytes) = (Parcel::new(id), 0);
        let mut lines = self.lines();
        while parcel.items() < ITEMS && bytes < BYTES {
            let Some((weight, item)) = lines.take() else {
                break;
            };
            bytes += weight;
            parcel.put(item);
        }
        drop(lines);
        self.freed.notify_waiters();
        (parcel.items() > 0).then_some(parcel)
    }

    fn lines(&self) -> MutexGuard<'_, Turns<Item>> {
        self.lines.lock().expect("no holder panics")
    }
}

impl Item {
    /// Bytes of output.
    fn weight(&self) -> usize {
        match self {
            Self::Row(..) => 0,
            Self::Log(chunk) => chunk.data.len(),
        }
    }
}

async fn clerk(
    records: impl Records,
    hall: Arc<Hall>,
    told: watch::Sender<Option<String>>,
    identity: String,
) {
    let mut number = 0_u64;
    loop {
        number += 1;
        match hall.parcel(format!("{identity}-{number}")) {
            Some(parcel) => deliver(&records, parcel, &told).await,
            None => hall.filled.notified().await,
        }
    }
}

/// A batch with those who wait for its rows, in the order of the rows.
struct Parcel {
    batch: Batch,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Parcel {
    fn new(id: String) -> Self {
        Self {
            batch: Batch {
                id,
                ..Batch::default()
            },
            waiting: Vec::new(),
        }
    }

    fn put(&mut self, item: Item) {
        match item {
            Item::Row(row, done) => {
                self.batch.rows.push(*row);
                self.waiting.push(done);
            }
            Item::Log(chunk) => self.batch.logs.push(chunk),
        }
    }

    fn items(&self) -> usize {
        self.batch.rows.len() + self.batch.logs.len()
    }

    /// Cuts a parcel of several items in two, each in its order, and output before rows: a row that ends an execution follows its output.
    fn halves(mut self) -> [Self; 2] {
        let mut first = Self::new(self.batch.id.clone());
        let Batch { rows, logs, .. } = &mut self.batch;
        if rows.is_empty() {
            let rest = logs.split_off(logs.len() / 2);
            first.batch.logs = mem::replace(logs, rest);
        } else if logs.is_empty() {
            let half = rows.len() / 2;
            let (rest, waiting) = (rows.split_off(half), self.waiting.split_off(half));
            first.batch.rows = mem::replace(rows, rest);
            first.waiting = mem::replace(&mut self.waiting, waiting);
        } else {
            first.batch.logs = mem::take(logs);
        }
        [first, self]
    }

    fn answer(self, answer: Answer) {
        for done in self.waiting {
            // A worker that is gone no longer waits.
            let _ = done.send(answer);
        }
    }

    /// Whose item it is, where there is one alone.
    fn key(&self) -> Option<&EffectKey> {
        let row = self.batch.rows.first().map(|row| &row.key);
        row.or_else(|| self.batch.logs.first().map(|chunk| &chunk.key))
    }
}

/// Hands a parcel over. One that is refused is cut in two, down to the item that records refuse: output is dropped, and the worker of a row is told.
async fn deliver(records: &impl Records, whole: Parcel, told: &watch::Sender<Option<String>>) {
    let mut parcels = vec![whole];
    while let Some(parcel) = parcels.pop() {
        match insist(records, &parcel.batch, told).await {
            Ok(()) => parcel.answer(Answer::Stored),
            Err(_) if parcel.items() > 1 => {
                let [first, second] = parcel.halves();
                parcels.extend([second, first]);
            }
            Err(refusal) => {
                tracing::error!(error = %chain(&refusal), key = ?parcel.key(), "records refuse an item for good; output is dropped, a row is handed in again");
                parcel.answer(Answer::Refused);
            }
        }
    }
}

/// Tries until records have taken the batch or refused it for good.
async fn insist(
    records: &impl Records,
    batch: &Batch,
    told: &watch::Sender<Option<String>>,
) -> Result<(), Error> {
    let mut tries = 0;
    let answer = loop {
        let error = match records.append(batch).await {
            Err(error) if error.is_retryable() => error,
            answer => break answer,
        };
        let reason = chain(&error);
        tracing::warn!(error = %reason, batch = %batch.id, "records did not take a batch; trying again");
        told.send_replace(Some(reason));
        tokio::time::sleep(Duration::from_millis(RETRY[tries.min(RETRY.len() - 1)])).await;
        tries += 1;
    };
    if told.borrow().is_some() {
        told.send_replace(None);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::StatusCode;
    use crds::execution::{State, TargetKind, VERSION, Via};
    use tokio::sync::Semaphore;

    use super::*;

    /// Refuses every batch with an item of the step `poison`, and remembers what it took.
    #[derive(Clone, Default)]
    struct Picky(Arc<Mutex<Vec<String>>>);

    impl Records for Picky {
        async fn append(&self, batch: &Batch) -> Result<(), Error> {
            let rows = batch.rows.iter().map(|row| format!("row {}", row.step));
            let logs = batch.logs.iter().map(|log| format!("log {}", log.key.step));
            let items: Vec<_> = logs.chain(rows).collect();
            if items.iter().any(|item| item.contains("poison")) {
                return Err(Error::Rejected {
                    status: StatusCode::BAD_REQUEST,
                    message: "bad".into(),
                });
            }
            self.0.lock().expect("no holder panics").extend(items);
            Ok(())
        }
    }

    fn row(step: &str) -> Execution {
        Execution {
            version: VERSION,
            key: key(step),
            namespace: "n".into(),
            namespace_uid: "n-uid".into(),
            run: "r".into(),
            job: None,
            step: step.into(),
            target_kind: TargetKind::None,
            target: String::new(),
            attempt: 1,
            state: State::Started,
            reason: None,
            message: None,
            exit_code: None,
            started_at: None,
            finished_at: None,
            output_bytes: 0,
            dropped_bytes: 0,
            outputs: std::collections::BTreeMap::new(),
            secret_uid: None,
            via: Via::Pod,
        }
    }

    fn key(step: &str) -> EffectKey {
        EffectKey {
            attempt: 1,
            cluster: "c".into(),
            plan: "p".into(),
            run: "r-uid".into(),
            step: step.into(),
            target: String::new(),
        }
    }

    fn log(step: &str) -> LogChunk {
        LogChunk {
            key: key(step),
            offset: 0,
            data: vec![b'x'],
        }
    }

    #[tokio::test]
    async fn one_bad_item_holds_up_nothing_but_itself() {
        let records = Picky::default();
        let mut parcel = Parcel::new("1".into());
        let mut answers = Vec::new();
        for step in ["a", "b", "poison", "c", "d"] {
            let (done, answer) = oneshot::channel();
            answers.push((step, answer));
            parcel.put(Item::Row(Box::new(row(step)), done));
            parcel.put(Item::Log(log(step)));
        }
        deliver(&records, parcel, &watch::channel(None).0).await;
        let taken = records.0.lock().expect("no holder panics").clone();
        let wanted =
            ["log", "row"].map(|kind| ["a", "b", "c", "d"].map(|step| format!("{kind} {step}")));
        assert_eq!(taken, wanted.concat(), "each once, in order, output first");
        for (step, mut answer) in answers {
            let wanted = if step == "poison" {
                Answer::Refused
            } else {
                Answer::Stored
            };
            assert_eq!(answer.try_recv(), Ok(wanted), "{step}");
        }
    }

    #[tokio::test]
    async fn the_worker_of_a_refused_row_is_told_and_the_others_go_on() {
        let records = Picky::default();
        let desk = Desk::at(records.clone(), "test");
        desk.log("n", log("poison")).await;
        assert_eq!(desk.answer(row("poison")).await, Answer::Refused);
        desk.row(row("good")).await;
        assert_eq!(desk.away(), None, "no run waits for records");
        assert_eq!(*records.0.lock().expect("no holder panics"), ["row good"]);
    }

    /// Takes as many batches as it has permits for.
    struct Gated(Arc<Semaphore>);

    impl Records for Gated {
        async fn append(&self, _: &Batch) -> Result<(), Error> {
            self.0.acquire().await.expect("it is never closed").forget();
            Ok(())
        }
    }

    async fn everybody_has_had_their_turn() {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_row_waits_for_one_batch_of_anothers_flood_and_goes_with_the_next() {
        let permits = Arc::new(Semaphore::new(0));
        let desk = Desk::at(Gated(permits.clone()), "test");
        for _ in 0..100 {
            let desk = desk.clone();
            let piece = LogChunk {
                data: vec![b'x'; 64 << 10],
                ..log("loud")
            };
            tokio::spawn(async move { desk.log("loud", piece).await });
        }
        everybody_has_had_their_turn().await;
        let row = tokio::spawn(async move { desk.row(row("quiet")).await });
        everybody_has_had_their_turn().await;
        permits.add_permits(1);
        everybody_has_had_their_turn().await;
        assert!(!row.is_finished(), "the batch under way is without it");
        permits.add_permits(1);
        everybody_has_had_their_turn().await;
        assert!(row.is_finished());
    }
}
