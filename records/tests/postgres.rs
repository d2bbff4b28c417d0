//! The PostgreSQL store on a real server: the conformance suite, the same outcome as SQLite's, and what is its own (replicas, crashes, absence, size, TLS).
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use crds::{
    archive::Archived,
    audit::Checkpoint,
    execution::{Batch, Execution, LogChunk, State},
    receipt::Receipt,
};
use futures::future::join_all;
use jiff::Timestamp;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use records::{
    ArchiveQuery, Error, MigrateError, Options, Piece, PostgresStore, Retention, Row, Selector,
    Settings, SqliteStore, Store, Swept,
    conformance::{self, archived, decided, everything, row, rows, told},
    private::PrivatePostgres,
};
use tokio::time::{sleep, timeout};

/// A server, and an empty database in it.
fn server() -> (PrivatePostgres, Settings) {
    let server = PrivatePostgres::start(&[]).unwrap();
    let settings = server.database("records").unwrap();
    (server, settings)
}

async fn open(settings: &Settings) -> Result<PostgresStore, Error> {
    PostgresStore::open(settings.clone(), Options::default(), Timestamp::now()).await
}

#[tokio::test]
async fn it_conforms() {
    let (_server, settings) = server();
    conformance::run(&open(&settings).await.unwrap()).await;
}

#[tokio::test]
async fn a_database_of_the_time_before_the_audit_conforms() {
    let (server, settings) = server();
    open(&settings).await.unwrap();
    let before = "DROP TABLE audit_entries, audit_checkpoints, audit_sources, audit_head";
    server.sql("records", before).unwrap();
    conformance::run(&open(&settings).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_are_told_at_once_make_one_chain() {
    const REPLICAS: usize = 3;
    const ENTRIES: i64 = 40;
    let (server, settings) = server();
    let stores = join_all((0..REPLICAS).map(|_| open(&settings))).await;
    let stores: Vec<_> = stores.into_iter().map(Result::unwrap).collect();
    let mut tellers = Vec::new();
    for source in 0..REPLICAS {
        let stores = stores.clone();
        tellers.push(tokio::spawn(async move {
            for number in 1..=ENTRIES {
                // Twice, at two stores, as where an acknowledgement was lost.
                for store in [&stores[source], &stores[(source + 1) % REPLICAS]] {
                    let entry = decided(&format!("source-{source}"), number);
                    store.append(told([entry])).await.unwrap();
                }
            }
        }));
    }
    for teller in tellers {
        teller.await.unwrap();
    }
    let links = conformance::whole(&stores[0]).await;
    assert_eq!(links.len(), REPLICAS * usize::try_from(ENTRIES).unwrap());
    let (kept, anew) = counted(&server);
    assert_eq!(kept, anew);
}

#[tokio::test]
async fn rows_and_positions_survive_a_restart_and_a_new_database_never_repeats_them() {
    let (server, settings) = server();
    let store = open(&settings).await.unwrap();
    store
        .append(rows([row("n", "r", "a", State::Started)]))
        .await
        .unwrap();
    let all = || everything("n", Selector::default());
    let before = store.list(all()).await.unwrap();
    drop(store);
    let store = open(&settings).await.unwrap();
    assert_eq!(store.list(all()).await.unwrap(), before);
    assert_eq!(store.position().borrow().seq, before.seq);
    let anew = open(&server.database("anew").unwrap()).await.unwrap();
    let changes = anew.changes(before.seq, None, 1).await;
    assert!(matches!(changes, Err(Error::Expired { .. })), "{changes:?}");
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_by_name() {
    let (server, settings) = server();
    open(&settings).await.unwrap();
    let newer = "INSERT INTO schema_version VALUES (99, 0)";
    server.sql("records", newer).unwrap();
    let why = reason(open(&settings).await.err());
    assert!(
        why.contains("schema version 2, this program knows 1"),
        "{why}"
    );
    server
        .sql(
            "postgres",
            "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        )
        .unwrap();
    let url = std::fs::read_to_string(&settings.url_file).unwrap();
    std::fs::write(
        &settings.url_file,
        url.replace("dbname=records", "dbname=latin"),
    )
    .unwrap();
    let why = reason(open(&settings).await.err());
    assert!(why.contains("LATIN1"), "{why}");
}

/// Everything that an error says.
fn reason(error: Option<Error>) -> String {
    let error = error.expect("it does not work");
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        said = format!("{said}: {next}");
        cause = next.source();
    }
    said
}

/// What was watched of a store, from its beginning, until so many rows were told.
async fn watched(store: PostgresStore, begin: i64, count: usize) -> Vec<(i64, String)> {
    let mut position = store.position();
    let (mut after, mut told) = (begin, Vec::new());
    while told.len() < count {
        position.mark_unchanged();
        let changes = store.changes(after, None, 7).await.unwrap();
        after = changes.upto;
        told.extend(
            changes
                .rows
                .iter()
                .map(|r| (r.seq, r.execution.target.clone())),
        );
        if changes.rows.len() < 7 && told.len() < count {
            timeout(Duration::from_secs(20), position.changed())
                .await
                .expect("a commit of any replica is heard of")
                .unwrap();
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn watches_of_every_replica_see_every_row_once_and_in_order() {
    const REPLICAS: usize = 3;
    const WRITERS: usize = 4;
    const BATCHES: usize = 40;
    let (_server, settings) = server();
    let replicas = join_all((0..REPLICAS).map(|_| open(&settings))).await;
    let replicas: Vec<_> = replicas.into_iter().map(Result::unwrap).collect();
    let begin = replicas[0].position().borrow().seq;
    let count = REPLICAS * WRITERS * BATCHES * 3;
    let watches: Vec<_> = replicas
        .iter()
        .map(|store| tokio::spawn(watched(store.clone(), begin, count)))
        .collect();
    let writers = (0..REPLICAS * WRITERS).map(|writer| {
        let store = replicas[writer % REPLICAS].clone();
        tokio::spawn(async move {
            for batch in 0..BATCHES {
                let target = |n| format!("{writer}-{batch}-{n}");
                let of_batch = (0..3).map(|n| row("n", "r", &target(n), State::Succeeded));
                store
                    .append(rows(of_batch.collect::<Vec<_>>()))
                    .await
                    .unwrap();
            }
        })
    });
    for done in join_all(writers).await {
        done.unwrap();
    }
    for watch in watches {
        let told = watch.await.unwrap();
        assert!(
            told.is_sorted_by(|a, b| a.0 < b.0),
            "in the order of positions"
        );
        let targets: HashSet<_> = told.iter().map(|(_, target)| target).collect();
        assert_eq!((targets.len(), told.len()), (count, count), "each once");
    }
}

/// A batch of rows and output that collide with those of other batches in every way there is.
fn any_batch(random: &mut StdRng) -> Batch {
    let states = [
        State::Started,
        State::Started,
        State::Failed,
        State::Succeeded,
        State::Unknown,
    ];
    let any_row = |random: &mut StdRng| {
        let run = format!("r{}", random.random_range(0..3));
        let target = format!("t{}", random.random_range(0..4));
        let namespace = format!("n{}", random.random_range(0..2));
        let mut row = row(&namespace, &run, &target, states[random.random_range(0..5)]);
        // A run made anew has the same names under another key.
        row.key.run = format!("{run}-uid-{}", random.random_range(0..3));
        let messages = [None, Some("one"), Some("é\0two")];
        row.message = messages[random.random_range(0..3)].map(Into::into);
        row
    };
    let count = random.random_range(0..6);
    let rows: Vec<Execution> = (0..count).map(|_| any_row(random)).collect();
    let logs = (0..random.random_range(0..4)).map(|_| LogChunk {
        key: any_row(random).key,
        offset: random.random_range(0..4) * 5,
        data: vec![random.random(); random.random_range(0..6)],
    });
    Batch {
        id: "any".into(),
        logs: logs.collect(),
        rows,
        archived: (0..random.random_range(0..3))
            .map(|_| any_archived(random))
            .collect(),
        ..Batch::default()
    }
}

fn any_archived(random: &mut StdRng) -> Archived {
    let uid = random.random_range(0..3).to_string().repeat(8);
    let outcomes = ["Failed", "Succeeded too late"];
    Archived {
        outcome: outcomes[random.random_range(0..2)].into(),
        ..archived("n0", "JobRun", "r0", &uid)
    }
}

type Everything = (Vec<Row>, BTreeMap<String, Vec<Piece>>, Vec<Archived>);

/// Everything that can be read: rows in their order of change with the distance of positions, output, and what is archived.
async fn all(store: &dyn Store, begin: i64) -> Everything {
    let mut changes = store.changes(begin, None, 10_000).await.unwrap().rows;
    let mut output = BTreeMap::new();
    for row in &mut changes {
        let digest = row.execution.key.digest();
        let pieces = store.log(digest.clone(), 0, 1_000).await.unwrap();
        output.insert(digest, pieces);
        row.seq -= begin;
        row.created -= begin;
        row.created_at = Timestamp::UNIX_EPOCH;
    }
    let archives = ArchiveQuery {
        namespaces: vec!["n0-uid".into()],
        limit: 1_000,
        ..ArchiveQuery::default()
    };
    let archived = store.archived(archives).await.unwrap().rows.into_iter();
    (changes, output, archived.map(|row| row.archived).collect())
}

#[tokio::test]
async fn the_outcome_is_that_of_sqlite() {
    let (_server, settings) = server();
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(folder.path(), Options::default(), Timestamp::now()).unwrap();
    let postgres = open(&settings).await.unwrap();
    let begin = |store: &dyn Store| store.position().borrow().seq;
    let (ours, theirs) = (begin(&postgres), begin(&sqlite));
    let mut random = StdRng::seed_from_u64(15);
    for _ in 0..60 {
        let group: Vec<Batch> = (0..8).map(|_| any_batch(&mut random)).collect();
        for store in [&sqlite as &dyn Store, &postgres] {
            for done in join_all(group.iter().cloned().map(|batch| store.append(batch))).await {
                done.unwrap();
            }
        }
        assert_eq!(all(&postgres, ours).await, all(&sqlite, theirs).await);
    }
    let later = Timestamp::now() + Duration::from_hours(72);
    for protected in [&["r0-uid-0"][..], &[]] {
        let kept = retention(u64::MAX, protected);
        let taken = postgres.sweep(kept.clone(), later).await.unwrap();
        assert_eq!(taken.rows, sqlite.sweep(kept, later).await.unwrap().rows);
        assert_eq!(all(&postgres, ours).await, all(&sqlite, theirs).await);
    }
}

fn retention(size: u64, protected: &[&str]) -> Retention {
    Retention {
        audit: Duration::from_hours(365 * 24),
        age: Duration::from_hours(24),
        size,
        removals: Duration::from_hours(1),
        protected_runs: protected.iter().map(ToString::to_string).collect(),
    }
}

async fn swept_to(store: &PostgresStore, size: u64) -> Swept {
    let later = Timestamp::now() + Duration::from_hours(2);
    loop {
        let swept = store.sweep(retention(size, &[]), later).await.unwrap();
        if !swept.more {
            return swept;
        }
    }
}

/// What is counted as in use, and the same counted anew.
fn counted(server: &PrivatePostgres) -> (String, String) {
    let anew = "SELECT (SELECT coalesce(sum(600 + octet_length(body)), 0) FROM executions)
        + (SELECT coalesce(sum(250 + octet_length(body)), 0) FROM removals)
        + (SELECT coalesce(sum(200 + octet_length(data)), 0) FROM logs)
        + (SELECT coalesce(sum(600 + octet_length(body)), 0) FROM archives)
        + (SELECT coalesce(sum(600 + octet_length(body)), 0) FROM audit_entries)";
    let kept = server.sql("records", "SELECT bytes FROM meta").unwrap();
    (kept, server.sql("records", anew).unwrap())
}

#[tokio::test]
async fn size_is_kept_by_taking_the_oldest_and_counted_without_a_slip() {
    let (server, settings) = server();
    let store = open(&settings).await.unwrap();
    let mut random = StdRng::seed_from_u64(7);
    for i in 0..64 {
        let row = row("n", "r", &format!("t{i:02}"), State::Failed);
        let log = LogChunk {
            key: row.key.clone(),
            offset: 0,
            data: vec![b'x'; 100_000],
        };
        let batch = Batch {
            id: i.to_string(),
            rows: vec![row],
            logs: vec![log],
            ..Batch::default()
        };
        store.append(batch).await.unwrap();
        store.append(any_batch(&mut random)).await.unwrap();
    }
    let (kept, anew) = counted(&server);
    assert_eq!(kept, anew);
    let swept = swept_to(&store, 2 << 20).await;
    assert!(
        swept.size <= 2 << 20,
        "{} bytes are still in use",
        swept.size
    );
    let (kept, anew) = counted(&server);
    assert_eq!(kept, anew);
    let left = store.list(everything("n", Selector::default())).await;
    let left = left.unwrap().rows;
    assert!(left.len() > 10, "only {} rows were kept", left.len());
    assert_eq!(
        left.last().unwrap().name,
        "r.step.t63.1",
        "the newest stays"
    );
    swept_to(&store, 2 << 20).await;
    let again = store.list(everything("n", Selector::default())).await;
    assert_eq!(
        again.unwrap().rows.len(),
        left.len(),
        "what was taken costs no more"
    );
}

#[tokio::test]
async fn what_is_counted_is_near_to_what_tables_take() {
    let (server, settings) = server();
    let store = open(&settings).await.unwrap();
    for batch in 0..20 {
        let of_batch =
            (0..1_000).map(|i| row("n", &format!("r{batch}"), &format!("t{i}"), State::Failed));
        store
            .append(rows(of_batch.collect::<Vec<_>>()))
            .await
            .unwrap();
    }
    let size: f64 = server
        .sql("records", "SELECT pg_total_relation_size('executions')")
        .unwrap()
        .parse()
        .unwrap();
    let counted: f64 = counted(&server).0.parse().unwrap();
    assert!(
        (0.8..1.6).contains(&(counted / size)),
        "{counted} for {size}"
    );
}

fn receipt(run: &str, run_uid: &str) -> Receipt {
    Receipt {
        namespace: "n".into(),
        namespace_uid: "n-uid".into(),
        run: run.into(),
        run_uid: run_uid.into(),
        plan: "p".into(),
        at: Timestamp::UNIX_EPOCH,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_has_one_receipt_whoever_claims_it() {
    let (_server, settings) = server();
    let replicas = join_all((0..3).map(|_| open(&settings))).await;
    let replicas: Vec<_> = replicas.into_iter().map(Result::unwrap).collect();
    let claims = (0..60).map(|n| {
        let store = replicas[n % 3].clone();
        let receipt = receipt(&format!("nightly-{}", n / 6), &n.to_string());
        tokio::spawn(async move { store.claim(receipt).await.unwrap() })
    });
    let mut stands: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for receipt in join_all(claims).await {
        let receipt = receipt.unwrap();
        stands
            .entry(receipt.run)
            .or_default()
            .insert(receipt.run_uid);
    }
    assert!(
        stands.len() == 10 && stands.values().all(|uids| uids.len() == 1),
        "{stands:?}"
    );
}

#[tokio::test]
async fn while_it_is_away_everything_says_so_and_afterwards_all_goes_on() {
    let (mut server, settings) = server();
    let (store, other) = (
        open(&settings).await.unwrap(),
        open(&settings).await.unwrap(),
    );
    let batch = |target: &str| rows([row("n", "r", target, State::Succeeded)]);
    store.append(batch("before")).await.unwrap();
    server.kill().unwrap();
    for _ in 0..3 {
        let why = reason(store.append(batch("meanwhile")).await.err());
        assert!(why.contains("not available"), "{why}");
        let why = reason(store.run("r-uid".into()).await.err());
        assert!(why.contains("not available"), "{why}");
        sleep(Duration::from_millis(100)).await;
    }
    let why = reason(open(&settings).await.err());
    assert!(why.contains("connect to PostgreSQL"), "{why}");
    server.up().unwrap();
    while let Err(error) = store.append(batch("meanwhile")).await {
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        sleep(Duration::from_millis(20)).await;
    }
    let known = store.run("r-uid".into()).await.unwrap();
    let targets: Vec<_> = known.iter().map(|row| row.target.as_str()).collect();
    assert_eq!(
        targets,
        ["before", "meanwhile"],
        "nothing is lost, and nothing is there twice"
    );
    let wanted = store.position().borrow().seq;
    let mut heard = other.position();
    timeout(Duration::from_secs(10), heard.wait_for(|p| p.seq == wanted))
        .await
        .expect("the other replica hears of commits again")
        .unwrap();
}

#[tokio::test]
async fn records_move_from_sqlite_with_their_positions() {
    let (server, settings) = server();
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(folder.path(), Options::default(), Timestamp::now()).unwrap();
    let begin = sqlite.position().borrow().seq;
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..40 {
        sqlite.append(any_batch(&mut random)).await.unwrap();
    }
    let later = Timestamp::now() + Duration::from_hours(72);
    let kept = retention(u64::MAX, &["r0-uid-0", "r1-uid-1"]);
    sqlite.sweep(kept, later).await.unwrap();
    let claimed = receipt("nightly", "1");
    sqlite.claim(claimed.clone()).await.unwrap();
    let kept = Batch {
        archived: vec![archived("n0", "JobRun", "nightly", "11111111")],
        audit: vec![decided("o", 1), decided("o", 2)],
        ..Batch::default()
    };
    sqlite.append(kept).await.unwrap();
    let chain = conformance::whole(&sqlite).await;
    let signed = Checkpoint {
        sequence: 2,
        hash: chain[1].hash.clone(),
        at: Timestamp::UNIX_EPOCH,
        signature: "00".into(),
    };
    sqlite.sign(signed.clone()).await.unwrap();
    let before = all(&sqlite, begin).await;
    let seq = sqlite.position().borrow().seq;

    let refused = records::migrate(folder.path(), settings.clone(), Timestamp::now()).await;
    assert!(
        matches!(refused, Err(MigrateError::Folder(_))),
        "{refused:?}"
    );
    let mut position = sqlite.position();
    drop(sqlite);
    while position.changed().await.is_ok() {}
    let migrated = records::migrate(folder.path(), settings.clone(), Timestamp::now()).await;
    let counts: Vec<_> = migrated
        .unwrap()
        .iter()
        .map(|(_, amount)| amount.count)
        .collect();
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");

    let store = open(&settings).await.unwrap();
    assert_eq!(store.position().borrow().seq, seq, "watches go on");
    assert_eq!(all(&store, begin).await, before);
    assert_eq!(conformance::whole(&store).await, chain);
    assert_eq!(store.checkpoints(0, 10).await.unwrap(), [signed]);
    store
        .append(told([decided("o", 2), decided("o", 3)]))
        .await
        .unwrap();
    assert_eq!(conformance::whole(&store).await[..2], chain, "it goes on");
    let (kept, anew) = counted(&server);
    assert_eq!(kept, anew);
    let stands = store.claim(receipt("nightly", "2")).await.unwrap();
    assert_eq!(stands, claimed);
    let again = records::migrate(folder.path(), settings.clone(), Timestamp::now()).await;
    assert!(
        matches!(again, Err(MigrateError::NotEmpty("executions"))),
        "{again:?}"
    );
    let nowhere = tempfile::tempdir().unwrap();
    let nothing = records::migrate(nowhere.path(), settings, Timestamp::now()).await;
    assert!(
        matches!(nothing, Err(MigrateError::Nothing(_))),
        "{nothing:?}"
    );
}

#[tokio::test]
async fn a_database_that_was_brought_back_never_repeats_positions_and_its_receipts_hold_by_name() {
    let (server, settings) = server();
    let store = open(&settings).await.unwrap();
    store
        .append(rows([row("n", "r", "a", State::Succeeded)]))
        .await
        .unwrap();
    for uid in ["old", "older"] {
        let namespace_uid = uid.to_owned();
        let claimed = Receipt {
            namespace_uid,
            ..receipt("nightly", "1")
        };
        store.claim(claimed).await.unwrap();
    }
    let before = store.position().borrow().seq;
    records::restored(settings, Timestamp::now()).await.unwrap();
    let stands = store.claim(receipt("nightly", "2")).await.unwrap();
    assert_eq!(stands.run_uid, "1", "a name that has begun has begun");
    let changes = store.changes(before, None, 10).await;
    assert!(matches!(changes, Err(Error::Expired { .. })), "{changes:?}");
    assert_eq!(store.run("r-uid".into()).await.unwrap().len(), 1);
    let (kept, anew) = counted(&server);
    assert_eq!(kept, anew);
}
