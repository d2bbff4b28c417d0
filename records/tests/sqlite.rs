//! The SQLite store: the conformance suite, and what is its own (one process a folder, positions across restarts, size, many writers at once).
#![allow(clippy::unwrap_used)]

use std::{collections::HashSet, time::Duration};

use crds::{
    execution::{Batch, Execution, LogChunk, State},
    receipt::Receipt,
};
use futures::future::join_all;
use jiff::Timestamp;
use records::{
    AuditQuery, Error, Options, Retention, Selector, SqliteStore, Store as _, Swept, backup,
    conformance::{self, decided, everything, row, rows, told},
    restore,
};
use tempfile::TempDir;

fn open(folder: &TempDir) -> Result<SqliteStore, Error> {
    SqliteStore::open(folder.path(), Options::default(), Timestamp::now())
}

#[tokio::test]
async fn it_conforms() {
    let folder = TempDir::new().unwrap();
    conformance::run(&open(&folder).unwrap()).await;
}

/// What told the tables before the first release from those of today.
const BEFORE: &str = "
    DROP INDEX executions_by_run;
    CREATE UNIQUE INDEX executions_by_digest ON executions (digest);
    CREATE INDEX executions_by_run ON executions (run_uid);
    ALTER TABLE logs DROP COLUMN run_uid;
    DROP TABLE audit_entries;
    DROP TABLE audit_checkpoints;
    DROP TABLE audit_sources;
    DROP TABLE audit_head;
";

#[tokio::test]
async fn a_store_of_the_time_before_the_first_release_conforms() {
    let folder = TempDir::new().unwrap();
    closed(open(&folder).unwrap()).await;
    let file = rusqlite::Connection::open(folder.path().join("records.sqlite")).unwrap();
    file.execute_batch(BEFORE).unwrap();
    drop(file);
    conformance::run(&open(&folder).unwrap()).await;
}

#[tokio::test]
async fn a_folder_has_one_owner_at_a_time() {
    let folder = TempDir::new().unwrap();
    let first = open(&folder).unwrap();
    assert!(matches!(
        open(&folder),
        Err(Error::Unavailable {
            step: "lock the data folder",
            ..
        })
    ));
    closed(first).await;
    open(&folder).unwrap();
}

#[tokio::test]
async fn rows_and_positions_survive_a_restart() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).unwrap();
    store
        .append(rows([row("n", "r", "a", State::Started)]))
        .await
        .unwrap();
    let before = store
        .list(everything("n", Selector::default()))
        .await
        .unwrap();
    closed(store).await;
    let store = open(&folder).unwrap();
    assert_eq!(
        store
            .list(everything("n", Selector::default()))
            .await
            .unwrap(),
        before
    );
    assert_eq!(store.position().borrow().seq, before.seq);
}

#[tokio::test]
async fn a_store_made_anew_never_repeats_positions() {
    let (old, new) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = open(&old).unwrap();
    store
        .append(rows([row("n", "r", "a", State::Started)]))
        .await
        .unwrap();
    let held = store.position().borrow().seq;
    let anew = open(&new).unwrap();
    assert!(matches!(
        anew.changes(held, None, 1).await,
        Err(Error::Expired { .. })
    ));
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_its_number() {
    let folder = TempDir::new().unwrap();
    let file = rusqlite::Connection::open(folder.path().join("records.sqlite")).unwrap();
    file.execute_batch("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL); WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 99) INSERT INTO schema_version SELECT v, 0 FROM n")
        .unwrap();
    let Err(Error::Unavailable { source, .. }) = open(&folder) else {
        panic!("a newer database is not opened");
    };
    assert!(source.to_string().contains("schema version 99"), "{source}");
}

#[tokio::test]
async fn many_writers_are_committed_in_groups() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).unwrap();
    let writers =
        (0..256).map(|i| store.append(rows([row("n", "r", &format!("t{i}"), State::Started)])));
    for done in join_all(writers).await {
        done.unwrap();
    }
    let page = store
        .list(everything("n", Selector::default()))
        .await
        .unwrap();
    assert_eq!(page.rows.len(), 256);
    let position = *store.position().borrow();
    assert!(
        position.commits < 200,
        "256 batches took {} commits",
        position.commits
    );
}

/// When what a test wrote is no longer young.
fn later() -> Timestamp {
    Timestamp::now() + Duration::from_hours(2)
}

/// Sweeps by size until nothing is left to take at once.
async fn swept_to(store: &SqliteStore, size: u64, now: Timestamp) -> Swept {
    let retention = Retention {
        audit: Duration::from_hours(365 * 24),
        age: Duration::from_hours(24),
        size,
        removals: Duration::from_hours(1),
        protected_runs: HashSet::new(),
    };
    loop {
        let swept = store.sweep(retention.clone(), now).await.unwrap();
        if !swept.more {
            return swept;
        }
    }
}

#[tokio::test]
async fn size_is_kept_by_taking_the_oldest() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).unwrap();
    for i in 0..64 {
        let row = row("n", "r", &format!("t{i:02}"), State::Failed);
        let log = LogChunk {
            key: row.key.clone(),
            offset: 0,
            data: vec![b'x'; 100_000],
        };
        store
            .append(Batch {
                id: i.to_string(),
                rows: vec![row],
                logs: vec![log],
                ..Batch::default()
            })
            .await
            .unwrap();
    }
    let swept = swept_to(&store, 2 << 20, later()).await;
    assert!(
        swept.size <= 2 << 20,
        "{} bytes are still in use",
        swept.size
    );
    let left = store
        .list(everything("n", Selector::default()))
        .await
        .unwrap()
        .rows;
    assert!(left.len() > 10, "only {} rows were kept", left.len());
    assert_eq!(
        left.last().unwrap().name,
        "r.step.t63.1",
        "the newest stays"
    );
}

#[tokio::test]
async fn pages_that_become_free_go_back_to_the_file_system() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).unwrap();
    store.append(long_rows(1_000)).await.unwrap();
    swept_to(&store, 0, later()).await;
    let file = rusqlite::Connection::open(folder.path().join("records.sqlite")).unwrap();
    let free: i64 = file
        .query_one("PRAGMA freelist_count", [], |r| r.get(0))
        .unwrap();
    assert_eq!(free, 0);
}

#[tokio::test]
async fn what_was_taken_for_size_costs_no_more_while_its_removal_is_told() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).unwrap();
    store.append(long_rows(1_000)).await.unwrap();
    let full = swept_to(&store, u64::MAX, later()).await.size;
    let limit = full / 10 * 9;
    let left = async || {
        let page = store.list(everything("n", Selector::default())).await;
        page.unwrap().rows.len()
    };
    swept_to(&store, limit, later()).await;
    let once = left().await;
    assert!((500..1_000).contains(&once), "{once} rows were kept");
    swept_to(&store, limit, later()).await;
    assert_eq!(left().await, once);
}

/// Rows without output, so that what they take is theirs alone.
fn long_rows(count: usize) -> Batch {
    let long = |i| {
        records::shortened(Execution {
            message: Some("x".repeat(4_000)),
            ..row("n", "r", &format!("t{i}"), State::Failed)
        })
    };
    rows((0..count).map(long).collect::<Vec<_>>())
}

fn receipt(namespace_uid: &str, run_uid: &str) -> Receipt {
    Receipt {
        namespace: "n".into(),
        namespace_uid: namespace_uid.into(),
        run: "nightly".into(),
        run_uid: run_uid.into(),
        plan: "p".into(),
        at: Timestamp::UNIX_EPOCH,
    }
}

async fn closed(store: SqliteStore) {
    let mut position = store.position();
    drop(store);
    // The channel closes when the writer has ended and let go of the folder.
    while position.changed().await.is_ok() {}
}

#[tokio::test]
async fn a_backup_of_a_store_in_use_takes_the_place_of_another() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = open(&from).unwrap();
    store
        .append(rows([row("n", "kept", "a", State::Succeeded)]))
        .await
        .unwrap();
    store.claim(receipt("old-cluster", "1")).await.unwrap();
    let mut copy = Vec::new();
    backup(from.path(), &mut copy).unwrap();
    assert!(!from.path().join("backup.sqlite").exists());

    let other = open(&to).unwrap();
    other
        .append(rows([row("n", "replaced", "a", State::Succeeded)]))
        .await
        .unwrap();
    let before = other.position().borrow().seq;
    restore(to.path(), &mut copy.as_slice(), Timestamp::now()).unwrap();
    let kept = other.run("replaced-uid".into()).await.unwrap();
    assert_eq!(kept.len(), 1, "nothing changes under a store that is open");
    closed(other).await;
    let restored = open(&to).unwrap();
    assert_eq!(restored.run("kept-uid".into()).await.unwrap().len(), 1);
    assert_eq!(restored.run("replaced-uid".into()).await.unwrap(), []);
    let stands = restored.claim(receipt("new-cluster", "2")).await.unwrap();
    assert_eq!(stands.run_uid, "1", "a name that has begun has begun");
    assert!(restored.position().borrow().seq > before);
    let changes = restored.changes(before, None, 10).await;
    assert!(matches!(changes, Err(Error::Expired { .. })), "{changes:?}");
}

#[tokio::test]
async fn an_audit_that_was_brought_back_goes_on_where_the_backup_ends() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).unwrap();
    store
        .append(told([decided("o", 1), decided("o", 2)]))
        .await
        .unwrap();
    let kept = conformance::whole(&store).await;
    let mut copy = Vec::new();
    backup(folder.path(), &mut copy).unwrap();
    store.append(told([decided("o", 3)])).await.unwrap();
    restore(folder.path(), &mut copy.as_slice(), Timestamp::now()).unwrap();
    closed(store).await;
    let store = open(&folder).unwrap();
    assert_eq!(conformance::whole(&store).await, kept);
    store.append(told([decided("o", 4)])).await.unwrap();
    let page = AuditQuery {
        after: 2,
        limit: 10,
        ..AuditQuery::default()
    };
    let links = store.audit(page).await.unwrap().links;
    assert_eq!((links[0].sequence, &links[0].previous), (3, &kept[1].hash));
    assert_eq!(links[0].entry["follows"], 2, "what was lost shows");
}

#[tokio::test]
async fn an_entry_that_somebody_wrote_over_is_served_as_it_is_then() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).unwrap();
    store.append(told([decided("o", 1)])).await.unwrap();
    let file = rusqlite::Connection::open(folder.path().join("records.sqlite")).unwrap();
    file.execute("UPDATE audit_entries SET body = 'no JSON'", [])
        .unwrap();
    let page = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    let link = store.audit(page).await.unwrap().links.remove(0);
    assert_eq!(link.entry, "no JSON");
    assert_ne!(link.computed(), Some(link.hash));
}

#[tokio::test]
async fn what_is_no_backup_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).unwrap();
    store
        .append(rows([row("n", "r", "a", State::Succeeded)]))
        .await
        .unwrap();
    let mut torn = Vec::new();
    backup(folder.path(), &mut torn).unwrap();
    torn.truncate(torn.len() / 2);
    for wrong in [&b""[..], b"no database at all", &torn] {
        restore(folder.path(), &mut &*wrong, Timestamp::now()).unwrap_err();
    }
    closed(store).await;
    let store = open(&folder).unwrap();
    assert_eq!(store.run("r-uid".into()).await.unwrap().len(), 1);
}
