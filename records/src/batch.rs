//! What a batch may hold. Everything that enters the store is bounded here, before it costs a write.

use crds::{
    archive::Archived,
    audit::{self, AuditEntry},
    bytes,
    execution::{Batch, Execution, LogChunk, MESSAGE_BYTES, VERSION},
    v1alpha1::clip,
};

/// Batches that a store takes at once. A client has no more than these under way: what waits in its connection would take the room of those that are read.
pub const MAX_BATCHES: usize = 4;
/// Rows of one batch at most.
pub const MAX_BATCH_ROWS: usize = 5_000;
/// Log chunks of one batch at most.
pub const MAX_BATCH_LOGS: usize = 1_000;
/// Finished objects of one batch at most.
const MAX_BATCH_ARCHIVED: usize = 500;
/// Entries of the audit of one batch at most.
pub const MAX_BATCH_AUDIT: usize = 1_000;
/// Bytes of a batch's JSON at most.
pub const MAX_BATCH_BYTES: usize = 16 << 20;
/// Bytes of one log chunk at most; readers rely on it to find the chunk that covers an offset.
pub const MAX_CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of a name, UID or reason at most.
const MAX_NAME: usize = 512;

/// Why a batch is refused; sending it again will not help.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Rejected {
    #[error("{what} has {found} entries, at most {limit} are taken in one batch")]
    TooMany {
        what: &'static str,
        found: usize,
        limit: usize,
    },
    #[error("row of version {0} is not known here, this store writes version {VERSION}")]
    UnknownVersion(u32),
    #[error("{field} has {found} bytes, at most {limit} are kept")]
    TooLong {
        field: &'static str,
        found: usize,
        limit: usize,
    },
    #[error("logs.offset {0} is beyond what can be counted")]
    TooFar(u64),
    #[error("{0} is empty")]
    Empty(&'static str),
    #[error("{0} has a NUL character")]
    Nul(&'static str),
    #[error("{0} has a control character")]
    Control(&'static str),
    #[error("number {0} is none, an audit counts from 1")]
    Number(i64),
}

/// The row with what it says to people cut to what is kept, so that no length of theirs has it refused.
pub fn shortened(mut row: Execution) -> Execution {
    for (text, limit) in [
        (&mut row.reason, MAX_NAME),
        (&mut row.message, MESSAGE_BYTES),
    ] {
        *text = text.take().map(|text| clip(&text, limit));
    }
    row
}

/// Checks every bound of a batch.
pub fn check(batch: &Batch) -> Result<(), Rejected> {
    at_most("rows", batch.rows.len(), MAX_BATCH_ROWS)?;
    at_most("logs", batch.logs.len(), MAX_BATCH_LOGS)?;
    at_most("archived", batch.archived.len(), MAX_BATCH_ARCHIVED)?;
    at_most("audit", batch.audit.len(), MAX_BATCH_AUDIT)?;
    batch.archived.iter().try_for_each(check_archived)?;
    batch.audit.iter().try_for_each(check_audit)?;
    batch.rows.iter().try_for_each(check_row)?;
    batch.logs.iter().try_for_each(check_chunk)
}

fn check_row(row: &Execution) -> Result<(), Rejected> {
    if row.version != VERSION {
        return Err(Rejected::UnknownVersion(row.version));
    }
    for (field, value) in [
        ("namespaceUID", &row.namespace_uid),
        ("run", &row.run),
        ("key.run", &row.key.run),
        ("step", &row.step),
    ] {
        if value.is_empty() {
            return Err(Rejected::Empty(field));
        }
        named(field, value)?;
    }
    named("namespace", &row.namespace)?;
    named("target", &row.target)?;
    named("job", row.job.as_deref().unwrap_or_default())?;
    not_longer(
        "reason",
        row.reason.as_deref().unwrap_or_default(),
        MAX_NAME,
    )?;
    not_longer(
        "message",
        row.message.as_deref().unwrap_or_default(),
        MESSAGE_BYTES,
    )
}

fn check_archived(archived: &Archived) -> Result<(), Rejected> {
    for (field, value) in [
        ("archived.kind", &archived.kind),
        ("archived.name", &archived.name),
        ("archived.namespaceUID", &archived.namespace_uid),
        ("archived.uid", &archived.uid),
    ] {
        if value.is_empty() {
            return Err(Rejected::Empty(field));
        }
        named(field, value)?;
    }
    named("archived.outcome", &archived.outcome)
}

fn check_audit(entry: &AuditEntry) -> Result<(), Rejected> {
    if entry.version != audit::VERSION {
        return Err(Rejected::UnknownVersion(entry.version));
    }
    if entry.number < 1 {
        return Err(Rejected::Number(entry.number));
    }
    let groups = entry.statement.actor.groups.len();
    at_most("actor.groups", groups, audit::GROUPS)?;
    let source = &entry.source;
    for (field, value) in [
        ("source.replica", &source.replica),
        ("source.start", &source.start),
        ("subject.kind", &entry.statement.subject.kind),
    ] {
        if value.is_empty() {
            return Err(Rejected::Empty(field));
        }
        named(field, value)?;
    }
    for (field, text, bytes) in entry.statement.texts() {
        if text.chars().any(char::is_control) {
            return Err(Rejected::Control(field));
        }
        not_longer(field, text, bytes)?;
    }
    Ok(())
}

fn check_chunk(chunk: &LogChunk) -> Result<(), Rejected> {
    if chunk.data.len() > MAX_CHUNK_BYTES {
        return Err(Rejected::TooLong {
            field: "logs.data",
            found: chunk.data.len(),
            limit: MAX_CHUNK_BYTES,
        });
    }
    if bytes::end(chunk.offset, &chunk.data).is_none() {
        return Err(Rejected::TooFar(chunk.offset));
    }
    Ok(())
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), Rejected> {
    if found > limit {
        return Err(Rejected::TooMany { what, found, limit });
    }
    Ok(())
}

/// What rows are chosen by; no name of Kubernetes has a NUL, which not every database can keep.
fn named(field: &'static str, value: &str) -> Result<(), Rejected> {
    if value.contains('\0') {
        return Err(Rejected::Nul(field));
    }
    not_longer(field, value, MAX_NAME)
}

fn not_longer(field: &'static str, value: &str, limit: usize) -> Result<(), Rejected> {
    if value.len() > limit {
        return Err(Rejected::TooLong {
            field,
            found: value.len(),
            limit,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crds::execution::{Batch, MESSAGE_BYTES, State};

    use super::{MAX_NAME, check, shortened};
    use crate::conformance::row;

    #[test]
    fn whatever_a_row_says_is_taken_once_it_is_shortened() {
        let mut long = row("n", "r", "t", State::Failed);
        long.reason = Some("é".repeat(MAX_NAME));
        long.message = Some("é".repeat(MESSAGE_BYTES));
        let batch = |row| Batch {
            id: "1".into(),
            rows: vec![row],
            ..Batch::default()
        };
        check(&batch(long.clone())).expect_err("too long as it is");
        check(&batch(shortened(long))).expect("short enough");
        let short = row("n", "r", "t", State::Failed);
        assert_eq!(shortened(short.clone()), short);
    }
}
