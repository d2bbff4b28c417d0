//! A batch as a writer wants it: what can be done before its turn is done, and what a change may tell of a row.

use crds::{
    archive::Archived,
    audit::AuditEntry,
    execution::{Batch, Execution, LogChunk},
};

/// A batch as the writer wants it: what can be done before its turn is done.
pub struct Ready {
    pub rows: Vec<ReadyRow>,
    pub logs: Vec<LogChunk>,
    pub archived: Vec<ReadyArchived>,
    /// What becomes of an entry depends on the one before, which only the turn knows.
    pub audit: Vec<AuditEntry>,
}

/// A finished object, under the name by which it is found.
pub struct ReadyArchived {
    pub archived: Archived,
    pub name: String,
    pub body: String,
}

pub struct ReadyRow {
    pub row: Execution,
    pub digest: [u8; 32],
    pub name: String,
    pub body: String,
}

impl Ready {
    pub fn new(batch: Batch) -> Self {
        Self {
            rows: batch.rows.into_iter().map(ReadyRow::new).collect(),
            logs: batch.logs,
            archived: batch.archived.into_iter().map(ReadyArchived::new).collect(),
            audit: batch.audit,
        }
    }
}

impl ReadyArchived {
    fn new(archived: Archived) -> Self {
        Self {
            name: archived.row_name(),
            body: serde_json::to_string(&archived).expect("what came as JSON is JSON"),
            archived,
        }
    }
}

impl ReadyRow {
    fn new(row: Execution) -> Self {
        Self {
            digest: row.key.digest_bytes(),
            // A name is one segment of a URL; a container's target has two parts.
            name: row.name().replace('/', "."),
            body: serde_json::to_string(&row).expect("a row is strings and numbers"),
            row,
        }
    }

    /// The name where another key has the first.
    pub fn second_name(&self) -> String {
        format!("{}.{}", self.name, hex::encode(&self.digest[..4]))
    }

    /// What is known once this was told of a row: who and what it is stays, for it is listed and watched by that.
    pub fn told_of(&self, known: Execution) -> Execution {
        let news = self.row.clone();
        Execution {
            key: known.key,
            namespace: known.namespace,
            namespace_uid: known.namespace_uid,
            run: known.run,
            job: known.job,
            step: known.step,
            target_kind: known.target_kind,
            target: known.target,
            attempt: known.attempt,
            ..news
        }
    }
}
