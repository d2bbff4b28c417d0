//! Whatever a client asks of the aggregated API is answered in the words of Kubernetes: a bounded page, a watch, a log, or a Status that is the client's own fault.
#![no_main]

use std::{collections::BTreeSet, sync::Arc, sync::LazyLock, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
    response::Response,
};
use crds::{
    execution::{Batch, LogChunk, State},
    names::RECORDS_AUDIENCE,
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use records::{Options, SqliteStore, Store as _, conformance::row};
use serde_json::Value;
use server::{
    api::{Api, router},
    slot::Slot,
};
use serving::{Attributes, Decision, Review, ReviewError, User};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const BASE: &str = "/apis/records.pilothouse.dev/v1alpha1";
const FRONT: &str = "system:serviceaccount:ops:pilothouse-front";
/// Rows of each of the two namespaces.
const ROWS: usize = 12;
/// No answer is longer than this.
const LONGEST: usize = 1 << 20;
/// A watch or a followed log goes on for ever; this much of it is read.
const MOMENT: Duration = Duration::from_millis(5);

/// Whoever asks may.
struct Anybody;

impl Review for Anybody {
    fn whose<'a>(
        &'a self,
        token: &'a str,
        audience: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<User>, ReviewError>> {
        assert!(audience.is_none_or(|audience| audience == RECORDS_AUDIENCE));
        let name = token.to_owned();
        Box::pin(async {
            Ok(Some(User {
                name,
                ..User::default()
            }))
        })
    }

    fn may<'a>(
        &'a self,
        _: &'a User,
        _: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, ReviewError>> {
        let (allowed, reason) = (true, String::new());
        Box::pin(async move { Ok(Decision { allowed, reason }) })
    }
}

struct World {
    runtime: Runtime,
    api: Api,
    _namespaces: watch::Sender<Option<Arc<server::namespaces::Known>>>,
    _folder: TempDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = TempDir::new().expect("a folder in memory");
    let store = SqliteStore::open(folder.path(), Options::default(), Timestamp::now());
    let store = store.expect("a new store");
    let rows: Vec<_> = (0..2 * ROWS)
        .map(|n| {
            let state = [State::Started, State::Succeeded, State::Failed][n % 3];
            row(
                ["a", "b"][n % 2],
                ["r", "run"][n % 5 % 2],
                &format!("t{n}"),
                state,
            )
        })
        .collect();
    let logs = rows.iter().map(|row| LogChunk {
        key: row.key.clone(),
        offset: 3,
        data: b"hello\n".to_vec(),
    });
    let batch = Batch {
        id: "all".into(),
        logs: logs.collect(),
        rows,
        ..Batch::default()
    };
    runtime.block_on(store.append(batch)).expect("rows");
    let slot = Slot::default();
    slot.fill(Arc::new(store));
    let known = ["a", "b", "empty"].map(|name| (name.to_owned(), format!("{name}-uid")));
    let (namespaces, heard) = watch::channel(Some(Arc::new(known.into())));
    let api = Api {
        slot,
        namespaces: heard,
        review: Arc::new(Anybody),
        keys: watch::channel(None).1,
        front: FRONT.into(),
        shutdown: CancellationToken::new(),
    };
    World {
        runtime,
        api,
        _namespaces: namespaces,
        _folder: folder,
    }
});

// A path with its query below the API's base, and on the next line an Accept header.
fuzz_target!(|text: &str| {
    let (path, accept) = text.split_once('\n').unwrap_or((text, "*/*"));
    WORLD.runtime.block_on(async {
        let Some(answer) = ask(path, accept).await else {
            return;
        };
        let next = hold(path, answer).await;
        // What is put behind one of these is not read as a parameter of its own.
        let plain = !path.contains("continue") && !path.contains(['#', '%']);
        if let Some(next) = next.filter(|_| plain) {
            to_the_end(path, accept, next).await;
        }
    });
});

/// The answer; none to what is no request of HTTP, or is not over in a moment.
async fn ask(path: &str, accept: &str) -> Option<(StatusCode, Vec<u8>)> {
    let request = Request::get(format!("{BASE}{path}"))
        .header("Authorization", format!("Bearer {FRONT}"))
        .header("X-Remote-User", "somebody")
        .header("Accept", accept)
        .body(Body::empty())
        .ok()?;
    let api = Api {
        shutdown: CancellationToken::new(),
        ..WORLD.api.clone()
    };
    let _ended = api.shutdown.clone().drop_guard();
    let Ok(response) = router(api).oneshot(request).await;
    let status = Response::status(&response);
    let body = timeout(MOMENT, to_bytes(response.into_body(), LONGEST)).await;
    assert!(
        body.is_ok() || status == StatusCode::OK,
        "a refusal is short"
    );
    Some((status, body.ok()?.expect("a bounded answer").into()))
}

/// Holds an answer against the promises; where its list goes on.
async fn hold(path: &str, (status, body): (StatusCode, Vec<u8>)) -> Option<String> {
    assert!(
        !status.is_server_error(),
        "{path}: {}",
        String::from_utf8_lossy(&body)
    );
    let said = serde_json::from_slice::<Value>(&body);
    if status == StatusCode::OK {
        let metadata = said.ok()?;
        return metadata["metadata"]["continue"].as_str().map(str::to_owned);
    }
    // Axum itself refuses a path or a query that cannot be read, in plain words.
    if let Ok(said) = said {
        assert_eq!(said["kind"], "Status", "{path}");
        assert_eq!(said["code"], status.as_u16(), "{path}");
    }
    None
}

/// Follows a list: no row comes twice, and it ends.
async fn to_the_end(path: &str, accept: &str, mut next: String) {
    let mut tokens = BTreeSet::new();
    loop {
        assert!(
            tokens.insert(next.clone()) && tokens.len() <= 2 * ROWS,
            "{path}: it goes on for ever"
        );
        let page = ask(&format!("{path}&continue={next}"), accept).await;
        let (status, body) = page.expect("as the page before");
        assert_eq!(
            status,
            StatusCode::OK,
            "{path}: {}",
            String::from_utf8_lossy(&body)
        );
        match hold(path, (status, body)).await {
            Some(later) => next = later,
            None => return,
        }
    }
}
