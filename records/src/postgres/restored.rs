//! What has to be told after the database was brought back from a copy: it gives positions beyond all that it ever gave, and its receipts hold for namespaces by their names, since a cluster made anew gives
//! them other UIDs.

use jiff::Timestamp;

use super::{
    Settings,
    failed::Failed,
    schema,
    session::{Connector, Session},
    sweep,
    turn::Turn,
};
use crate::Error;

/// Has watches list anew, and receipts forget which namespace of their name it was.
pub async fn restored(settings: Settings, now: Timestamp) -> Result<(), Error> {
    let mut session = Connector::new(settings).connect().await?;
    let migrated = schema::migrate(&mut session, now).await;
    migrated.map_err(|e| Error::unavailable("bring the schema up to date", e))?;
    let done = set_apart(&mut session, now).await;
    done.map_err(|e| Error::unavailable("set the database apart from its copy", e))
}

async fn set_apart(session: &mut Session, now: Timestamp) -> Result<(), Failed> {
    let mut turn = Turn::begin(session).await?;
    let double = "DELETE FROM receipts less USING receipts more
        WHERE less.namespace = more.namespace AND less.run = more.run AND less.namespace_uid < more.namespace_uid";
    turn.execute(double, &[]).await?;
    turn.execute("UPDATE receipts SET namespace_uid = ''", &[])
        .await?;
    sweep::forget_removals(&mut turn, i64::MAX).await?;
    turn.seq = turn.seq.max(now.as_microsecond());
    turn.floor = turn.seq;
    turn.commit().await?;
    Ok(())
}
