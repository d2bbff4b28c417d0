//! Step pods that were let go of are deleted together, a moment later: one request for many, and none on the way of a run.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{context::Context, error::chain};

/// Time for which pods are gathered.
const MOMENT: Duration = Duration::from_secs(2);

/// Namespace and account of those that wait to be deleted.
#[derive(Default)]
pub struct Sweeps(Mutex<HashSet<[String; 2]>>);

/// Has the pods deleted that were let go of here, as this account.
pub fn soon(ctx: &Arc<Context>, namespace: &str, account: &str) {
    let of = [namespace, account].map(str::to_owned);
    let waiting = |ctx: &Context| {
        ctx.memory
            .sweeps
            .0
            .lock()
            .expect("no holder panics")
            .insert(of.clone())
    };
    if waiting(ctx) {
        tokio::spawn(sweep(Arc::clone(ctx), of));
    }
}

async fn sweep(ctx: Arc<Context>, of: [String; 2]) {
    tokio::time::sleep(MOMENT).await;
    // One that is let go of from here on needs another sweep.
    ctx.memory
        .sweeps
        .0
        .lock()
        .expect("no holder panics")
        .remove(&of);
    let [namespace, account] = &of;
    let Ok(resolver) = ctx.accounts.resolver(namespace, account) else {
        return;
    };
    if let Err(error) = reach::pod::sweep(&resolver.client, namespace).await {
        tracing::warn!(error = %chain(&error), namespace, "step pods that were let go of are still there; they go with their runs");
    }
}
