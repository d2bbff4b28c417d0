//! The audit's way out of a replica: entries are numbered at this one place, leave in that order, and are acknowledged once they are on disk. Nothing is given up while records are away;
//! what does not fit is not taken and has no number, or is missing by its number where nobody could wait, as is what records refuse for good.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crds::audit::{AuditEntry, Source, Statement, VERSION};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::{MAX_BATCH_AUDIT, client::Error};

/// Entries that wait at most.
const LINE: usize = 10_000;
/// Those of a line to which entries come that cannot wait: whoever asks a lot must not fill the memory.
const NOTED: usize = 2_000;
/// Waits between tries while records are away, in milliseconds.
const RETRY: [u64; 5] = [100, 250, 500, 1000, 2000];

/// Where entries go; records in production.
pub trait Deliver: Send + Sync + 'static {
    /// Returns once they are on disk.
    fn deliver(&self, entries: &[AuditEntry]) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Takes entries; clones share the line.
#[derive(Clone)]
pub struct Trail(Arc<Shared>);

struct Shared {
    source: Source,
    line: Mutex<Line>,
    filled: Notify,
}

#[derive(Default)]
struct Line {
    last: i64,
    waiting: VecDeque<(AuditEntry, watch::Sender<Fate>)>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waits,
    OnDisk,
    Refused,
}

/// An entry that nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub id: String,
    /// Whether there was room for it.
    pub kept: bool,
}

/// An entry that was taken.
#[derive(Clone, Debug)]
pub struct Told(watch::Receiver<Fate>);

impl Told {
    /// Whether it is on its way no more.
    pub fn is_settled(&self) -> bool {
        *self.0.borrow() != Fate::Waits
    }

    /// Whether it is on its way no more, within a time: it is on disk, or refused for good, which the log says and its number shows.
    pub async fn settled(&mut self, patience: Duration) -> bool {
        let settled = self.0.wait_for(|fate| *fate != Fate::Waits);
        timeout(patience, settled).await.is_ok()
    }
}

impl Trail {
    /// Opens the trail; the task behind it lives as long as the process.
    pub fn open(source: Source, records: impl Deliver) -> Self {
        let shared = Arc::new(Shared {
            source,
            line: Mutex::default(),
            filled: Notify::new(),
        });
        tokio::spawn(clerk(Arc::clone(&shared), records));
        Self(shared)
    }

    /// Numbers a statement and has it delivered; nothing where too many wait already.
    pub fn tell(&self, statement: Statement) -> Option<Told> {
        let mut line = self.0.line();
        if line.waiting.len() >= LINE {
            return None;
        }
        let entry = line.numbered(&self.0.source, statement);
        let (tell, told) = watch::channel(Fate::Waits);
        line.waiting.push_back((entry, tell));
        drop(line);
        self.0.filled.notify_one();
        Some(Told(told))
    }

    /// Numbers a statement whose effect cannot wait, and has it delivered where there is room.
    pub fn note(&self, statement: Statement) -> Noted {
        let mut line = self.0.line();
        let entry = line.numbered(&self.0.source, statement);
        let (id, kept) = (entry.id(), line.waiting.len() < NOTED);
        if kept {
            line.waiting
                .push_back((entry, watch::Sender::new(Fate::Waits)));
        }
        drop(line);
        self.0.filled.notify_one();
        Noted { id, kept }
    }

    /// Whether all that was told so far is on its way no more, within a time.
    pub async fn emptied(&self, patience: Duration) -> bool {
        let last = self.0.last();
        match last {
            Some(mut last) => last.settled(patience).await,
            None => true,
        }
    }
}

impl Line {
    fn numbered(&mut self, source: &Source, statement: Statement) -> AuditEntry {
        self.last += 1;
        AuditEntry {
            version: VERSION,
            source: source.clone(),
            number: self.last,
            statement: statement.bounded(),
        }
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("no holder panics")
    }

    /// The first of those that wait, which go on waiting until they are settled.
    fn first(&self, most: usize) -> Vec<AuditEntry> {
        let line = self.line();
        let first = line.waiting.iter().take(most);
        first.map(|(entry, _)| entry.clone()).collect()
    }

    /// The one that waits behind all others.
    fn last(&self) -> Option<Told> {
        let line = self.line();
        let last = line.waiting.back();
        last.map(|(_, tell)| Told(tell.subscribe()))
    }

    fn settle(&self, count: usize, fate: Fate) {
        for (_, tell) in self.line().waiting.drain(..count) {
            // Whoever told it may not wait.
            tell.send_replace(fate);
        }
    }
}

async fn clerk(shared: Arc<Shared>, records: impl Deliver) {
    let (mut tries, mut most) = (0, MAX_BATCH_AUDIT);
    loop {
        let entries = shared.first(most);
        if entries.is_empty() {
            shared.filled.notified().await;
            continue;
        }
        match records.deliver(&entries).await {
            Ok(()) => {
                shared.settle(entries.len(), Fate::OnDisk);
                (tries, most) = (0, MAX_BATCH_AUDIT);
            }
            Err(error) if error.is_retryable() => {
                sleep(Duration::from_millis(RETRY[tries.min(RETRY.len() - 1)])).await;
                tries += 1;
            }
            // One that is refused must not cost its neighbours theirs.
            Err(_) if entries.len() > 1 => most = entries.len() / 2,
            Err(_) => shared.settle(1, Fate::Refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crds::{
        audit::{AuditDecision, AuditSubject},
        v1alpha1::Requester,
    };
    use reqwest::StatusCode;

    use super::*;

    /// Takes nothing while it is away, and never what is about `poison`.
    #[derive(Clone, Default)]
    struct Records {
        away: Arc<AtomicBool>,
        taken: Arc<Mutex<Vec<i64>>>,
    }

    impl Deliver for Records {
        async fn deliver(&self, entries: &[AuditEntry]) -> Result<(), Error> {
            let (status, message) = (StatusCode::BAD_REQUEST, String::new());
            if self.away.load(Ordering::SeqCst) {
                return Err(Error::Unavailable { status, message });
            }
            if entries.iter().any(|e| e.statement.subject.name == "poison") {
                return Err(Error::Rejected { status, message });
            }
            let numbers = entries.iter().map(|e| e.number);
            self.taken.lock().expect("no holder panics").extend(numbers);
            Ok(())
        }
    }

    fn about(name: &str) -> Statement {
        Statement {
            at: jiff::Timestamp::UNIX_EPOCH,
            decision: AuditDecision::Held,
            actor: Requester::default(),
            verb: "run".into(),
            subject: AuditSubject {
                name: name.into(),
                ..AuditSubject::default()
            },
            policy: String::new(),
            rule: String::new(),
            reason: String::new(),
            digest: String::new(),
        }
    }

    fn trail(records: &Records) -> Trail {
        let source = Source {
            replica: "r".into(),
            start: "s".into(),
        };
        Trail::open(source, records.clone())
    }

    #[tokio::test]
    async fn entries_leave_in_order_and_one_that_is_refused_is_missing_by_its_number() {
        let records = Records::default();
        let trail = trail(&records);
        let names = ["a", "b", "poison", "c", "d"];
        let told: Vec<_> = names.map(|name| trail.tell(about(name))).into();
        for mut told in told.into_iter().flatten() {
            assert!(told.settled(Duration::from_secs(1)).await);
        }
        assert_eq!(
            *records.taken.lock().expect("no holder panics"),
            [1, 2, 4, 5]
        );
    }

    #[tokio::test]
    async fn what_is_told_while_records_are_away_waits_and_what_does_not_fit_has_no_number() {
        let records = Records::default();
        records.away.store(true, Ordering::SeqCst);
        let trail = trail(&records);
        let told: Vec<_> = (0..=LINE).map(|_| trail.tell(about("a"))).collect();
        assert!(told[LINE].is_none(), "nothing is dropped silently");
        let mut first = told[0].clone().expect("it was taken");
        assert!(!first.settled(Duration::from_millis(20)).await);
        records.away.store(false, Ordering::SeqCst);
        for mut told in told.into_iter().flatten() {
            assert!(told.settled(Duration::from_secs(10)).await);
        }
        let last = trail.tell(about("b")).expect("there is room");
        assert!(last.clone().settled(Duration::from_secs(1)).await);
        let taken = records.taken.lock().expect("no holder panics").clone();
        let all: Vec<i64> = (1..=i64::try_from(LINE).expect("small") + 1).collect();
        assert_eq!(taken, all, "each once, in order, without a gap");
    }

    #[tokio::test]
    async fn what_cannot_wait_is_numbered_whether_or_not_there_is_room() {
        let records = Records::default();
        let trail = trail(&records);
        assert!(trail.emptied(Duration::ZERO).await, "nothing was told");
        records.away.store(true, Ordering::SeqCst);
        let noted: Vec<_> = (0..=NOTED).map(|_| trail.note(about("a"))).collect();
        assert_eq!((&*noted[0].id, noted[0].kept), ("s-1", true));
        let last = &noted[NOTED];
        assert_eq!((last.id.as_str(), last.kept), ("s-2001", false));
        assert!(!trail.emptied(Duration::from_millis(20)).await);
        records.away.store(false, Ordering::SeqCst);
        assert!(trail.emptied(Duration::from_secs(10)).await);
        assert!(trail.note(about("b")).kept);
        assert!(trail.emptied(Duration::from_secs(1)).await);
        let taken = records.taken.lock().expect("no holder panics").clone();
        assert_eq!(taken[NOTED - 2..], [1_999, 2_000, 2_002]);
    }
}
