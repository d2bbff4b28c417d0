//! How long a host is sought, and the growing rests between two attempts.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// First and longest rest.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);

/// What is left of the time to find a host.
#[derive(Debug)]
pub(super) struct Patience {
    deadline: Instant,
    rest: Duration,
}

impl Patience {
    pub(super) fn lasting(time: Duration) -> Self {
        Self {
            deadline: Instant::now() + time,
            rest: FIRST,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Rests before the next attempt; false at once when that would come too late.
    pub(super) async fn rest(&mut self) -> bool {
        if Instant::now() + self.rest >= self.deadline {
            return false;
        }
        sleep(self.rest).await;
        self.rest = (self.rest * 2).min(LAST);
        true
    }
}
