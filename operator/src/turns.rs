//! Turns of runs that are taken together. Of those that have not begun few are, so that under a flood runs end before others begin.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Turns at once, and those among them that may be of fresh runs.
const TURNS: usize = 32;
const FRESH: usize = 8;

pub struct Turns {
    all: Semaphore,
    fresh: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Semaphore::new(TURNS),
            fresh: Semaphore::new(FRESH),
        }
    }
}

/// A turn, over when dropped.
pub struct Turn<'a> {
    _of_all: SemaphorePermit<'a>,
    _of_fresh: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// Waits for the turn of a run.
    pub async fn take(&self, fresh: bool) -> Turn<'_> {
        let of_fresh = if fresh {
            Some(self.fresh.acquire().await.expect("it is never closed"))
        } else {
            None
        };
        Turn {
            _of_all: self.all.acquire().await.expect("it is never closed"),
            _of_fresh: of_fresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_flood_of_fresh_runs_leaves_turns_for_those_that_have_begun() {
        let turns = Turns::default();
        let take = |fresh| turns.take(fresh).now_or_never();
        let mut taken: Vec<_> = (0..FRESH).map(|_| take(true).expect("a turn")).collect();
        assert!(take(true).is_none());
        taken.extend((FRESH..TURNS).map(|_| take(false).expect("a turn")));
        assert!(take(false).is_none());
        taken.clear();
        assert!(take(true).is_some());
    }
}
