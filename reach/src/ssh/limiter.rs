//! How many handshakes may be under way at once: doubles until the first sign of congestion, then grows by one a round and shrinks by a third.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Additive increase, multiplicative decrease over the number of simultaneous handshakes.
#[derive(Clone, Debug)]
pub struct Limiter {
    permits: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    max: usize,
    /// Successes since the limit last grew.
    successes: usize,
    /// Permits that are to vanish when they come back.
    debt: usize,
    /// When the limit last shrank; `None` while it still doubles.
    shrunk: Option<Instant>,
}

/// The limit never falls below this, so that one bad server cannot stop the fleet.
const FLOOR: usize = 4;

impl Limiter {
    pub fn new(start: usize, max: usize) -> Self {
        let max = max.max(FLOOR);
        let limit = start.clamp(FLOOR, max);
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            state: Arc::new(Mutex::new(State {
                limit,
                max,
                successes: 0,
                debt: 0,
                shrunk: None,
            })),
        }
    }

    /// Waits for a place among the handshakes under way.
    pub async fn acquire(&self) -> Place {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        Place {
            permit: Some(permit.expect("the semaphore is never closed")),
            limiter: self.clone(),
            since: Instant::now(),
        }
    }

    /// How many handshakes may be under way at once just now.
    pub fn limit(&self) -> usize {
        self.lock().limit
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grow(&self) {
        let mut state = self.lock();
        state.successes += 1;
        let needed = if state.shrunk.is_some() {
            state.limit
        } else {
            1
        };
        if state.successes < needed || state.limit == state.max {
            return;
        }
        state.successes = 0;
        state.limit += 1;
        match state.debt {
            0 => self.permits.add_permits(1),
            _ => state.debt -= 1,
        }
    }

    fn shrink(&self, started: Instant) {
        let mut state = self.lock();
        // What began before the last cut says nothing about the limit that the cut set.
        if state.shrunk.is_some_and(|at| started < at) {
            return;
        }
        let cut = (state.limit.div_ceil(3)).min(state.limit - FLOOR);
        state.limit -= cut;
        state.successes = 0;
        state.shrunk = Some(Instant::now());
        state.debt += cut - self.permits.forget_permits(cut);
    }
}

/// A place among the handshakes under way, given back when dropped.
#[derive(Debug)]
pub struct Place {
    permit: Option<OwnedSemaphorePermit>,
    limiter: Limiter,
    since: Instant,
}

impl Place {
    /// The handshake went through.
    pub fn succeeded(self) {
        self.limiter.grow();
    }

    /// The server dropped the handshake or let it time out.
    pub fn congested(self) {
        self.limiter.shrink(self.since);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        if state.debt > 0 {
            state.debt -= 1;
            if let Some(permit) = self.permit.take() {
                permit.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn places(limiter: &Limiter, n: usize) -> Vec<Place> {
        let mut places = Vec::new();
        for _ in 0..n {
            places.push(limiter.acquire().await);
        }
        places
    }

    #[tokio::test]
    async fn it_doubles_until_the_first_congestion_then_grows_by_one_a_round() {
        let limiter = Limiter::new(8, 100);
        places(&limiter, 8)
            .await
            .into_iter()
            .for_each(Place::succeeded);
        assert_eq!(limiter.limit(), 16);
        limiter.acquire().await.congested();
        assert_eq!(limiter.limit(), 10);
        places(&limiter, 10)
            .await
            .into_iter()
            .for_each(Place::succeeded);
        assert_eq!(limiter.limit(), 11);
    }

    #[tokio::test]
    async fn one_round_of_failures_cuts_once_and_returned_places_vanish() {
        let limiter = Limiter::new(30, 30);
        places(&limiter, 30)
            .await
            .into_iter()
            .for_each(Place::congested);
        assert_eq!(limiter.limit(), 20);
        let held = places(&limiter, 20).await;
        let more =
            tokio::time::timeout(std::time::Duration::from_millis(5), limiter.acquire()).await;
        assert!(more.is_err(), "no more places than the limit");
        drop(held);
    }

    #[tokio::test]
    async fn it_stays_between_its_bounds() {
        let limiter = Limiter::new(6, 8);
        for _ in 0..20 {
            limiter.acquire().await.congested();
        }
        assert_eq!(limiter.limit(), FLOOR);
        for _ in 0..200 {
            limiter.acquire().await.succeeded();
        }
        assert_eq!(limiter.limit(), 8);
        assert_eq!(places(&limiter, 8).await.len(), 8);
    }
}
