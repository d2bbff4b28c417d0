//! Clients of the API server that say nothing once the Lease may be somebody else's: the fence stands before every request, whatever it is, and what can wait gives way to firings.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use kube::{Client, Config, client::ClientBuilder};
use reach::Fence;
use tower::{Service, layer::layer_fn};

use crate::{
    error::{Error, Result},
    precedence::{GivingWay, Precedence},
};

/// A client that goes first.
pub fn prompt(config: Config, fence: &Fence) -> Result<Client> {
    client(config, fence, &Precedence::default())
}

/// A client that waits for the fence before each request, and gives way.
pub fn client(config: Config, fence: &Fence, precedence: &Precedence) -> Result<Client> {
    let mut config = config;
    // What is asked again beneath the fence is not judged again; and an eviction that a budget forbids is an answer, not a fault to be tried until it passes.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).map_err(|e| Error::Connect(Box::new(e)))?;
    let fenced = layer_fn(|inner| Fenced {
        inner,
        fence: fence.clone(),
        opening: None,
    });
    let giving_way = layer_fn(|inner| GivingWay::new(inner, precedence.clone()));
    let builder = builder.with_layer(&fenced).with_layer(&giving_way);
    Ok(builder.build())
}

struct Fenced<S> {
    inner: S,
    fence: Fence,
    /// Wakes this service when the fence is opened again.
    opening: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S: Service<R>, R> Service<R> for Fenced<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.inner.poll_ready(cx))?;
        while !self.fence.is_open() {
            let fence = self.fence.clone();
            let passed = || -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin(async move { fence.passed().await })
            };
            ready!(self.opening.get_or_insert_with(passed).as_mut().poll(cx));
            self.opening = None;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures::{FutureExt as _, future::Ready};
    use reach::Warden;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn no_request_is_made_while_the_fence_is_closed() {
        let warden = Warden::until(Instant::now());
        let inner =
            tower::service_fn(|n: u32| -> Ready<Result<u32, ()>> { futures::future::ok(n) });
        let mut fenced = Fenced {
            inner,
            fence: warden.fence(),
            opening: None,
        };
        assert!(fenced.ready().now_or_never().is_none());
        warden.keep_open_until(Instant::now() + Duration::from_mins(1));
        let opened = fenced.ready().now_or_never().expect("it is open");
        assert_eq!(opened.expect("it is ready").call(7).await, Ok(7));
    }
}
