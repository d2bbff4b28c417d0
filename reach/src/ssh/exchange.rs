//! One command on its way: its output as it comes, then how it ended.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{task::JoinHandle, time::timeout};

use super::{Error, pool::Lease};

/// A piece of what a command wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    Stdout(Bytes),
    Stderr(Bytes),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(u32),
    /// Name of the signal, without SIG.
    Signal(String),
}

/// A command that ended, with what it wrote.
#[derive(Clone, Debug)]
pub struct Finished {
    pub exit: Exit,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Finished {
    pub fn succeeded(&self) -> bool {
        self.exit == Exit::Code(0)
    }
}

/// How long output may still come after the end: what a command left in the background can hold the channel open for ever.
const LINGER: Duration = Duration::from_secs(2);

/// An open session channel; dropping it closes it, and only then gives its place back.
pub(super) struct Open {
    output: ChannelReadHalf,
    input: Arc<ChannelWriteHalf<Msg>>,
    lease: Arc<Lease>,
    closed: bool,
}

impl Open {
    pub(super) fn new(channel: Channel<Msg>, lease: Lease) -> Self {
        let (output, input) = channel.split();
        Self {
            output,
            input: Arc::new(input),
            lease: Arc::new(lease),
            closed: false,
        }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    fn lost(&self) -> Error {
        Error::ConnectionLost {
            address: self.lease.endpoint().to_owned(),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let (input, lease) = (Arc::clone(&self.input), Arc::clone(&self.lease));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = input.close().await;
                drop(lease);
            });
        }
    }
}

/// A command under way. Dropping it closes its channel, which ends nothing on the host that ignores a closed terminal.
pub struct Exchange {
    open: Open,
    feeder: Option<JoinHandle<()>>,
    exit: Option<Exit>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("to", &self.open.lease.endpoint())
            .finish_non_exhaustive()
    }
}

impl Exchange {
    pub(super) async fn start(open: Open, command: &str, stdin: Bytes) -> Result<Self, Error> {
        open.input
            .exec(true, command)
            .await
            .map_err(|_| open.lost())?;
        // Input waits for the server's window, which opens only while somebody reads the output.
        let feeder = if stdin.is_empty() {
            open.input.eof().await.map_err(|_| open.lost())?;
            None
        } else {
            Some(tokio::spawn(feed(Arc::clone(&open.input), stdin)))
        };
        Ok(Self {
            open,
            feeder,
            exit: None,
        })
    }

    /// The next piece of output; `None` at the end, after which `exit` tells how it ended.
    pub async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        loop {
            let message = match &self.exit {
                None => self.open.output.wait().await,
                Some(_) => timeout(LINGER, self.open.output.wait())
                    .await
                    .unwrap_or(None),
            };
            self.open.closed |= matches!(message, Some(ChannelMsg::Close));
            match message {
                Some(ChannelMsg::Data { data }) => return Ok(Some(Chunk::Stdout(data))),
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                    return Ok(Some(Chunk::Stderr(data)));
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    self.exit = Some(Exit::Code(exit_status));
                }
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    self.exit = Some(Exit::Signal(format!("{signal_name:?}")));
                }
                Some(ChannelMsg::Failure) => {
                    return Err(Error::ExecRefused {
                        address: self.open.lease.endpoint().to_owned(),
                    });
                }
                Some(ChannelMsg::Close) | None if self.exit.is_some() => return Ok(None),
                Some(ChannelMsg::Close) | None => return Err(self.open.lost()),
                Some(_) => {}
            }
        }
    }

    /// How the command ended, once `next` has said `None`.
    pub fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    /// Waits for the end and keeps at most so many bytes of each stream; the rest is read and dropped.
    pub async fn finish(mut self, keep: usize) -> Result<Finished, Error> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(chunk) = self.next().await? {
            let (kept, bytes) = match &chunk {
                Chunk::Stdout(bytes) => (&mut stdout, bytes),
                Chunk::Stderr(bytes) => (&mut stderr, bytes),
            };
            kept.extend_from_slice(&bytes[..bytes.len().min(keep - kept.len())]);
        }
        let exit = self.exit.take().ok_or_else(|| self.open.lost())?;
        Ok(Finished {
            exit,
            stdout,
            stderr,
        })
    }
}

/// A command that ends early takes no more input, which is its right.
async fn feed(input: Arc<ChannelWriteHalf<Msg>>, stdin: Bytes) {
    if input.data_bytes(stdin).await.is_ok() {
        let _ = input.eof().await;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(feeder) = self.feeder.take() {
            feeder.abort();
        }
    }
}
