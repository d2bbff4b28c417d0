//! What every store must do with objects that have finished.

use crds::{archive::Archived, execution::Batch};
use jiff::Timestamp;

use super::append;
use crate::{ArchiveQuery, Cursor, Store};

/// An object of the namespace `namespace` that has finished.
pub fn archived(namespace: &str, kind: &str, name: &str, uid: &str) -> Archived {
    Archived {
        kind: kind.into(),
        name: name.into(),
        namespace: namespace.into(),
        namespace_uid: format!("{namespace}-uid"),
        uid: format!("{uid}-9c1f"),
        outcome: "Succeeded".into(),
        finished_at: Timestamp::UNIX_EPOCH,
        object: serde_json::json!({"kind": kind, "spec": {"note": "a\u{0}b"}}),
    }
}

pub(super) async fn archive(store: &dyn Store, archived: impl Into<Vec<Archived>>) {
    let archived = archived.into();
    let batch = Batch {
        archived,
        ..Batch::default()
    };
    append(store, batch).await;
}

pub(super) async fn in_archive(
    store: &dyn Store,
    query: ArchiveQuery,
) -> (Vec<Archived>, Option<Cursor>) {
    let page = store.archived(query).await.expect("a list is answered");
    let rows = page.rows.into_iter().map(|row| row.archived);
    (rows.collect(), page.next)
}

pub(super) async fn finished_objects_are_found(store: &dyn Store) {
    let run = |name: &str, uid: &str| archived("ended", "JobRun", name, uid);
    let mut objects = vec![
        run("nightly", "11111111"),
        run("nightly", "22222222"),
        run("nightly.two", "33333333"),
        archived("ended", "RunAction", "nightly", "44444444"),
        archived("ended-too", "JobRun", "nightly", "55555555"),
    ];
    archive(store, objects.clone()).await;
    objects[1].outcome = "Failed".into();
    archive(store, [objects[1].clone()]).await;
    let both = ["ended-uid", "none-uid", "ended-too-uid"].map(String::from);
    let query = ArchiveQuery {
        namespaces: both.to_vec(),
        limit: 100,
        ..ArchiveQuery::default()
    };
    let (found, next) = in_archive(store, query.clone()).await;
    assert_eq!(
        (&found, next),
        (&objects, None),
        "as they were told of last, in order"
    );
    let mut paged = Vec::new();
    let mut page = ArchiveQuery {
        limit: 2,
        ..query.clone()
    };
    loop {
        let (found, next) = in_archive(store, page.clone()).await;
        paged.extend(found);
        let Some(cursor) = next else { break };
        page.namespaces
            .retain(|uid| *uid == cursor.namespace_uid || uid == "ended-too-uid");
        page.after = Some(cursor);
    }
    assert_eq!(paged, objects, "page after page");
    let name = |text: &str| Some(text.to_owned());
    for (query, wanted) in [
        (
            ArchiveQuery {
                kind: name("JobRun"),
                object: name("nightly"),
                ..query.clone()
            },
            vec![0, 1, 4],
        ),
        (
            ArchiveQuery {
                object: name("nightly"),
                ..query.clone()
            },
            vec![0, 1, 3, 4],
        ),
        (
            ArchiveQuery {
                kind: name("RunAction"),
                ..query.clone()
            },
            vec![3],
        ),
        (
            ArchiveQuery {
                name: name("jobrun.nightly.22222222"),
                ..query.clone()
            },
            vec![1],
        ),
        (
            ArchiveQuery {
                namespaces: vec!["ended-too-uid".into()],
                ..query.clone()
            },
            vec![4],
        ),
        (
            ArchiveQuery {
                object: name("a\0b"),
                ..query
            },
            vec![],
        ),
    ] {
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|n: usize| objects[n].clone())
            .collect();
        assert_eq!(in_archive(store, query).await.0, wanted);
    }
}
