//! How much the operator has in hand at once, and who goes first.

use tokio::sync::Semaphore;

use crate::{crowds::Crowds, places::Places, turns::Turns};

/// Runs of ScheduledTasks that are begun together, and as many statuses that are written.
const TOGETHER: usize = 32;
/// Hosts that are looked at over SSH together; fewer, so that the others get a turn meanwhile.
const LOOKS: usize = 24;

pub struct Hands {
    pub turns: Turns,
    pub places: Places,
    pub crowds: Crowds,
    /// Looks at hosts under way; who gets no place asks again later.
    pub looks: Places,
    /// Runs of ScheduledTasks that are created together, and statuses that are written together.
    pub starting: Semaphore,
    pub settling: Semaphore,
}

impl Hands {
    /// With so many executions in flight.
    pub fn new(in_flight: usize) -> Self {
        Self {
            turns: Turns::default(),
            places: Places::new(in_flight),
            crowds: Crowds::new(in_flight),
            looks: Places::new(LOOKS),
            starting: Semaphore::new(TOGETHER),
            settling: Semaphore::new(TOGETHER),
        }
    }
}
