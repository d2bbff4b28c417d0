//! The log of a step pod, copied from its beginning to its end. A stream that breaks is opened again and read past what was seen; what the node has rotated away by then can not be had any more.

use std::time::Duration;

use crds::journal::Stream;
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{Recorder, manifest::CONTAINER};

/// How long a log may stay silent once its container is over.
const SILENCE: Duration = Duration::from_secs(10);

/// How long after a stream's end the container's end may take to be known, before the stream counts as broken.
const NEWS: Duration = Duration::from_secs(1);

/// How far the container is, as far as its log is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Running,
    /// It is over, and there is a log.
    Over,
    /// It is over, and there is none to be had.
    Nothing,
}

/// One copy on its way.
pub(super) struct PodLog {
    pods: Api<Pod>,
    name: String,
    stage: watch::Receiver<Stage>,
    recorder: Recorder,
    /// Bytes of the log recorded so far.
    seen: u64,
    trouble: Option<String>,
}

impl PodLog {
    pub(super) fn new(
        pods: Api<Pod>,
        name: &str,
        stage: watch::Receiver<Stage>,
        recorder: Recorder,
    ) -> Self {
        Self {
            pods,
            name: name.to_owned(),
            stage,
            recorder,
            seen: 0,
            trouble: None,
        }
    }

    /// Copies until the container is over and its log has ended; says also why a part could not be had.
    pub(super) async fn copy(mut self) -> (Recorder, Option<String>) {
        self.reaches(|stage| stage != Stage::Waiting).await;
        while self.is(Stage::Running) {
            self.read(true).await;
            // The stream ends with the container or by accident; the watch tells which.
            let over = self.reaches(|stage| stage != Stage::Running);
            let _ = timeout(NEWS, over).await;
        }
        if self.is(Stage::Over) {
            // Once more from the beginning: a stream that is followed may have stopped early.
            self.read(false).await;
        }
        (self.recorder, self.trouble)
    }

    fn is(&self, stage: Stage) -> bool {
        *self.stage.borrow() == stage
    }

    /// A stage that can not come any more, because whoever tells it has stopped, is never reached.
    async fn reaches(&mut self, what: impl Fn(Stage) -> bool) {
        if self.stage.wait_for(|stage| what(*stage)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn read(&mut self, follow: bool) {
        let container = Some(CONTAINER.to_owned());
        let params = LogParams {
            container,
            follow,
            ..LogParams::default()
        };
        let mut stage = self.stage.clone();
        let opened = tokio::select! {
            opened = self.pods.log_stream(&self.name, &params) => opened,
            () = too_long_over(&mut stage) => return self.broken("its log does not come"),
        };
        let mut log = match opened {
            Ok(log) => Box::pin(log),
            Err(error) => return self.broken(&super::error::Refusal(error).said()),
        };
        let (mut buffer, mut position) = (vec![0; 32 << 10], 0);
        loop {
            let read = tokio::select! {
                read = log.read(&mut buffer) => read,
                () = too_long_over(&mut stage) => return self.broken("its log does not end"),
            };
            match read {
                Ok(0) => return self.trouble = None,
                Ok(count) => {
                    self.take(position, &buffer[..count]).await;
                    position += count as u64;
                }
                Err(error) => return self.broken(&error.to_string()),
            }
        }
    }

    /// Records what of the bytes at this position is new.
    async fn take(&mut self, position: u64, bytes: &[u8]) {
        let known = usize::try_from(self.seen.saturating_sub(position)).unwrap_or(usize::MAX);
        let new = &bytes[known.min(bytes.len())..];
        self.seen += new.len() as u64;
        self.recorder.record(Stream::Stdout, new).await;
    }

    fn broken(&mut self, why: &str) {
        self.trouble = Some(format!("the log is not complete: {why}"));
    }
}

async fn too_long_over(stage: &mut watch::Receiver<Stage>) {
    let _ = stage
        .wait_for(|stage| matches!(stage, Stage::Over | Stage::Nothing))
        .await;
    sleep(SILENCE).await;
}
