//! What every store must do, as one suite: `run` it on an empty store of each backend. It panics with a sentence about the promise that broke.

mod archives;
mod audits;

use std::{collections::HashSet, time::Duration};

use crds::{
    execution::{Batch, Execution, LogChunk, State, TargetKind, VERSION, Via},
    key::EffectKey,
    receipt::Receipt,
};
use jiff::Timestamp;

use crate::{ArchiveQuery, Column, Error, Query, Retention, Row, Selector, Store, Term};

pub use archives::archived;
use archives::{archive, finished_objects_are_found, in_archive};
use audits::{
    a_number_that_was_passed_is_not_kept_twice, decisions_are_chained_in_order,
    entries_are_chosen_by_what_they_say,
    retention_takes_whole_stretches_and_leaves_their_checkpoint,
};
pub use audits::{decided, told, whole};

/// Runs every case; each works in namespaces of its own, so one store serves all of them.
pub async fn run(store: &dyn Store) {
    batches_are_idempotent(store).await;
    terminal_states_stay(store).await;
    a_change_tells_how_it_went_and_not_whose_it_is(store).await;
    lists_are_paged_in_order(store).await;
    selectors_choose_rows(store).await;
    names_are_unique_in_a_namespace(store).await;
    changes_come_in_order_and_once(store).await;
    logs_are_read_from_any_offset(store).await;
    a_run_is_read_back(store).await;
    the_first_claim_of_a_name_stands(store).await;
    finished_objects_are_found(store).await;
    decisions_are_chained_in_order(store).await;
    a_number_that_was_passed_is_not_kept_twice(store).await;
    entries_are_chosen_by_what_they_say(store).await;
    bad_batches_are_refused(store).await;
    retention_takes_the_old_and_spares_live_runs(store).await;
    forgotten_positions_expire(store).await;
    retention_takes_whole_stretches_and_leaves_their_checkpoint(store).await;
}

/// A row of the namespace `namespace` (its UID is `<namespace>-uid`) and the run `run` (`<run>-uid`).
pub fn row(namespace: &str, run: &str, target: &str, state: State) -> Execution {
    Execution {
        version: VERSION,
        key: EffectKey {
            attempt: 1,
            cluster: "cluster".into(),
            plan: "0f".repeat(32),
            run: format!("{run}-uid"),
            step: "step".into(),
            target: format!("{namespace}-{target}-uid"),
        },
        namespace: namespace.into(),
        namespace_uid: format!("{namespace}-uid"),
        run: run.into(),
        job: None,
        step: "step".into(),
        target_kind: TargetKind::Host,
        target: target.into(),
        attempt: 1,
        state,
        reason: None,
        message: None,
        exit_code: None,
        started_at: None,
        finished_at: None,
        output_bytes: 0,
        dropped_bytes: 0,
        outputs: std::collections::BTreeMap::new(),
        secret_uid: None,
        via: Via::Journal,
    }
}

/// A batch of rows.
pub fn rows(rows: impl Into<Vec<Execution>>) -> Batch {
    Batch {
        id: "rows".into(),
        rows: rows.into(),
        ..Batch::default()
    }
}

/// Everything in a namespace that a selector chooses.
pub fn everything(namespace: &str, selector: Selector) -> Query {
    Query {
        namespaces: vec![format!("{namespace}-uid")],
        selector,
        after: None,
        limit: 1_000,
    }
}

fn one_of(column: Column, values: &[&str]) -> Term {
    Term {
        column,
        among: true,
        values: values.iter().map(ToString::to_string).collect(),
    }
}

async fn listed(store: &dyn Store, namespace: &str, terms: Vec<Term>) -> Vec<Row> {
    let page = store.list(everything(namespace, Selector(terms))).await;
    page.expect("a list is answered").rows
}

fn names(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|r| r.name.as_str()).collect()
}

async fn append(store: &dyn Store, batch: Batch) {
    store.append(batch).await.expect("a good batch is taken");
}

async fn batches_are_idempotent(store: &dyn Store) {
    let batch = rows([
        row("twice", "r", "a", State::Started),
        row("twice", "r", "b", State::Failed),
    ]);
    append(store, batch.clone()).await;
    let once = listed(store, "twice", vec![]).await;
    append(store, batch).await;
    assert_eq!(
        listed(store, "twice", vec![]).await,
        once,
        "a batch that comes twice changes nothing"
    );
}

async fn terminal_states_stay(store: &dyn Store) {
    let started = row("terminal", "r", "a", State::Started);
    append(store, rows([started.clone()])).await;
    append(store, rows([row("terminal", "r", "a", State::Unknown)])).await;
    append(store, rows([started])).await;
    append(store, rows([row("terminal", "r", "a", State::Succeeded)])).await;
    let found = listed(store, "terminal", vec![]).await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].execution.state,
        State::Unknown,
        "the first terminal state stands"
    );
}

async fn a_change_tells_how_it_went_and_not_whose_it_is(store: &dyn Store) {
    let begun = row("whose", "r", "a", State::Started);
    let ended = Execution {
        namespace_uid: "another-uid".into(),
        run: "other".into(),
        target: "b".into(),
        state: State::Succeeded,
        ..begun.clone()
    };
    append(store, rows([begun.clone()])).await;
    append(store, rows([ended])).await;
    let kept = listed(store, "whose", vec![]).await;
    let wanted = Execution {
        state: State::Succeeded,
        ..begun
    };
    assert_eq!(kept.len(), 1, "a row stays in its namespace");
    assert_eq!(kept[0].execution, wanted);
}

async fn lists_are_paged_in_order(store: &dyn Store) {
    for namespace in ["page-b", "page-a"] {
        append(
            store,
            rows(
                (0..7)
                    .map(|i| row(namespace, "r", &format!("t{i}"), State::Started))
                    .collect::<Vec<_>>(),
            ),
        )
        .await;
    }
    let order = ["page-a-uid".to_owned(), "page-b-uid".to_owned()];
    let mut query = Query {
        namespaces: order.to_vec(),
        selector: Selector::default(),
        after: None,
        limit: 3,
    };
    let mut seen = Vec::new();
    loop {
        let page = store.list(query.clone()).await.expect("a page is answered");
        assert!(page.rows.len() <= 3, "a page is never longer than asked");
        seen.extend(
            page.rows
                .iter()
                .map(|r| (r.execution.namespace.clone(), r.name.clone())),
        );
        let Some(next) = page.next else { break };
        query.namespaces = order
            .iter()
            .skip_while(|uid| **uid != next.namespace_uid)
            .cloned()
            .collect();
        query.after = Some(next);
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(
        seen, sorted,
        "pages follow each other in order, no row twice"
    );
    assert_eq!(seen.len(), 14, "no row is missing");
}

async fn selectors_choose_rows(store: &dyn Store) {
    append(
        store,
        rows([
            row("select", "r", "a", State::Failed),
            row("select", "r", "b", State::Succeeded),
            row("select", "r2", "a", State::Failed),
        ]),
    )
    .await;
    let runs = listed(store, "select", vec![one_of(Column::Run, &["r"])]).await;
    assert_eq!(
        names(&runs),
        ["r.step.a.1", "r.step.b.1"],
        "a run is not a prefix of another"
    );
    let both = vec![
        one_of(Column::State, &["Failed", "Unknown"]),
        one_of(Column::Target, &["a"]),
    ];
    assert_eq!(
        names(&listed(store, "select", both).await),
        ["r.step.a.1", "r2.step.a.1"]
    );
    let not = Term {
        among: false,
        ..one_of(Column::State, &["Failed"])
    };
    assert_eq!(
        names(&listed(store, "select", vec![not]).await),
        ["r.step.b.1"]
    );
    assert!(
        listed(store, "select-other", vec![]).await.is_empty(),
        "another namespace sees nothing"
    );
}

async fn names_are_unique_in_a_namespace(store: &dyn Store) {
    let first = row("names", "r", "a", State::Succeeded);
    let mut again = first.clone();
    again.key.run = "a-run-made-anew-uid".into();
    append(store, rows([first.clone(), again.clone()])).await;
    append(store, rows([again.clone()])).await;
    let found = listed(store, "names", vec![]).await;
    assert_eq!(
        found.len(),
        2,
        "rows of a run made anew stand beside those of the first"
    );
    for (name, wanted) in [
        ("r.step.a.1".to_owned(), &first),
        (format!("r.step.a.1.{}", &again.key.digest()[..8]), &again),
    ] {
        let got = store
            .get("names-uid".into(), name)
            .await
            .expect("a row is answered");
        assert_eq!(got.map(|r| r.execution).as_ref(), Some(wanted));
    }
    let absent = store.get("names-uid".into(), "r.step.z.1".into()).await;
    assert_eq!(absent.expect("absence is an answer"), None);
}

async fn changes_come_in_order_and_once(store: &dyn Store) {
    let begin = store.position().borrow().seq;
    append(
        store,
        rows([
            row("watch", "r", "a", State::Started),
            row("watch", "r", "b", State::Started),
        ]),
    )
    .await;
    let middle = store.position().borrow().seq;
    append(
        store,
        rows([
            row("watch", "r", "a", State::Failed),
            row("watch-other", "r", "a", State::Failed),
        ]),
    )
    .await;
    let all = store
        .changes(begin, None, 100)
        .await
        .expect("changes are answered");
    assert_eq!(
        names(&all.rows),
        ["r.step.b.1", "r.step.a.1", "r.step.a.1"],
        "each row once, in its latest state"
    );
    assert!(all.rows.is_sorted_by_key(|r| r.seq), "in commit order");
    assert_eq!(all.upto, store.position().borrow().seq);
    let since = store
        .changes(middle, Some("watch-uid".into()), 100)
        .await
        .expect("changes are answered");
    assert_eq!(names(&since.rows), ["r.step.a.1"]);
    assert!(
        since.rows[0].created <= middle && since.rows[0].seq > middle,
        "a change is told from a creation"
    );
    let first = store
        .changes(begin, None, 1)
        .await
        .expect("changes are answered");
    assert_eq!(
        first.upto, first.rows[0].seq,
        "a portion says how far it goes"
    );
    let ahead = store.changes(all.upto + 1, None, 1).await;
    assert!(
        matches!(ahead, Err(Error::Expired { .. })),
        "a position from elsewhere is refused"
    );
}

async fn logs_are_read_from_any_offset(store: &dyn Store) {
    let key = row("logs", "r", "a", State::Started).key;
    let chunk = |offset: u64, data: &str| LogChunk {
        key: key.clone(),
        offset,
        data: data.into(),
    };
    let sent = |chunks: Vec<LogChunk>| Batch {
        id: "logs".into(),
        logs: chunks,
        ..Batch::default()
    };
    append(store, sent(vec![chunk(0, "hello "), chunk(6, "wor")])).await;
    append(
        store,
        sent(vec![chunk(6, "world"), chunk(0, "hell"), chunk(100, "end")]),
    )
    .await;
    let digest = key.digest();
    let read = async |offset, bytes| {
        let pieces = store
            .log(digest.clone(), offset, bytes)
            .await
            .expect("a log is answered");
        pieces
            .into_iter()
            .map(|p| (p.offset, String::from_utf8(p.data).expect("text")))
            .collect::<Vec<_>>()
    };
    let (hello, world, end) = (
        (0, "hello ".to_owned()),
        (6, "world".to_owned()),
        (100, "end".to_owned()),
    );
    assert_eq!(
        read(0, 1_000).await,
        [hello.clone(), world.clone(), end.clone()],
        "the longer piece stands"
    );
    assert_eq!(
        read(8, 1_000).await,
        [world, end],
        "the piece that covers the offset comes first"
    );
    assert_eq!(read(0, 1).await, [hello], "a portion is bounded");
    assert!(read(103, 1_000).await.is_empty());
}

async fn a_run_is_read_back(store: &dyn Store) {
    append(
        store,
        rows([
            row("ledger", "ledger", "a", State::Started),
            row("ledger", "ledger", "b", State::Failed),
        ]),
    )
    .await;
    let mut known = store
        .run("ledger-uid".into())
        .await
        .expect("a run is answered");
    known.sort_by(|a, b| a.target.cmp(&b.target));
    let states: Vec<_> = known.iter().map(|e| (e.target.as_str(), e.state)).collect();
    assert_eq!(states, [("a", State::Started), ("b", State::Failed)]);
    assert!(
        store
            .run("nobody".into())
            .await
            .expect("absence is an answer")
            .is_empty()
    );
}

async fn the_first_claim_of_a_name_stands(store: &dyn Store) {
    let receipt = |namespace: &str, uid: &str, run_uid: &str| Receipt {
        namespace: namespace.into(),
        namespace_uid: uid.into(),
        run: "nightly".into(),
        run_uid: run_uid.into(),
        plan: "0f".repeat(32),
        at: Timestamp::UNIX_EPOCH,
    };
    let first = receipt("receipts", "1", "a");
    for (claimed, stands, why) in [
        (first.clone(), first.clone(), "the first is kept"),
        (
            receipt("receipts", "1", "b"),
            first.clone(),
            "a second is not",
        ),
        (first.clone(), first, "claiming twice is claiming once"),
        (
            receipt("receipts", "2", "c"),
            receipt("receipts", "2", "c"),
            "a namespace made anew",
        ),
        (
            receipt("other", "3", "d"),
            receipt("other", "3", "d"),
            "another namespace",
        ),
    ] {
        let found = store.claim(claimed).await.expect("a receipt is claimed");
        assert_eq!(found, stands, "{why}");
    }
}

async fn bad_batches_are_refused(store: &dyn Store) {
    let mut newer = row("bad", "r", "a", State::Started);
    newer.version = VERSION + 1;
    let mut long = row("bad", "r", "a", State::Started);
    long.message = Some("x".repeat(2_000));
    let mut nameless = row("bad", "r", "a", State::Started);
    nameless.namespace_uid = String::new();
    let mut torn = row("bad", "r", "a", State::Started);
    torn.target = "a\0b".into();
    for bad in [newer, long, nameless, torn] {
        let good = row("bad", "r", "b", State::Started);
        let refused = store.append(rows([good, bad])).await;
        assert!(matches!(refused, Err(Error::Rejected(_))));
    }
    for (kind, name) in [
        ("", "a"),
        ("JobRun", "a\0b"),
        ("JobRun", &*"a".repeat(2_000)),
    ] {
        let batch = Batch {
            archived: vec![archived("bad", kind, name, "1")],
            ..Batch::default()
        };
        let refused = store.append(batch).await;
        assert!(matches!(refused, Err(Error::Rejected(_))));
    }
    let (mut newer, mut long, mut torn) = (decided("bad", 1), decided("bad", 1), decided("bad", 1));
    newer.version += 1;
    long.statement.reason = "x".repeat(2_000);
    torn.statement.rule = "a\nb".into();
    for bad in [newer, long, torn, decided("bad", 0)] {
        let refused = store.append(told([decided("bad", 2), bad])).await;
        assert!(matches!(refused, Err(Error::Rejected(_))));
    }
    assert!(
        listed(store, "bad", vec![]).await.is_empty(),
        "nothing of a refused batch is kept"
    );
}

fn retention(age: Duration, removals: Duration, protected: &[&str]) -> Retention {
    Retention {
        audit: Duration::from_hours(365 * 24),
        age,
        size: u64::MAX,
        removals,
        protected_runs: protected
            .iter()
            .map(ToString::to_string)
            .collect::<HashSet<_>>(),
    }
}

const DAY: Duration = Duration::from_hours(24);

async fn retention_takes_the_old_and_spares_live_runs(store: &dyn Store) {
    append(
        store,
        rows([
            row("old", "over", "a", State::Failed),
            row("old", "live", "a", State::Started),
        ]),
    )
    .await;
    archive(store, [archived("old", "JobRun", "over", "1")]).await;
    let in_archive = async || {
        let namespaces = vec!["old-uid".to_owned()];
        let query = ArchiveQuery {
            namespaces,
            limit: 100,
            ..ArchiveQuery::default()
        };
        in_archive(store, query).await.0.len()
    };
    let before = store.position().borrow().seq;
    let keep = store
        .sweep(retention(DAY, DAY, &[]), Timestamp::now())
        .await
        .expect("a sweep is answered");
    assert_eq!(keep.rows, 0, "what is young stays");
    let soon = Timestamp::now() + DAY / 48;
    let keep = store
        .sweep(retention(Duration::ZERO, DAY, &[]), soon)
        .await
        .expect("a sweep is answered");
    assert_eq!(keep.rows, 0, "an hour is the least age");
    assert_eq!(in_archive().await, 1, "of archives too");
    let tomorrow = Timestamp::now() + DAY + DAY;
    let swept = store
        .sweep(retention(DAY, DAY, &["live-uid"]), tomorrow)
        .await
        .expect("a sweep is answered");
    assert!(swept.rows > 0);
    assert_eq!(in_archive().await, 0, "an archive is kept as long as rows");
    assert_eq!(
        names(&listed(store, "old", vec![]).await),
        ["live.step.a.1"],
        "a run that is not over stays"
    );
    let told = store
        .changes(before, Some("old-uid".into()), 100)
        .await
        .expect("changes are answered");
    let removed: Vec<_> = told
        .rows
        .iter()
        .map(|r| (r.name.as_str(), r.removed))
        .collect();
    assert_eq!(removed, [("over.step.a.1", true)], "a removal is a change");
}

async fn forgotten_positions_expire(store: &dyn Store) {
    append(store, rows([row("gone", "gone", "a", State::Failed)])).await;
    let before = store.position().borrow().seq;
    let later = Timestamp::now() + DAY + DAY;
    for now in [later, later + DAY + DAY] {
        store
            .sweep(retention(DAY, DAY, &[]), now)
            .await
            .expect("a sweep is answered");
    }
    let stale = store.changes(before, None, 100).await;
    assert!(
        matches!(stale, Err(Error::Expired { .. })),
        "a watch from before a forgotten removal lists again"
    );
    let now = store.position().borrow().seq;
    let current = store
        .changes(now, None, 100)
        .await
        .expect("the present is never forgotten");
    assert!(current.rows.is_empty());
}
