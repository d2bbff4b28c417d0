//! The fence: effects may be started up to a moment, which whoever holds the right to start them pushes on. What comes later waits, perhaps for ever.

use std::time::Instant;

use tokio::sync::watch;

/// What is asked right before each effect. Clones ask the same.
#[derive(Clone, Debug)]
pub struct Fence(watch::Receiver<Option<Instant>>);

/// Who opens and closes a fence.
#[derive(Debug)]
pub struct Warden(watch::Sender<Option<Instant>>);

impl Fence {
    /// A fence that never closes, for those who act alone.
    pub fn open() -> Self {
        Self(watch::channel(None).1)
    }

    pub fn is_open(&self) -> bool {
        self.0.borrow().is_none_or(|until| Instant::now() < until)
    }

    /// Returns while the fence is open: at once, when it is opened again, or never.
    pub async fn passed(&self) {
        let mut moments = self.0.clone();
        loop {
            moments.mark_unchanged();
            if self.is_open() {
                return;
            }
            if moments.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Warden {
    /// Keeps a fence open up to a moment of the monotonic clock.
    pub fn until(moment: Instant) -> Self {
        Self(watch::channel(Some(moment)).0)
    }

    pub fn fence(&self) -> Fence {
        Fence(self.0.subscribe())
    }

    pub fn keep_open_until(&self, moment: Instant) {
        self.0.send_replace(Some(moment));
    }

    pub fn close(&self) {
        self.keep_open_until(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt as _, poll};

    use super::*;

    #[tokio::test]
    async fn what_comes_too_late_waits_until_the_fence_is_opened_again() {
        let warden = Warden::until(Instant::now());
        let fence = warden.fence();
        let mut late = std::pin::pin!(fence.passed());
        assert!(poll!(&mut late).is_pending());
        warden.keep_open_until(Instant::now());
        assert!(poll!(&mut late).is_pending(), "that moment is over too");
        warden.keep_open_until(Instant::now() + Duration::from_mins(1));
        assert!(poll!(&mut late).is_ready());
        warden.close();
        drop(warden);
        assert!(fence.passed().now_or_never().is_none(), "for ever");
    }

    #[tokio::test]
    async fn who_acts_alone_never_waits() {
        assert!(Fence::open().passed().now_or_never().is_some());
    }
}
