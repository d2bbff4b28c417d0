//! kill -9 of the server at random instants while the operator's client writes over the network: every row that was acknowledged is there afterwards.
#![allow(clippy::unwrap_used)]

mod stand;

use std::{collections::HashSet, env, time::Duration};

use crds::execution::{Execution, State};
use records::{
    client::Client,
    conformance::{row, rows},
    private::PrivatePostgres,
};
use tokio::{sync::mpsc, time::sleep};

use stand::Stand;

/// Kills in one run, and writers that each wait for their acknowledgement.
const KILLS: usize = 8;
const WRITERS: usize = 16;
/// Pause before a writer tries again while the server is away.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::test]
async fn rows_acknowledged_over_the_network_survive_kills_of_the_server() {
    survives(&Stand::set(&env::temp_dir()).await).await;
}

#[tokio::test]
async fn rows_acknowledged_over_the_network_survive_kills_of_a_server_on_postgresql() {
    let postgres = PrivatePostgres::start(&[]).unwrap();
    let settings = postgres.database("records").unwrap();
    let stand = Stand::set(&env::temp_dir()).await;
    survives(&stand.on(&settings)).await;
}

async fn survives(stand: &Stand) {
    let (tell, mut heard) = mpsc::unbounded_channel();
    for writer in 0..WRITERS {
        tokio::spawn(write(stand.client(), writer, tell.clone()));
    }
    let mut acknowledged = HashSet::new();
    for _ in 0..KILLS {
        let server = stand.start();
        for _ in 0..WRITERS {
            acknowledged.insert(heard.recv().await.unwrap());
        }
        sleep(Duration::from_micros(rand::random_range(0..60_000))).await;
        drop(server);
        while let Ok(target) = heard.try_recv() {
            acknowledged.insert(target);
        }
    }
    heard.close();
    while let Some(target) = heard.recv().await {
        acknowledged.insert(target);
    }
    let _server = stand.start();
    let stored = stored(&stand.client()).await;
    let stored: HashSet<_> = stored.into_iter().map(|row| row.target).collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    println!(
        "{} acknowledged rows survived {KILLS} kills",
        acknowledged.len()
    );
}

/// Hands in one row after the other, each until it is acknowledged, and tells of those that were.
async fn write(client: Client, writer: usize, tell: mpsc::UnboundedSender<String>) {
    for n in 0.. {
        let target = format!("t-{writer}-{n}");
        let batch = rows([row("n", "r", &target, State::Succeeded)]);
        while let Err(error) = client.append(&batch).await {
            assert!(error.is_retryable(), "{error}");
            sleep(PAUSE).await;
        }
        if tell.send(target).is_err() {
            return;
        }
    }
}

async fn stored(client: &Client) -> Vec<Execution> {
    loop {
        match client.rows("r-uid").await {
            Ok(rows) => return rows,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        sleep(PAUSE).await;
    }
}
