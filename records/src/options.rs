//! How much a store takes of the machine.

/// How a store uses the machine.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Commands that may wait for the writer; senders wait beyond it.
    pub queue: usize,
    /// Batches committed together at most.
    pub group: usize,
    /// Connections for readers.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue: 1024,
            group: 512,
            readers: 4,
        }
    }
}
