//! Drives the controllers of a kind, one for each part of the scope.

use std::{fmt::Debug, future::ready, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream::select_all};
use kube::{
    Resource,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        Controller, WatchStreamExt as _,
        controller::{self, Action},
        reflector::{reflector, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::{
    context::Context,
    error::{self, Error, Result},
    held, scope,
    users::Names,
};

/// Objects of one kind that are looked at together.
const CONCURRENCY: u16 = 32;
/// As many as there are, where turns themselves say which go first: firings start before the status of the first is written, and runs end before others begin.
pub const EVERY_ONE: u16 = 0;

/// How the turns of a kind are taken.
pub struct Turns<K> {
    pub at_once: u16,
    /// What is let go of an object before it is held in memory.
    pub held: fn(&mut DeserializeGuard<K>),
    /// Objects that have no turn any more, and so are not held at all.
    pub is_done: fn(&Context, &DeserializeGuard<K>) -> bool,
    /// Who is told of everything that is heard of a part of the scope.
    pub told: fn(&Context, &str, &watcher::Event<DeserializeGuard<K>>),
}

impl<K> Turns<K>
where
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    pub const fn usual() -> Self {
        Self {
            at_once: CONCURRENCY,
            held: held::object,
            is_done: |_, _| false,
            told: |_, _, _| (),
        }
    }
}

impl<K: Names> Turns<K>
where
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    /// Of a kind whose objects name Parameters.
    pub const fn told_to_users() -> Self {
        Self {
            told: |ctx, part, event| {
                for (namespace, parameter) in ctx.memory.users.hear(part, event) {
                    ctx.wakes.parameters.one(&namespace, &parameter);
                }
            },
            ..Self::usual()
        }
    }
}

impl<K> Turns<K>
where
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    /// The controller of one part, which holds what has turns.
    fn controller(&self, ctx: &Arc<Context>, part: &str) -> Controller<DeserializeGuard<K>> {
        let (told, is_done) = (self.told, self.is_done);
        let (all, of) = (ctx.clone(), part.to_owned());
        let held_here = Writer::default();
        let reader = held_here.as_reader();
        let objects = scope::within(&ctx.client, part);
        let changes = watcher(objects, watcher::Config::default()).modify(self.held);
        let changes = changes.try_filter_map(move |event| {
            told(&all, &of, &event);
            ready(Ok(held::without(event, |object: &_| is_done(&all, object))))
        });
        let changes = reflector(held_here, changes).applied_objects();
        Controller::for_stream(changes, reader)
    }

    /// Places for as many turns as there may be at once.
    fn places(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(match self.at_once {
            EVERY_ONE => Semaphore::MAX_PERMITS,
            most => most.into(),
        }))
    }
}

/// Drives a kind's controllers; all of them together have as many turns at once as one may.
pub async fn drive<K, R, F>(
    ctx: &Arc<Context>,
    turns: Turns<K>,
    reconcile: R,
    mut with: impl FnMut(Controller<DeserializeGuard<K>>, &str) -> Controller<DeserializeGuard<K>>,
) where
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
    R: Fn(Arc<DeserializeGuard<K>>, Arc<Context>) -> F + Copy + Send + 'static,
    F: Future<Output = Result<Action>> + Send + 'static,
{
    let places = turns.places();
    let turn = move |object, ctx| {
        let places = places.clone();
        async move {
            let _place = places.acquire().await.expect("it is never closed");
            reconcile(object, ctx).await
        }
    };
    let config = controller::Config::default().concurrency(turns.at_once);
    let controllers = ctx.scope.parts().map(|part| {
        with(turns.controller(ctx, part), part)
            .with_config(config.clone())
            .run(turn.clone(), policy, ctx.clone())
            .boxed()
    });
    let mut taken = select_all(controllers);
    while let Some(turn) = taken.next().await {
        // What a turn returns was told already.
        if let Err(error) = turn {
            tracing::debug!(%error, "a turn ended with an error");
        }
    }
}

/// Notes that a turn failed, and says when it is taken again.
// The controller hands these over by value.
#[allow(clippy::needless_pass_by_value)]
pub fn policy<K: Resource<DynamicType = ()>>(
    object: Arc<K>,
    error: &Error,
    ctx: Arc<Context>,
) -> Action {
    let uid = object.meta().uid.clone().unwrap_or_default();
    let failures = ctx.memory.failures.failed(&uid);
    ctx.metrics.turn::<K>(error.category());
    if error.is_conflict() {
        tracing::debug!(error = %error::chain(error), "another version was written meanwhile; looking again");
    } else {
        tracing::warn!(error = %error::chain(error), failures, "a turn failed; it will be taken again");
    }
    error::retry(error, failures)
}
