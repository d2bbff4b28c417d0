//! Receipts of runs: the first claim of a name stands. A receipt without a namespace's UID came out of a backup and holds for whatever namespace has that name.

use crds::receipt::Receipt;
use rusqlite::{Connection, OptionalExtension as _, params, types::Type};

/// Keeps the receipt, or gives back the one that stands.
pub fn claim(tx: &Connection, receipt: &Receipt) -> rusqlite::Result<Receipt> {
    if let Some(stands) = standing(tx, receipt)? {
        return Ok(stands);
    }
    let body = serde_json::to_string(receipt)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    tx.prepare_cached("INSERT INTO receipts VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            receipt.namespace,
            receipt.run,
            receipt.namespace_uid,
            body
        ])?;
    Ok(receipt.clone())
}

fn standing(tx: &Connection, receipt: &Receipt) -> rusqlite::Result<Option<Receipt>> {
    let body: Option<String> = tx
        .prepare_cached(
            "SELECT body FROM receipts WHERE namespace = ?1 AND run = ?2 AND namespace_uid IN (?3, '')",
        )?
        .query_row(
            params![receipt.namespace, receipt.run, receipt.namespace_uid],
            |r| r.get(0),
        )
        .optional()?;
    let parsed = body.map(|body| serde_json::from_str(&body));
    parsed
        .transpose()
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(e)))
}
