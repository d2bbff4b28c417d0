//! The audit of decisions: each is told once, and what follows from it comes after it is on disk. While records are away nobody waits for long: the turn says so, and asks again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use crds::audit::{AuditEntry, Source, Statement};
use reach::Fence;
use records::{
    client::{Client, Error},
    trail::{Deliver, Told, Trail},
};

use crate::error::chain;

/// How long a turn waits for the disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// Objects of which it is known what was told last; beyond that only those whose decision is on its way.
const OBJECTS: usize = 10_000;

/// What has been told of each object last.
pub struct Audit {
    trail: Trail,
    last: Mutex<HashMap<String, (Statement, Told)>>,
}

/// Records, as long as this operator leads: who was replaced no longer decides.
struct Fenced(Client, Fence);

impl Deliver for Fenced {
    async fn deliver(&self, entries: &[AuditEntry]) -> Result<(), Error> {
        self.1.passed().await;
        let taken = self.0.audit(entries.to_vec()).await;
        taken.inspect_err(|error| {
            let first = entries.first().map(|entry| entry.number);
            if error.is_retryable() {
                tracing::warn!(error = %chain(error), first, "records did not take the audit; trying again");
            } else {
                tracing::error!(error = %chain(error), first, count = entries.len(), "records refuse entries of the audit for good; those that stay refused are missing by their numbers");
            }
        })
    }
}

impl Audit {
    /// Opens the audit of this start of this replica.
    pub fn open(client: Client, fence: Fence, replica: &str) -> Self {
        let source = Source {
            replica: replica.to_owned(),
            start: hex::encode(rand::random::<[u8; 8]>()),
        };
        Self::at(Trail::open(source, Fenced(client, fence)))
    }

    fn at(trail: Trail) -> Self {
        Self {
            trail,
            last: Mutex::default(),
        }
    }

    /// Whether a decision about an object is on disk. One that was told of last is not told again, whenever it was.
    pub async fn is_kept(&self, about: &str, statement: Statement) -> bool {
        let told = self.told(about, statement);
        match told {
            Some(mut told) => told.settled(PATIENCE).await,
            None => false,
        }
    }

    fn told(&self, about: &str, statement: Statement) -> Option<Told> {
        let mut last = self.last();
        if let Some((before, told)) = last.get(about) {
            let same_time = Statement {
                at: before.at,
                ..statement.clone()
            };
            if same_time == *before {
                return Some(told.clone());
            }
        }
        let told = self.trail.tell(statement.clone())?;
        if last.len() >= OBJECTS {
            last.retain(|_, (_, told)| !told.is_settled());
        }
        last.insert(about.to_owned(), (statement, told.clone()));
        Some(told)
    }

    /// Forgets what was told of an object that is done with.
    pub fn forget(&self, about: &str) {
        self.last().remove(about);
    }

    fn last(&self) -> MutexGuard<'_, HashMap<String, (Statement, Told)>> {
        self.last.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::StatusCode;
    use crds::{
        audit::{AuditDecision, AuditSubject},
        v1alpha1::Requester,
    };
    use jiff::Timestamp;

    use super::*;

    /// Keeps what it is told, unless it is away.
    #[derive(Clone, Default)]
    struct Records {
        kept: Arc<Mutex<Vec<AuditDecision>>>,
        is_away: bool,
    }

    impl Deliver for Records {
        async fn deliver(&self, entries: &[AuditEntry]) -> Result<(), Error> {
            if self.is_away {
                let (status, message) = (StatusCode::SERVICE_UNAVAILABLE, String::new());
                return Err(Error::Unavailable { status, message });
            }
            let decisions = entries.iter().map(|entry| entry.statement.decision);
            self.kept
                .lock()
                .expect("no holder panics")
                .extend(decisions);
            Ok(())
        }
    }

    fn audit(records: &Records) -> Audit {
        let source = Source {
            replica: "r".into(),
            start: "s".into(),
        };
        Audit::at(Trail::open(source, records.clone()))
    }

    fn statement(decision: AuditDecision, second: i64) -> Statement {
        Statement {
            at: Timestamp::from_second(second).expect("a time"),
            decision,
            actor: Requester::default(),
            verb: "run".into(),
            subject: AuditSubject::default(),
            policy: String::new(),
            rule: String::new(),
            reason: String::new(),
            digest: String::new(),
        }
    }

    #[tokio::test]
    async fn a_decision_that_stands_is_told_once_however_often_it_is_made() {
        use AuditDecision::{Allowed, Held};
        let records = Records::default();
        let audit = audit(&records);
        for (second, decision) in [(1, Held), (2, Held), (3, Allowed), (4, Allowed), (5, Held)] {
            assert!(audit.is_kept("run", statement(decision, second)).await);
        }
        assert!(audit.is_kept("another", statement(Held, 6)).await);
        audit.forget("run");
        assert!(audit.is_kept("run", statement(Held, 7)).await);
        let kept = records.kept.lock().expect("no holder panics").clone();
        assert_eq!(kept, [Held, Allowed, Held, Held, Held]);
    }

    #[tokio::test]
    async fn while_records_are_away_a_turn_waits_for_a_moment_and_does_not_tell_twice() {
        let records = Records {
            is_away: true,
            ..Records::default()
        };
        let audit = audit(&records);
        for second in 0..2 {
            assert!(
                !audit
                    .is_kept("run", statement(AuditDecision::Held, second))
                    .await
            );
        }
        let next = audit.trail.tell(statement(AuditDecision::Held, 3));
        assert!(next.is_some());
        assert_eq!(audit.last().len(), 1);
    }
}
