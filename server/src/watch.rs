//! Watches: every change after a position, in order, as lines of JSON, with bookmarks for those who want them and 410 when the position is no longer
//! kept. Rows are told in their latest state; states in between may be left out, none is told twice.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use futures::stream;
use records::{Row, Selector, Store};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time};

use crate::{
    accept,
    api::Api,
    failure::Failure,
    list::{Parameters, Place, page, yes},
    object::{self, Shape},
    served,
};

/// Rows read at once.
const PORTION: usize = 500;
/// Time between bookmarks.
const BOOKMARK: Duration = Duration::from_mins(1);
/// A watch ends after this time unless the client asks for less; clients begin again from where they were.
const LONGEST: Duration = Duration::from_hours(1);

type Lines = mpsc::Sender<Result<Bytes, std::convert::Infallible>>;

/// Answers at once; events follow.
pub fn begin(
    api: Api,
    namespace: Option<String>,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let initial = yes(parameters.send_initial_events.as_ref());
    let asked = parameters.position()?;
    let (lines, receiver) = mpsc::channel(16);
    let watch = Watch {
        store: api.slot.store()?,
        uid: namespace
            .as_deref()
            .map(|n| api.uid_of(n))
            .transpose()?
            .flatten(),
        selector: parameters.selector()?,
        shape: accept::shape(headers, parameters.include_object.as_deref()),
        bookmarks: yes(parameters.allow_watch_bookmarks.as_ref()),
        after: if initial { None } else { asked },
        namespace,
        api,
        lines,
    };
    let asked = parameters.timeout_seconds.map(Duration::from_secs);
    let longest = asked.unwrap_or(LONGEST).min(LONGEST);
    tokio::spawn(async move {
        let shutdown = watch.api.shutdown.clone();
        let lines = watch.lines.clone();
        let ended = shutdown
            .run_until_cancelled(time::timeout(longest, watch.run(initial)))
            .await;
        if let Some(Ok(Err(Stop::Failed(failure)))) = ended {
            // A client that is gone needs no reason.
            let _ = send(
                &lines,
                &json!({"type": "ERROR", "object": failure.status()}),
            )
            .await;
        }
    });
    let body = stream::unfold(receiver, async |mut lines| {
        Some((lines.recv().await?, lines))
    });
    Ok((
        [(CONTENT_TYPE, "application/json")],
        Body::from_stream(body),
    )
        .into_response())
}

/// Why a watch ended.
enum Stop {
    ClientGone,
    /// The namespace was made anew; the client has to list again.
    NamespaceChanged,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<records::Error> for Stop {
    fn from(error: records::Error) -> Self {
        Self::Failed(error.into())
    }
}

struct Watch {
    api: Api,
    store: Arc<dyn Store>,
    namespace: Option<String>,
    /// UID of the one namespace, once it exists.
    uid: Option<String>,
    selector: Selector,
    shape: Shape,
    bookmarks: bool,
    /// Position up to which everything is told; none at first when everything is to be told.
    after: Option<i64>,
    lines: Lines,
}

impl Watch {
    async fn run(mut self, mark_initial: bool) -> Result<(), Stop> {
        let mut position = self.store.position();
        let mut namespaces = self.api.namespaces.clone();
        let mut bookmarks = time::interval_at(time::Instant::now() + BOOKMARK, BOOKMARK);
        let mut after = match self.after {
            Some(after) => after,
            None => self.everything().await?,
        };
        if mark_initial {
            self.bookmark(after, true).await?;
        }
        loop {
            position.mark_unchanged();
            after = self.changes(after).await?;
            tokio::select! {
                changed = position.changed() => changed.map_err(|_| Failure::Waiting("the store is"))?,
                changed = namespaces.changed() => {
                    changed.map_err(|_| Failure::Waiting("the list of namespaces is"))?;
                    self.follow_namespace()?;
                }
                _ = bookmarks.tick(), if self.bookmarks => self.bookmark(after, false).await?,
                () = self.lines.closed() => return Err(Stop::ClientGone),
            }
        }
    }

    /// Tells all rows as they are; the position from which changes follow.
    async fn everything(&self) -> Result<i64, Stop> {
        let namespace = self.namespace.as_deref();
        let mut place: Option<Place> = None;
        let mut begun = None;
        loop {
            let page = page(
                &self.api,
                &*self.store,
                namespace,
                &self.selector,
                place.as_ref(),
                PORTION,
            )
            .await?;
            let seq = *begun.get_or_insert(page.seq);
            for row in &page.rows {
                self.event("ADDED", row).await?;
            }
            let Some((namespace, cursor)) = page.next else {
                return Ok(seq);
            };
            place = Some(Place {
                namespace,
                uid: cursor.namespace_uid,
                name: cursor.name,
            });
        }
    }

    /// Tells what changed after a position; how far that went.
    async fn changes(&self, mut after: i64) -> Result<i64, Stop> {
        if self.namespace.is_some() && self.uid.is_none() {
            return Ok(after);
        }
        loop {
            let changes = self.store.changes(after, self.uid.clone(), PORTION).await?;
            for row in &changes.rows {
                if let Some(kind) = self.kind_of(row, after) {
                    self.event(kind, row).await?;
                }
            }
            let complete = changes.rows.len() < PORTION;
            after = changes.upto;
            if complete {
                return Ok(after);
            }
        }
    }

    /// What a change is to this client, who knows everything up to `after`; nothing when it never sees the row.
    fn kind_of(&self, row: &Row, after: i64) -> Option<&'static str> {
        let known = row.created <= after && self.selector.matched_before(row);
        let matches = self.selector.matches(row);
        if !self.exists(row) {
            return None;
        }
        match (row.removed, matches, known) {
            (true, _, _) => (row.created <= after && matches).then_some("DELETED"),
            (false, true, true) => Some("MODIFIED"),
            (false, true, false) => Some("ADDED"),
            (false, false, true) => Some("DELETED"),
            (false, false, false) => None,
        }
    }

    /// False for rows of a namespace whose name has another owner today.
    fn exists(&self, row: &Row) -> bool {
        let known = self.api.namespaces.borrow();
        let today = known.as_ref().and_then(|k| k.get(&row.execution.namespace));
        today.is_none_or(|uid| *uid == row.execution.namespace_uid)
    }

    fn follow_namespace(&mut self) -> Result<(), Stop> {
        let Some(name) = &self.namespace else {
            return Ok(());
        };
        let today = self.api.uid_of(name)?;
        if self.uid.is_some() && self.uid != today {
            return Err(Stop::NamespaceChanged);
        }
        self.uid = today;
        Ok(())
    }

    async fn event(&self, kind: &str, row: &Row) -> Result<(), Stop> {
        let alone = json!({"resourceVersion": row.seq.to_string()});
        let object = served::one(row, self.shape, &alone)?;
        send(&self.lines, &json!({"type": kind, "object": object})).await
    }

    async fn bookmark(&self, seq: i64, initial_end: bool) -> Result<(), Stop> {
        let mut metadata = json!({"resourceVersion": seq.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, version) = match self.shape {
            Shape::Whole => (object::KIND, object::API_VERSION),
            Shape::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1"),
            Shape::Table(_) => ("Table", "meta.k8s.io/v1"),
        };
        let object = json!({"kind": kind, "apiVersion": version, "metadata": metadata});
        send(&self.lines, &json!({"type": "BOOKMARK", "object": object})).await
    }
}

async fn send(lines: &Lines, event: &Value) -> Result<(), Stop> {
    let line = Bytes::from(format!("{event}\n"));
    lines.send(Ok(line)).await.map_err(|_| Stop::ClientGone)
}
