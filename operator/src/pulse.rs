//! Feels whether the processors keep up: a task that means to come every few milliseconds and comes later was behind all others that want them. Work is taken in hand accordingly.

use std::time::Duration;

use decide::pace::Pace;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, sleep_until};

use crate::places::Places;

const BEAT: Duration = Duration::from_millis(50);

/// Keeps what a namespace may have in hand to that, and tells how much it is, as long as the process lives.
pub async fn felt(places: Places, most: usize, told: Gauge) {
    let mut pace = Pace::new(most);
    loop {
        let due = Instant::now() + BEAT;
        sleep_until(due).await;
        let may = pace.heard(due.elapsed());
        places.bound(may);
        told.set(i64::try_from(may).unwrap_or(i64::MAX));
    }
}
