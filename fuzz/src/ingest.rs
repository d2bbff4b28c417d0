//! Whatever is handed to the store's ingest is refused, or kept: each row and each byte of it is found again, and doing it twice equals doing it once.
#![no_main]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use crds::execution::{Batch, Execution, State};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use records::{Column, Options, Query, Selector, SqliteStore, Store as _, Term, check};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Batches that one store takes; a new one is made then, so that memory stays bounded and a find can be repeated.
const BATCHES: usize = 100;

struct World {
    runtime: Runtime,
    store: SqliteStore,
    _folder: TempDir,
    left: usize,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let folder = TempDir::new().expect("a folder in memory");
        let options = Options {
            readers: 1,
            ..Options::default()
        };
        let store = SqliteStore::open(folder.path(), options, Timestamp::UNIX_EPOCH);
        Self {
            runtime: runtime.expect("a runtime"),
            store: store.expect("a new store"),
            _folder: folder,
            left: BATCHES,
        }
    }
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    let Ok(batch) = serde_json::from_slice::<Batch>(data) else {
        return;
    };
    fuzz::reads_back(&batch);
    WORLD.with_borrow_mut(|kept| {
        let mut world = kept
            .take()
            .filter(|w| w.left > 0)
            .unwrap_or_else(World::new);
        world.left -= 1;
        world.runtime.block_on(append(&world.store, batch));
        *kept = Some(world);
    });
});

async fn append(store: &SqliteStore, batch: Batch) {
    let taken = check(&batch).is_ok();
    let stored = store.append(batch.clone()).await;
    assert_eq!(stored.is_ok(), taken, "what passes is kept: {stored:?}");
    if !taken {
        return;
    }
    let once = runs(store, &batch).await;
    store.append(batch.clone()).await.expect("as before");
    assert_eq!(runs(store, &batch).await, once, "twice is once");
    for row in &batch.rows {
        let digest = row.key.digest();
        let kept = once[&row.key.run].iter().find(|r| r.key.digest() == digest);
        let kept = kept.expect("no row is lost");
        assert!(row.state == State::Started || kept.state != State::Started);
        listed(store, kept).await;
    }
    for log in batch.logs.iter().filter(|log| !log.data.is_empty()) {
        let digest = log.key.digest();
        let pieces = store.log(digest, log.offset, 1).await.expect("a log");
        let found = pieces.iter().any(|piece| {
            let known = usize::try_from(log.offset.saturating_sub(piece.offset));
            piece.offset <= log.offset && known.is_ok_and(|known| known < piece.data.len())
        });
        assert!(found, "no byte is lost");
    }
}

/// What is known of the runs that a batch names.
async fn runs(store: &SqliteStore, batch: &Batch) -> BTreeMap<String, Vec<Execution>> {
    let names: BTreeSet<_> = batch.rows.iter().map(|row| row.key.run.clone()).collect();
    let mut known = BTreeMap::new();
    for run in names {
        let rows = store.run(run.clone()).await.expect("a ledger");
        known.insert(run, rows);
    }
    known
}

/// A row is in the list of its run, and chosen there as it would be in memory.
async fn listed(store: &SqliteStore, row: &Execution) {
    let pin = |column, value: &str| Term {
        column,
        among: true,
        values: vec![value.to_owned()],
    };
    let query = Query {
        namespaces: vec![row.namespace_uid.clone()],
        selector: Selector(vec![pin(Column::RunUid, &row.key.run)]),
        after: None,
        limit: 500,
    };
    let page = store.list(query.clone()).await.expect("a page");
    assert!(page.rows.iter().all(|found| query.selector.matches(found)));
    assert!(page.next.is_some() || page.rows.iter().any(|found| found.execution == *row));
}
