//! A database that is killed under load and away for a minute: what was acknowledged, and what of it is there afterwards.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use crds::execution::State;
use futures::future::try_join_all;
use records::{
    Store,
    conformance::{row, rows},
    private::PrivatePostgres,
};
use tokio::time::sleep;

use crate::Result;

const WRITERS: usize = 8;
/// Load before the kill and after the return.
const LOAD: Duration = Duration::from_secs(5);
const AWAY: Duration = Duration::from_mins(1);
/// Pause before a writer tries again.
const PAUSE: Duration = Duration::from_millis(20);

/// Rows that were acknowledged, and how many of them are not there.
pub async fn lost(server: &mut PrivatePostgres, store: Arc<dyn Store>) -> Result<(usize, usize)> {
    let until = Instant::now() + LOAD + AWAY + LOAD;
    let writers = (0..WRITERS).map(|n| tokio::spawn(write(store.clone(), n, until)));
    let writers: Vec<_> = writers.collect();
    sleep(LOAD).await;
    server.kill()?;
    sleep(AWAY).await;
    server.up()?;
    let (mut acknowledged, mut lost) = (0, 0);
    for (n, told) in try_join_all(writers).await?.into_iter().enumerate() {
        let stored = store.run(format!("{}-uid", run(n))).await?;
        let stored: HashSet<_> = stored.into_iter().map(|row| row.target).collect();
        let told = told?;
        acknowledged += told.len();
        lost += told.difference(&stored).count();
    }
    Ok((acknowledged, lost))
}

fn run(writer: usize) -> String {
    format!("away-{writer}")
}

/// Hands in one row after the other, each until it is acknowledged; those that were.
async fn write(store: Arc<dyn Store>, writer: usize, until: Instant) -> Result<HashSet<String>> {
    let mut told = HashSet::new();
    for n in 0.. {
        let target = format!("t-{n}");
        let batch = rows([row("n", &run(writer), &target, State::Succeeded)]);
        while store.append(batch.clone()).await.is_err() {
            if Instant::now() > until {
                return Err("the database did not come back".into());
            }
            sleep(PAUSE).await;
        }
        told.insert(target);
        if Instant::now() > until {
            break;
        }
    }
    Ok(told)
}
