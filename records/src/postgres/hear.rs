//! What other replicas commit: each commit notifies, and where a notification went missing a look once a second finds it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time};

use super::{failed::Failed, session::Connector, turn::CHANNEL, writer};
use crate::{Error, Position};

/// Time between looks, and before the next connection.
const LOOK: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(250);

/// Tells of positions until nobody wants to know.
pub async fn follow(connector: Arc<Connector>, tell: Arc<watch::Sender<Position>>) {
    let following = async {
        loop {
            // Whoever asks the store for something is told why it does not answer.
            let _ = hear(&connector, &tell).await;
            time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = tell.closed() => {}
        () = following => {}
    }
}

async fn hear(connector: &Connector, tell: &watch::Sender<Position>) -> Result<(), Error> {
    let ended = |e| Error::unavailable("hear of commits", e);
    let mut session = connector.connect().await?;
    let listen = format!("LISTEN {CHANNEL}");
    let listening = session.client.batch_execute(&listen).await;
    listening.map_err(|e| ended(Failed::from(e)))?;
    let first = position(&mut session).await.map_err(ended)?;
    if first.commits < tell.borrow().commits {
        // The database was brought back from a copy; readers have to find out.
        tell.send_replace(first);
    }
    loop {
        writer::told(tell, position(&mut session).await.map_err(ended)?);
        // Silence is no error.
        let _ = time::timeout(LOOK, session.heard.notified()).await;
    }
}

/// Where the store is.
pub async fn position(session: &mut super::session::Session) -> Result<Position, Failed> {
    let sql = "SELECT seq, commits FROM meta";
    let statement = session.statements.get(&session.client, sql).await?;
    let meta = session.client.query_one(&statement, &[]).await?;
    Ok(Position {
        seq: meta.try_get(0)?,
        commits: meta.try_get::<_, i64>(1)?.unsigned_abs(),
    })
}
