//! Places for work in hand, shared out among namespaces, so that one team's flood never keeps another's work from starting.

use std::sync::{Arc, Mutex, MutexGuard};

use decide::shares::Shares;
use tokio::sync::oneshot;

/// Work that waits, and the way to tell it of its place.
struct Waiting {
    namespace: String,
    run: String,
    admit: oneshot::Sender<Place>,
}

/// All places. Clones share them.
#[derive(Clone)]
pub struct Places(Arc<Mutex<Shares<Waiting>>>);

/// A place, given back when dropped.
pub struct Place {
    of: Places,
    namespace: String,
}

impl Places {
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(Shares::new(places))))
    }

    /// Waits for a place for work of a run.
    pub async fn take(&self, namespace: &str, run: &str) -> Place {
        let (admit, admitted) = oneshot::channel();
        let waiting = Waiting {
            namespace: namespace.to_owned(),
            run: run.to_owned(),
            admit,
        };
        self.change(|shares| shares.come(namespace, waiting));
        admitted.await.expect("whoever waits is told")
    }

    /// Whether work of a run waits for a place.
    pub fn awaited_by(&self, run: &str) -> bool {
        let shares = self.lock();
        // One who gave up is passed over when its turn comes.
        let waits = |waiting: &Waiting| waiting.run == run && !waiting.admit.is_closed();
        shares.waiting().any(waits)
    }

    /// Those who have a place now are told of it; one who no longer waits gives it back by that.
    fn change(&self, change: impl FnOnce(&mut Shares<Waiting>) -> Vec<Waiting>) {
        let admitted = change(&mut self.lock());
        for waiting in admitted {
            let (of, namespace) = (self.clone(), waiting.namespace);
            drop(waiting.admit.send(Place { of, namespace }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shares<Waiting>> {
        self.0.lock().expect("no holder panics")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.change(|shares| shares.go(&self.namespace));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_place_comes_back_also_from_who_gave_up_waiting() {
        let places = Places::new(1);
        let first = places.take("a", "run-a").await;
        let gave_up = places.take("b", "run-b").now_or_never();
        assert!(gave_up.is_none(), "none is free");
        let mut third = Box::pin(places.take("c", "run-c"));
        assert!(third.as_mut().now_or_never().is_none());
        let waits = ["run-a", "run-b", "run-c"].map(|run| places.awaited_by(run));
        assert_eq!(waits, [false, false, true]);
        drop(first);
        third.await;
        places.take("a", "run-a").await;
    }
}
