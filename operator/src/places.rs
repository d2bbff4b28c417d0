//! Places for work in hand, shared out among namespaces, so that one team's flood never keeps another's work from starting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use decide::shares::Shares;
use tokio::sync::oneshot;

/// Work that waits, and the way to tell it of its place.
struct Waiting {
    namespace: String,
    admit: oneshot::Sender<Place>,
}

/// All places. Clones share them.
#[derive(Clone)]
pub struct Places(Arc<All>);

struct All {
    shares: Mutex<Shares<Waiting>>,
    /// How much work of a run waits.
    waits: Mutex<HashMap<String, usize>>,
}

/// A place, given back when dropped.
pub struct Place {
    of: Places,
    namespace: String,
}

impl Places {
    pub fn new(places: usize) -> Self {
        Self(Arc::new(All {
            shares: Mutex::new(Shares::new(places)),
            waits: Mutex::default(),
        }))
    }

    /// Waits for a place for work of a run.
    pub async fn take(&self, namespace: &str, run: &str) -> Place {
        let (admit, admitted) = oneshot::channel();
        let waiting = Waiting {
            namespace: namespace.to_owned(),
            admit,
        };
        let _counted = Counted::of(&self.0, run);
        self.change(|shares| shares.come(namespace, waiting));
        admitted.await.expect("whoever waits is told")
    }

    /// Has no namespace take more while it has so many.
    pub fn bound(&self, most: usize) {
        self.change(|shares| shares.bound(most));
    }

    /// Whether work of a run waits for a place.
    pub fn awaited_by(&self, run: &str) -> bool {
        let waits = self.0.waits.lock().expect("no holder panics");
        waits.contains_key(run)
    }

    /// How much work of a namespace waits for a place.
    pub fn line(&self, namespace: &str) -> usize {
        let shares = self.0.shares.lock().expect("no holder panics");
        shares.waiting(namespace)
    }

    /// Those who have a place now are told of it; one who no longer waits gives it back by that.
    fn change(&self, change: impl FnOnce(&mut Shares<Waiting>) -> Vec<Waiting>) {
        let admitted = change(&mut self.0.shares.lock().expect("no holder panics"));
        for waiting in admitted {
            let (of, namespace) = (self.clone(), waiting.namespace);
            drop(waiting.admit.send(Place { of, namespace }));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.change(|shares| shares.go(&self.namespace));
    }
}

/// Somebody of a run who waits, for as long as they do.
struct Counted<'a> {
    of: &'a All,
    run: &'a str,
}

impl<'a> Counted<'a> {
    fn of(of: &'a All, run: &'a str) -> Self {
        let mut waits = of.waits.lock().expect("no holder panics");
        *waits.entry(run.to_owned()).or_default() += 1;
        Self { of, run }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut waits = self.of.waits.lock().expect("no holder panics");
        if let Some(count) = waits.get_mut(self.run) {
            *count -= 1;
            if *count == 0 {
                waits.remove(self.run);
            }
        }
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
