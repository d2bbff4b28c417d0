//! `executions/log`: the output of an execution as text, from any offset, and followed until the execution has ended.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use futures::stream;
use records::{Piece, Row, Store};
use serde::Deserialize;
use serving::telemetry::chain;
use tokio::{sync::mpsc, time};

use crate::{
    api::{Api, Resource, Target},
    failure::Failure,
    list::{find, yes},
};

/// Bytes read from the store at once.
const PORTION: usize = 256 * 1024;
/// Time for which a follower waits for output that an ended execution still owes.
const OWED: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parameters {
    follow: Option<String>,
    offset: Option<u64>,
    limit_bytes: Option<usize>,
}

/// `GET .../executions/NAME/log`
pub async fn read(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let target = Target {
        resource: Resource::Executions,
        namespace: Some(&namespace),
        name: Some(&name),
        subresource: Some("log"),
    };
    api.admit(&headers, "get", target).await?;
    let row = find(&api, &namespace, &name).await?;
    let (bytes, receiver) = mpsc::channel(4);
    let reader = Reader {
        store: api.slot.store()?,
        next: parameters.offset.unwrap_or(0),
        left: parameters.limit_bytes.unwrap_or(usize::MAX),
        row,
        bytes,
    };
    let follow = yes(parameters.follow.as_ref());
    tokio::spawn(api.shutdown.run_until_cancelled_owned(async move {
        let broken = reader.bytes.clone();
        if let Err(e) = reader.run(follow).await {
            tracing::warn!(error = chain(&e), "log cut off");
            // The client must not take a part for the whole.
            let _ = broken.send(Err(e)).await;
        }
    }));
    let body = stream::unfold(receiver, async |mut bytes| {
        Some((bytes.recv().await?, bytes))
    });
    Ok((
        [(CONTENT_TYPE, "text/plain; charset=utf-8")],
        Body::from_stream(body),
    )
        .into_response())
}

struct Reader {
    store: Arc<dyn Store>,
    row: Row,
    /// Offset of the next byte to send.
    next: u64,
    /// Bytes that the client still wants.
    left: usize,
    bytes: mpsc::Sender<Result<Bytes, records::Error>>,
}

impl Reader {
    async fn run(mut self, follow: bool) -> Result<(), records::Error> {
        let mut position = self.store.position();
        let mut owed_until = None;
        loop {
            position.mark_unchanged();
            if !self.send_what_is_there().await? || !follow {
                return Ok(());
            }
            let ended = self.row.execution.state.is_terminal();
            if ended && self.next >= self.row.execution.output_bytes {
                return Ok(());
            }
            let wait = if ended {
                let until = *owed_until.get_or_insert_with(|| time::Instant::now() + OWED);
                time::timeout_at(until, position.changed()).await
            } else {
                tokio::select! {
                    changed = position.changed() => Ok(changed),
                    () = self.bytes.closed() => return Ok(()),
                }
            };
            let Ok(Ok(())) = wait else { return Ok(()) };
            let namespace = self.row.execution.namespace_uid.clone();
            // A row that retention took has no more output.
            let Some(row) = self.store.get(namespace, self.row.name.clone()).await? else {
                return Ok(());
            };
            self.row = row;
        }
    }

    /// False when the client has had enough, or is gone.
    async fn send_what_is_there(&mut self) -> Result<bool, records::Error> {
        let digest = self.row.execution.key.digest();
        loop {
            let pieces = self.store.log(digest.clone(), self.next, PORTION).await?;
            if pieces.is_empty() {
                return Ok(true);
            }
            for piece in pieces {
                if !self.send(piece).await {
                    return Ok(false);
                }
            }
        }
    }

    async fn send(&mut self, piece: Piece) -> bool {
        let end = piece.offset + piece.data.len() as u64;
        if piece.offset > self.next {
            let missing = piece.offset - self.next;
            let note = format!("\n[{missing} bytes of output were not kept]\n");
            self.next = piece.offset;
            if self.bytes.send(Ok(note.into())).await.is_err() {
                return false;
            }
        }
        let known = usize::try_from(self.next - piece.offset).unwrap_or(usize::MAX);
        let Some(mut fresh) = piece.data.get(known..) else {
            return true;
        };
        fresh = &fresh[..fresh.len().min(self.left)];
        self.left -= fresh.len();
        self.next = end;
        let sent = self.bytes.send(Ok(Bytes::copy_from_slice(fresh))).await;
        sent.is_ok() && self.left > 0
    }
}
