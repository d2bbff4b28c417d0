//! Following the output of a run: every execution that appears is read until its end, and their lines come out as they arrive.

use std::{collections::HashSet, time::Duration};

use crds::v1alpha1::JobRun;
use futures::{AsyncReadExt as _, StreamExt as _};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    choice::{Choice, PIECE},
    cluster::Cluster,
    error::{Error, Result},
    executions::{self, Row},
    lines::Lines,
    outcome::Outcome,
    output, terminal, watch,
};

/// Pieces of output that wait to be printed.
const QUEUE: usize = 64;
/// Waits between tries to go on reading.
const RETRY: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Prints until the run has ended and everything that it printed is out; gives back the ended run.
pub async fn follow(cluster: &Cluster, run: &JobRun, choice: &Choice) -> Result<JobRun> {
    let (printed, mut pieces) = mpsc::channel(QUEUE);
    let mut readers = Readers {
        cluster,
        choice,
        printed,
        tasks: JoinSet::new(),
        seen: HashSet::new(),
    };
    let mut runs = std::pin::pin!(watch::changes(cluster, run));
    let mut rows = std::pin::pin!(executions::changes(cluster, run));
    let (mut run, mut told) = (run.clone(), String::new());
    while Outcome::of(&run).is_none() {
        tokio::select! {
            change = runs.next() => {
                run = change.expect("a watch never ends by itself")?;
                tell_wait(&run, &mut told);
            }
            row = rows.next() => readers.open(&row.expect("a watch never ends by itself")?),
            Some(piece) = pieces.recv() => output::bytes(&piece)?,
        }
    }
    // A run ends after its last row is stored, so one more look finds what the watch has not told yet.
    for row in executions::list(cluster, &run).await? {
        readers.open(&row);
    }
    let mut tasks = readers.close();
    while let Some(piece) = pieces.recv().await {
        output::bytes(&piece)?;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a reader does not panic")?;
    }
    Ok(run)
}

/// Says beside the output what a run waits for, once.
fn tell_wait(run: &JobRun, told: &mut String) {
    let status = run.status.as_ref();
    let waits = status.filter(|s| matches!(s.summary.as_deref(), Some("Waiting" | "Suspended")));
    let message = waits.and_then(|s| s.message.clone()).unwrap_or_default();
    if message != *told && !message.is_empty() {
        eprintln!("waiting: {}", terminal::clean(&message));
    }
    *told = message;
}

/// One task for each execution.
struct Readers<'a> {
    cluster: &'a Cluster,
    choice: &'a Choice,
    printed: mpsc::Sender<Vec<u8>>,
    tasks: JoinSet<Result<()>>,
    seen: HashSet<String>,
}

impl Readers<'_> {
    fn open(&mut self, row: &Row) {
        if !self.choice.takes(row) || !self.seen.insert(row.name.clone()) {
            return;
        }
        let cluster = Cluster {
            client: self.cluster.client.clone(),
            namespace: self.cluster.namespace.clone(),
        };
        let reader = Reader {
            cluster,
            name: row.name.clone(),
            lines: self.choice.lines(row),
            offset: 0,
            printed: self.printed.clone(),
        };
        self.tasks.spawn(reader.read_to_end());
    }

    /// No more readers; the queue ends when the last of them does.
    fn close(self) -> JoinSet<Result<()>> {
        self.tasks
    }
}

struct Reader {
    cluster: Cluster,
    name: String,
    lines: Lines,
    offset: u64,
    printed: mpsc::Sender<Vec<u8>>,
}

impl Reader {
    /// Reads until the execution has ended. A connection that breaks is taken up where it broke.
    async fn read_to_end(mut self) -> Result<()> {
        let mut failures = 0;
        loop {
            let before = self.offset;
            let error = match self.read().await {
                Ok(()) => break,
                Err(error) => error,
            };
            failures = if self.offset > before {
                0
            } else {
                failures + 1
            };
            let Some(wait) = RETRY.get(failures) else {
                return Err(error);
            };
            tokio::time::sleep(*wait).await;
        }
        let last = self.lines.finish();
        self.print(last).await;
        Ok(())
    }

    async fn read(&mut self) -> Result<()> {
        let mut log =
            std::pin::pin!(executions::log(&self.cluster, &self.name, self.offset, true).await?);
        let mut piece = vec![0; PIECE];
        loop {
            let read = log.read(&mut piece).await.map_err(|source| Error::Cut {
                name: self.name.clone(),
                source,
            })?;
            if read == 0 {
                return Ok(());
            }
            self.offset += u64::try_from(read).expect("a piece is small");
            let whole = self.lines.push(&piece[..read]);
            self.print(whole).await;
        }
    }

    async fn print(&self, piece: Vec<u8>) {
        if !piece.is_empty() {
            // Nobody takes it any more when the printing side has failed, and that side says why.
            drop(self.printed.send(piece).await);
        }
    }
}
