//! Places for work in hand, shared out among namespaces, so that one team's flood never keeps another's work from starting.

use std::sync::{Arc, Mutex};

use decide::shares::Shares;
use tokio::sync::oneshot;

/// Who waits: a namespace, and the way to tell it of its place.
type Waiting = (String, oneshot::Sender<Place>);

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

    /// Waits for a place.
    pub async fn take(&self, namespace: &str) -> Place {
        let (admit, admitted) = oneshot::channel();
        let come = |shares: &mut Shares<_>| shares.come(namespace, (namespace.to_owned(), admit));
        self.change(come);
        admitted.await.expect("whoever waits is told")
    }

    /// Those who have a place now are told of it; one who no longer waits gives it back by that.
    fn change(&self, change: impl FnOnce(&mut Shares<Waiting>) -> Vec<Waiting>) {
        let admitted = change(&mut self.0.lock().expect("no holder panics"));
        for (namespace, admit) in admitted {
            let of = self.clone();
            drop(admit.send(Place { of, namespace }));
        }
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
        let first = places.take("a").await;
        assert!(places.take("b").now_or_never().is_none(), "none is free");
        let mut third = Box::pin(places.take("c"));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        third.await;
        places.take("a").await;
    }
}
