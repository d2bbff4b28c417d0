//! Firings that are due go before everything else: while one is on its way, few other requests are made of the API server.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
};

use http::Request;
use tokio::sync::Notify;
use tower::Service;

/// Other requests under way while a firing is; never none, so that nothing starves.
const FEW: usize = 2;

/// Who is on the way. Clones share it.
#[derive(Clone, Default)]
pub struct Precedence(Arc<Shared>);

#[derive(Default)]
struct Shared {
    under_way: Mutex<UnderWay>,
    left: Notify,
}

#[derive(Default)]
struct UnderWay {
    firings: usize,
    others: usize,
}

/// A firing that goes first until this is dropped.
pub struct Firing(Precedence);

/// Another request that is under way.
struct Other(Precedence);

impl Precedence {
    /// Goes first.
    pub fn firing(&self) -> Firing {
        self.lock().firings += 1;
        Firing(self.clone())
    }

    /// Waits until one more of the others may go.
    async fn other(self) -> Other {
        loop {
            let mut left = pin!(self.0.left.notified());
            left.as_mut().enable();
            if self.lock().enter() {
                return Other(self.clone());
            }
            left.await;
        }
    }

    fn left(&self, change: impl FnOnce(&mut UnderWay)) {
        change(&mut self.lock());
        self.0.left.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.under_way.lock().expect("no holder panics")
    }
}

impl UnderWay {
    fn enter(&mut self) -> bool {
        let free = self.firings == 0 || self.others < FEW;
        self.others += usize::from(free);
        free
    }
}

impl Drop for Firing {
    fn drop(&mut self) {
        self.0.left(|under_way| under_way.firings -= 1);
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.left(|under_way| under_way.others -= 1);
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A service whose requests give way to firings.
pub struct GivingWay<S> {
    inner: S,
    precedence: Precedence,
    entering: Option<Boxed<Other>>,
    entered: Option<Other>,
}

impl<S> GivingWay<S> {
    pub const fn new(inner: S, precedence: Precedence) -> Self {
        Self {
            inner,
            precedence,
            entering: None,
            entered: None,
        }
    }
}

impl<B, S> Service<Request<B>> for GivingWay<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Boxed<Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.entered.is_none() {
            let precedence = &self.precedence;
            let enter = || -> Boxed<Other> { Box::pin(precedence.clone().other()) };
            let entering = self.entering.get_or_insert_with(enter);
            let entered = ready!(entering.as_mut().poll(cx));
            self.entering = None;
            self.entered = Some(entered);
        }
        self.inner.poll_ready(cx)
    }

    /// What is read after the head of the answer, as a watch is, is no longer under way.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let entered = self.entered.take().filter(|_| !is_passed_on(&request));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _entered = entered;
            answer.await
        })
    }
}

/// Whether a node answers, which may be dead, and not the API server.
fn is_passed_on<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    path.ends_with("/exec") || path.ends_with("/log")
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future::pending};
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn while_a_firing_is_on_its_way_few_others_are_and_never_none() {
        let precedence = Precedence::default();
        let other = || precedence.clone().other().now_or_never();
        let before: Vec<_> = (0..10).map(|_| other().expect("nothing fires")).collect();
        let firing = precedence.firing();
        assert!(other().is_none());
        drop(before);
        let few: Vec<_> = (0..FEW).map(|_| other().expect("a few may")).collect();
        assert!(other().is_none());
        drop(few);
        let second = precedence.firing();
        drop(firing);
        let _few: Vec<_> = (0..FEW).map(|_| other().expect("a few may")).collect();
        assert!(other().is_none(), "the second is still on its way");
        drop(second);
        assert!(other().is_some());
    }

    #[tokio::test]
    async fn a_request_that_waits_goes_when_the_firing_is_over_and_leaves_with_its_answer() {
        let precedence = Precedence::default();
        let inner = tower::service_fn(|request: Request<bool>| async move {
            if *request.body() {
                pending::<()>().await;
            }
            Ok::<(), ()>(())
        });
        let to = |path: &str, never| {
            let request = Request::get(path).body(never);
            request.expect("a request")
        };
        let service = || GivingWay::new(inner, precedence.clone());
        let firing = precedence.firing();
        let mut held: Vec<_> = (0..FEW)
            .map(|_| Box::pin(service().oneshot(to("/api/v1/pods", true))))
            .collect();
        for request in &mut held {
            assert!(request.now_or_never().is_none());
        }
        let mut next = service();
        assert!(next.ready().now_or_never().is_none());
        drop(firing);
        let next = next.ready().await.expect("it is ready");
        assert_eq!(next.call(to("/api/v1/pods", false)).await, Ok(()));
        let mut exec = Box::pin(service().oneshot(to("/api/v1/namespaces/n/pods/p/exec", true)));
        assert!((&mut exec).now_or_never().is_none());
        assert_eq!(precedence.lock().others, FEW, "a dead node holds up nobody");
    }
}
