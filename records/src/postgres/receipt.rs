//! Receipts of runs: the first claim of a name stands. A receipt without a namespace's UID came out of a backup and holds for whatever namespace has that name.

use crds::receipt::Receipt;
use tokio_postgres::types::ToSql;

use super::{failed::Failed, session::Session, turn::Turn};

/// Keeps the receipt, or gives back the one that stands.
pub async fn claim(session: &mut Session, receipt: Receipt) -> Result<Receipt, Failed> {
    let mut turn = Turn::begin(session).await?;
    let standing =
        "SELECT body FROM receipts WHERE namespace = $1 AND run = $2 AND namespace_uid = ANY ($3)";
    let uids = [receipt.namespace_uid.as_str(), ""];
    let name: [&(dyn ToSql + Sync); 3] = [&receipt.namespace, &receipt.run, &uids.as_slice()];
    if let Some(stands) = turn.query(standing, &name).await?.first() {
        return Ok(serde_json::from_str(stands.try_get(0)?)?);
    }
    let body = serde_json::to_string(&receipt)?;
    turn.execute(
        "INSERT INTO receipts (namespace, run, namespace_uid, body) VALUES ($1, $2, $3, $4)",
        &[
            &receipt.namespace,
            &receipt.run,
            &receipt.namespace_uid,
            &body,
        ],
    )
    .await?;
    turn.commit().await?;
    Ok(receipt)
}
