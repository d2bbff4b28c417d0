//! Feels whether the processors keep up: a task that means to come every few milliseconds and comes later was behind all others that want them. Work is taken in hand accordingly.

use std::time::Duration;

use decide::pace::Pace;
use tokio::time::{Instant, sleep_until};

use crate::context::Context;

const BEAT: Duration = Duration::from_millis(50);

/// Keeps what a namespace may have in hand to that, and tells how much it is, as long as the process lives.
pub async fn felt(ctx: &Context) {
    let mut pace = Pace::new(ctx.args.max_in_flight);
    loop {
        let due = Instant::now() + BEAT;
        sleep_until(due).await;
        let may = pace.heard(due.elapsed());
        ctx.hands.places.bound(may);
        ctx.metrics
            .may_hold
            .set(i64::try_from(may).unwrap_or(i64::MAX));
    }
}
