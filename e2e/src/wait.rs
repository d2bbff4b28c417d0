//! Waits that end: each names what it waits for, and fails by that name.

use std::{fmt::Debug, future::Future, time::Duration};

use kube::{
    Api,
    runtime::wait::{Condition, await_condition},
};
use serde::de::DeserializeOwned;
use tokio::time;

/// Between two looks at something that cannot be watched.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Watches an object until the condition holds, and returns it.
pub async fn wait_for<K>(
    api: Api<K>,
    name: &str,
    what: &str,
    limit: Duration,
    condition: impl Condition<K>,
) -> K
where
    K: kube::Resource + Clone + Debug + Send + DeserializeOwned + 'static,
{
    match time::timeout(limit, await_condition(api.clone(), name, condition)).await {
        Ok(Ok(object)) => {
            object.unwrap_or_else(|| panic!("{name} went away while waiting for {what}"))
        }
        Ok(Err(error)) => panic!("cannot watch {name} for {what}: {error}"),
        Err(time::error::Elapsed { .. }) => panic!(
            "{name}: no {what} within {limit:?}; last seen {:#?}",
            api.get_opt(name).await
        ),
    }
}

/// Looks again and again until there is something to see, and returns it.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> T {
    let seen = time::timeout(limit, async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            time::sleep(LOOK_AGAIN).await;
        }
    });
    seen.await
        .unwrap_or_else(|_| panic!("no {what} within {limit:?}"))
}
