//! How many handshakes may be under way at once: doubles while that makes more of them succeed in a second, then grows by one a round, and shrinks by a third at a sign of congestion.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
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
    start: usize,
    max: usize,
    /// Permits that are to vanish when they come back.
    debt: usize,
    under_way: usize,
    idle_since: Instant,
    /// When the limit last shrank.
    shrunk: Option<Instant>,
    growth: Growth,
    /// Targets whose congestion was counted and that have not succeeded since; one that never answers must not stop the fleet.
    blamed: HashSet<String>,
    /// The current round: when it began and how many have succeeded in it. It ends with as many as the limit was.
    round: (Instant, usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    /// Twice as many each round, as long as a round is faster than the one before, which did so many a second.
    Doubling {
        rate: f64,
    },
    ByOne,
}

/// The limit never falls below this, so that one bad server cannot stop the fleet.
const FLOOR: usize = 4;

/// How much faster a round must be for doubling to go on; where servers or processors are the limit, more at once only makes each slower.
const GAIN: f64 = 1.25;

/// After so long without a handshake, what was learnt of other servers is forgotten.
const MEMORY: Duration = Duration::from_secs(30);

impl Limiter {
    pub fn new(start: usize, max: usize) -> Self {
        let max = max.max(FLOOR);
        let limit = start.clamp(FLOOR, max);
        let now = Instant::now();
        let state = State {
            limit,
            start: limit,
            max,
            debt: 0,
            under_way: 0,
            idle_since: now,
            shrunk: None,
            growth: Growth::Doubling { rate: 0.0 },
            blamed: HashSet::new(),
            round: (now, 0),
        };
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Waits for a place among the handshakes under way.
    pub async fn acquire(&self) -> Place {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let since = Instant::now();
        self.enter(since);
        Place {
            permit: Some(permit.expect("the semaphore is never closed")),
            limiter: self.clone(),
            since,
        }
    }

    /// How many handshakes may be under way at once just now.
    pub fn limit(&self) -> usize {
        self.lock().limit
    }

    /// Nobody uses it, and nothing that it knows still counts.
    pub fn is_forgotten(&self) -> bool {
        let state = self.lock();
        // The one in the fleet's own hands is the last.
        let unused = Arc::strong_count(&self.state) == 1 && state.under_way == 0;
        unused && state.idle_since.elapsed() > MEMORY
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, now: Instant) {
        let mut state = self.lock();
        state.under_way += 1;
        if state.under_way > 1 {
            return;
        }
        if now - state.idle_since > MEMORY {
            self.set(&mut state, |state| state.start);
            (state.shrunk, state.growth) = (None, Growth::Doubling { rate: 0.0 });
            state.blamed.clear();
        }
        state.round = (now, 0);
    }

    fn grow(&self, target: &str, now: Instant) {
        let mut state = self.lock();
        state.blamed.remove(target);
        state.round.1 += 1;
        let (began, succeeded) = state.round;
        if succeeded < state.limit {
            return;
        }
        state.round = (now, 0);
        match state.growth {
            Growth::ByOne => self.set(&mut state, |state| state.limit + 1),
            Growth::Doubling { rate: before } => {
                let count = u32::try_from(succeeded).unwrap_or(u32::MAX);
                let rate = f64::from(count) / (now - began).as_secs_f64().max(1e-6);
                if rate > before * GAIN {
                    state.growth = Growth::Doubling { rate };
                    self.set(&mut state, |state| state.limit * 2);
                } else {
                    state.growth = Growth::ByOne;
                    self.set(&mut state, |state| state.limit / 2);
                }
            }
        }
    }

    fn shrink(&self, target: &str, started: Instant, now: Instant) {
        let mut state = self.lock();
        if !state.blamed.insert(target.to_owned()) {
            return;
        }
        // What began before the last cut says nothing about the limit that the cut set.
        if state.shrunk.is_some_and(|at| started < at) {
            return;
        }
        (state.shrunk, state.growth, state.round) = (Some(now), Growth::ByOne, (now, 0));
        self.set(&mut state, |state| state.limit - state.limit.div_ceil(3));
    }

    /// Changes the limit; permits that are in use vanish when they come back.
    fn set(&self, state: &mut State, limit: impl FnOnce(&State) -> usize) {
        let limit = limit(state).clamp(FLOOR, state.max);
        let fewer = state.limit.saturating_sub(limit);
        state.debt += fewer - self.permits.forget_permits(fewer);
        let more = limit.saturating_sub(state.limit);
        let repaid = more.min(state.debt);
        state.debt -= repaid;
        self.permits.add_permits(more - repaid);
        state.limit = limit;
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
    /// The handshake with the target went through.
    pub fn succeeded(self, target: &str) {
        self.limiter.grow(target, Instant::now());
    }

    /// The handshake went through, after silence that only congestion explains.
    pub fn succeeded_late(self, target: &str) {
        self.limiter.shrink(target, self.since, Instant::now());
        self.limiter.lock().blamed.remove(target);
    }

    /// The target dropped the handshake or let it time out; counts once until it succeeds.
    pub fn congested(self, target: &str) {
        self.limiter.shrink(target, self.since, Instant::now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.under_way -= 1;
        state.idle_since = Instant::now();
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

    /// A round of successes that each took so long; the clock is an argument, so that nothing waits.
    async fn round(limiter: &Limiter, clock: &mut Instant, took: Duration) {
        let held = places(limiter, limiter.limit()).await;
        limiter.lock().round.0 = *clock;
        *clock += took;
        for _ in &held {
            limiter.grow("", *clock);
        }
    }

    #[tokio::test]
    async fn it_doubles_while_rounds_get_faster_and_goes_back_when_they_do_not() {
        let (limiter, mut clock) = (Limiter::new(8, 1000), Instant::now());
        let second = Duration::from_secs(1);
        round(&limiter, &mut clock, second).await;
        round(&limiter, &mut clock, second).await;
        assert_eq!(
            limiter.limit(),
            32,
            "far hosts: twice as many in the same time"
        );
        round(&limiter, &mut clock, second * 2).await;
        assert_eq!(limiter.limit(), 16, "no more a second than before");
        round(&limiter, &mut clock, second).await;
        assert_eq!(limiter.limit(), 17);
    }

    #[tokio::test]
    async fn one_round_of_failures_cuts_once_and_returned_places_vanish() {
        let limiter = Limiter::new(30, 30);
        for (n, place) in places(&limiter, 30).await.into_iter().enumerate() {
            place.congested(&n.to_string());
        }
        assert_eq!(limiter.limit(), 20);
        let held = places(&limiter, 20).await;
        let more = tokio::time::timeout(Duration::from_millis(5), limiter.acquire()).await;
        assert!(more.is_err(), "no more places than the limit");
        drop(held);
    }

    #[tokio::test]
    async fn it_stays_between_its_bounds_and_forgets_after_a_while() {
        let limiter = Limiter::new(6, 8);
        for n in 0..20 {
            limiter.acquire().await.congested(&n.to_string());
        }
        assert_eq!(limiter.limit(), FLOOR);
        for _ in 0..20 {
            for place in places(&limiter, limiter.limit()).await {
                place.succeeded("a");
            }
        }
        assert_eq!(limiter.limit(), 8);
        limiter.acquire().await.congested("a");
        limiter.enter(Instant::now() + MEMORY * 2);
        assert_eq!(
            (limiter.limit(), limiter.lock().growth),
            (6, Growth::Doubling { rate: 0.0 })
        );
    }

    #[tokio::test]
    async fn a_host_that_never_answers_cuts_once_until_it_succeeds() {
        let limiter = Limiter::new(30, 30);
        for _ in 0..20 {
            limiter.acquire().await.congested("silent");
        }
        assert_eq!(limiter.limit(), 20);
        limiter.acquire().await.congested("another");
        assert_eq!(limiter.limit(), 13);
        limiter.acquire().await.succeeded("silent");
        limiter.acquire().await.congested("silent");
        assert_eq!(limiter.limit(), 8);
    }
}
