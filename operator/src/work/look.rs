//! Looking again until something is as it should be: the one wait of steps that bring a state about or hope for one.

use std::time::Duration;

use crds::execution::State;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Outcome, REST, Work};

/// Whoever takes a step up when its time is over still looks once, for this long.
const ONCE: Duration = Duration::from_secs(10);
/// The rest between two looks doubles up to here, unless the step says how long it is.
const MAX_REST: Duration = Duration::from_secs(5);

/// What a look has seen.
pub enum Seen {
    There,
    /// Not yet; what is waited for.
    Waits(String),
}

/// How long something is left alone between two looks.
pub struct Rests {
    next: Duration,
    most: Duration,
}

impl Rests {
    pub fn of(every: Duration) -> Self {
        let every = every.max(REST);
        Self {
            next: every,
            most: every,
        }
    }

    pub fn growing() -> Self {
        Self {
            next: REST,
            most: MAX_REST,
        }
    }

    fn next(&mut self) -> Duration {
        let rest = self.next;
        self.next = (rest * 2).min(self.most);
        rest
    }
}

impl Work {
    /// Looks until it is there, the patience is over or the work is cancelled; `tell` hears of whatever is waited for, once.
    pub async fn look<F>(
        &self,
        patience: Duration,
        mut rests: Rests,
        mut look: impl FnMut() -> F,
        mut tell: impl FnMut(&str),
    ) -> Outcome
    where
        F: Future<Output = Result<Seen, Outcome>>,
    {
        let began = Instant::now();
        let deadline = began + patience.max(ONCE);
        let mut waits = String::from("nothing was seen of it yet");
        loop {
            let now = match timeout_at(deadline, look()).await {
                Ok(Ok(Seen::There)) => return Outcome::new(State::Succeeded, "", ""),
                Ok(Ok(Seen::Waits(now))) => now,
                Ok(Err(outcome)) if outcome.is_passing(began.elapsed()) => outcome.message,
                Ok(Err(outcome)) => return outcome,
                Err(_) => return Outcome::new(State::TimedOut, "TimedOut", waits),
            };
            if now != waits {
                tell(&now);
                waits = now;
            }
            if Instant::now() - began >= patience {
                return Outcome::new(State::TimedOut, "TimedOut", waits);
            }
            let rest = rests.next();
            tokio::select! {
                () = sleep(rest.min(deadline.saturating_duration_since(Instant::now()))) => {}
                () = self.cancel.cancelled() => return Outcome::new(State::Cancelled, "Cancelled", waits),
            }
        }
    }

    /// What is left of a time that began with the attempt, whichever operator began it.
    pub fn left(&self, whole: crds::v1alpha1::Duration) -> Duration {
        whole.get().saturating_sub(self.passed())
    }

    /// How long ago the attempt began.
    pub fn passed(&self) -> Duration {
        let now = jiff::Timestamp::now();
        let passed = now.duration_since(self.row.started_at.unwrap_or(now));
        Duration::try_from(passed).unwrap_or_default()
    }
}
