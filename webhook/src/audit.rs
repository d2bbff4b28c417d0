//! What was decided here, told to records: at once, in batches, and without anybody waiting for it, since an answer has two seconds and a refusal needs no record to hold. What was lost while records
//! were away for long is missing by its number.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crds::{
    audit::{AuditEntry, AuditSubject, Source, Statement},
    v1alpha1::Requester,
};
use decide::{admission::Door, audit::Ruling};
use jiff::Timestamp;
use records::{
    client::{Client, Error},
    trail::{Deliver, Trail},
};
use serving::{Published, telemetry::chain};
use tokio::sync::OnceCell;

use crate::{metrics::Metrics, review::Question};

/// For so long the same of the same user is the same entry, and this many of them have one: whoever is refused again and again must not fill the records.
const MINUTE: Duration = Duration::from_mins(1);
const OF_A_USER: usize = 60;
/// Users of whom that is known at once.
const USERS: usize = 1_000;

/// What has been told, and by which user's doing lately.
pub struct Audit {
    trail: Trail,
    lately: Mutex<HashMap<String, Lately>>,
    metrics: Metrics,
}

/// What a user was told since a moment: about what, and the ID of the entry.
struct Lately {
    since: Instant,
    told: Vec<(String, String)>,
}

/// The way to records, which may come up after the webhook.
pub struct Records {
    published: Published,
    url: String,
    token: PathBuf,
    client: OnceCell<Client>,
}

impl Records {
    pub fn new(published: Published, url: &str, token: &Path) -> Self {
        Self {
            published,
            url: url.to_owned(),
            token: token.to_owned(),
            client: OnceCell::new(),
        }
    }

    async fn open(&self) -> Result<Client, Error> {
        let pem = self.published.first().await;
        let published = self.published.clone();
        let today = move || {
            let published = published.clone();
            async move { published.today().await }
        };
        let client = Client::new(&self.url, pem.as_bytes(), &self.token)?;
        Ok(client.following(today))
    }
}

impl Deliver for Records {
    async fn deliver(&self, entries: &[AuditEntry]) -> Result<(), Error> {
        let client = self.client.get_or_try_init(|| self.open()).await?;
        let taken = client.decisions(entries.to_vec()).await;
        taken.inspect_err(|error| {
            let (first, count) = (entries.first().map(|entry| entry.number), entries.len());
            tracing::warn!(
                error = chain(error),
                first,
                count,
                again = error.is_retryable(),
                "records did not take decisions"
            );
        })
    }
}

impl Audit {
    /// Opens the audit of this start of this replica.
    pub fn open(records: impl Deliver, pod: &str, metrics: Metrics) -> Self {
        let source = Source {
            replica: pod.to_owned(),
            start: hex::encode(rand::random::<[u8; 8]>()),
        };
        Self {
            trail: Trail::open(source, records),
            lately: Mutex::default(),
            metrics,
        }
    }

    /// The ID of the entry that tells of a decision. None has what is only tried, what no policy speaks of, and what a user does too often.
    pub fn told(
        &self,
        door: Door,
        asked: &Question<impl Sized>,
        ruling: Option<&Ruling>,
    ) -> Option<String> {
        let ruling = ruling.filter(|_| !asked.dry_run)?;
        let statement = statement(door, asked, ruling, Timestamp::now());
        self.noted(statement, Instant::now())
    }

    fn noted(&self, statement: Statement, now: Instant) -> Option<String> {
        let mut lately = self.lately();
        let passed = |of: &Lately| now.duration_since(of.since) >= MINUTE;
        if lately.len() >= USERS {
            lately.retain(|_, of| !passed(of));
        }
        if lately.len() >= USERS {
            lately.clear();
        }
        let of = lately.entry(statement.actor.user.clone());
        let of = of.or_insert_with(|| Lately::since(now));
        if passed(of) {
            *of = Lately::since(now);
        }
        let about = about(&statement);
        if let Some((_, id)) = of.told.iter().find(|(told, _)| *told == about) {
            return Some(id.clone());
        }
        if of.told.len() >= OF_A_USER {
            self.metrics.unwritten();
            return None;
        }
        let noted = self.trail.note(statement);
        if !noted.kept {
            self.metrics.unwritten();
            tracing::warn!(
                id = noted.id,
                "records are away, and there is no room for another decision"
            );
        }
        of.told.push((about, noted.id.clone()));
        Some(noted.id)
    }

    /// Waits until all of it is told, within a time.
    pub async fn flushed(&self, patience: Duration) {
        if !self.trail.emptied(patience).await {
            tracing::warn!("decisions were not told before the end");
        }
    }

    fn lately(&self) -> MutexGuard<'_, HashMap<String, Lately>> {
        self.lately.lock().expect("no holder panics")
    }
}

impl Lately {
    const fn since(since: Instant) -> Self {
        Self {
            since,
            told: Vec::new(),
        }
    }
}

/// What makes two decisions about a user the same.
fn about(statement: &Statement) -> String {
    let Statement {
        verb,
        subject,
        policy,
        rule,
        reason,
        ..
    } = statement;
    let decision = statement.decision.as_str();
    let AuditSubject {
        kind,
        namespace,
        name,
        ..
    } = subject;
    [decision, verb, kind, namespace, name, policy, rule, reason].join("\n")
}

/// A decision about a request. To which namespace of its name it belongs, records know.
fn statement(
    door: Door,
    asked: &Question<impl Sized>,
    ruling: &Ruling,
    at: Timestamp,
) -> Statement {
    let sub_resource = asked.sub_resource.as_deref().unwrap_or_default();
    let (verb, group, kind) = match door {
        Door::Exec => (sub_resource.to_owned(), "", "Pod"),
        Door::Workload | Door::Script => {
            let kind = &asked.kind;
            (asked.operation.to_lowercase(), &*kind.group, &*kind.kind)
        }
    };
    Statement {
        at,
        decision: ruling.decision,
        actor: Requester {
            user: asked.user_info.username.clone(),
            groups: asked.user_info.groups.clone(),
        },
        verb,
        subject: AuditSubject {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: asked.namespace.clone().unwrap_or_default(),
            name: asked.name.clone().unwrap_or_default(),
            ..AuditSubject::default()
        },
        policy: ruling.policy.clone(),
        rule: ruling.rule.clone(),
        reason: ruling.reason.clone(),
        digest: String::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use crds::audit::AuditDecision;
    use prometheus_client::registry::Registry;

    use super::*;

    /// Keeps what it is told.
    #[derive(Clone, Default)]
    pub struct Kept(pub Arc<Mutex<Vec<AuditEntry>>>);

    impl Deliver for Kept {
        async fn deliver(&self, entries: &[AuditEntry]) -> Result<(), Error> {
            self.0
                .lock()
                .expect("no holder panics")
                .extend_from_slice(entries);
            Ok(())
        }
    }

    fn refused(user: &str, pod: usize) -> Statement {
        let ruling = Ruling {
            decision: AuditDecision::Denied,
            policy: "p".into(),
            rule: "beep".into(),
            reason: "rule beep: w".into(),
        };
        let asked = serde_json::json!({"uid": "u", "subResource": "exec", "namespace": "shop", "name": format!("db-{pod}"),
            "userInfo": {"username": user, "groups": ["testers"]}})
        .to_string();
        let asked: Question<()> = serde_json::from_str(&asked).expect("a question");
        statement(Door::Exec, &asked, &ruling, Timestamp::UNIX_EPOCH)
    }

    #[tokio::test]
    async fn the_same_of_a_user_is_told_once_a_minute_and_nobody_fills_the_records() {
        let kept = Kept::default();
        let metrics = Metrics::new(&mut Registry::default());
        let audit = Audit::open(kept.clone(), "w-1", metrics);
        let now = Instant::now();
        let first = audit.noted(refused("bob", 0), now).expect("an entry");
        assert!(first.ends_with("-1"), "{first}");
        assert_eq!(audit.noted(refused("bob", 0), now), Some(first.clone()));
        for pod in 1..OF_A_USER {
            assert!(audit.noted(refused("bob", pod), now).is_some());
        }
        assert_eq!(audit.noted(refused("bob", OF_A_USER), now), None);
        assert!(audit.noted(refused("ann", OF_A_USER), now).is_some());
        let later = audit.noted(refused("bob", 0), now + MINUTE);
        assert!(later.is_some_and(|later| later != first));
        audit.flushed(Duration::from_secs(1)).await;
        let kept = kept.0.lock().expect("no holder panics").clone();
        let numbers: Vec<_> = kept.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (1..=62).collect::<Vec<_>>(), "none is missing");
        let entry = &kept[0];
        assert_eq!((&*entry.source.replica, entry.id()), ("w-1", first));
        let Statement { verb, subject, .. } = &entry.statement;
        assert_eq!(
            (&**verb, &*subject.kind, &*subject.name),
            ("exec", "Pod", "db-0")
        );
    }
}
