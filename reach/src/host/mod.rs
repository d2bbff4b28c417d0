//! Work on a host: over the toolkit's journal (exactly once), or plainly (at most once, where nothing may be copied); and what a host says of itself.

mod answer;
mod error;
mod facts;
mod following;
mod journal;
mod lines;
mod patience;
mod plain;
mod toolkit;

pub use error::Error;
pub use facts::{Seen, facts};
pub use journal::{Windows, cancel, forget, run};
pub use lines::{Lines, answer};
pub use plain::run as run_plainly;
pub use toolkit::Toolkit;

use crds::journal::{End, Output, Started};

use crate::ssh;

/// What becomes known while an effect runs. Output comes in order and masked; a gap in its offsets is output that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Started(Started),
    Output(Output),
}

/// Where progress goes. A full channel slows the host's output down; a closed one stops nothing.
pub type Sink = tokio::sync::mpsc::Sender<Progress>;

/// What is known of an effect when this process stops looking.
#[derive(Debug)]
pub enum Outcome {
    /// It ended, or was kept from beginning.
    Ended(End),
    /// Journal: it may have begun, and the host did not tell its end in time. Ask again with the same key; nothing runs twice.
    Detached { started: bool, cause: Error },
    /// Plain: it was cut off in the middle, and nobody can say how far it got.
    Unknown { cause: ssh::Error },
    /// Cancelled before anything was sent: nothing was started.
    Cancelled,
    /// Cancelled, but the host could not be told, so it may go on.
    CancelUndelivered { cause: Error },
}
