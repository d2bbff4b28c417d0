//! What something kept takes on disk, as far as it can be known without measuring: the tables of PostgreSQL never shrink by themselves, so their size does not say what is in use.

/// Beside its body: columns to choose by, three indexes, and the headers of a row.
pub const ROW: i64 = 600;
/// Beside its body.
pub const REMOVAL: i64 = 250;
/// Beside its bytes.
pub const CHUNK: i64 = 200;

/// Something of so many bytes, with what comes beside them.
pub fn of(beside: i64, bytes: usize) -> i64 {
    beside.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX))
}
