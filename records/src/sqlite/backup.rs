//! A copy of the store while it works, and the way back. A store that was brought back gives positions beyond all that it ever gave, and its receipts hold for
//! namespaces by their names, since a cluster made anew gives them other UIDs.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, params};

use super::{FILE, schema};

/// What a backup is written to before it is handed over.
const COPY: &str = "backup.sqlite";
/// What is being handed in.
const INCOMING: &str = "incoming.sqlite";
/// What the store becomes when it is opened next.
pub const RESTORED: &str = "restored.sqlite";

/// Why a store was not copied or brought back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("cannot {step} {}", path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot copy the store")]
    Copy(#[source] rusqlite::Error),
    #[error("the copy cannot be handed over")]
    HandOver(#[source] io::Error),
    #[error("what was handed in is no usable backup: {0}")]
    Unusable(String),
    #[error("what was handed in is no usable backup")]
    Database(#[source] rusqlite::Error),
    #[error("what was handed in cannot be used")]
    Schema(#[source] schema::SchemaError),
}

/// Writes a consistent copy of the folder's store, which may be in use, to `out`. It stands in the folder for as long as that takes.
pub fn backup(folder: &Path, out: &mut impl Write) -> Result<(), BackupError> {
    let copy = folder.join(COPY);
    remove(&copy)?;
    let store = Connection::open_with_flags(
        folder.join(FILE),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    );
    let store = store.map_err(BackupError::Copy)?;
    let written = copy.display().to_string();
    let copied = store.execute("VACUUM INTO ?1", [written]);
    let handed_over = copied
        .map_err(BackupError::Copy)
        .and_then(|_| File::open(&copy).map_err(file("open", &copy)))
        .and_then(|mut copy| io::copy(&mut copy, out).map_err(BackupError::HandOver));
    remove(&copy)?;
    handed_over?;
    out.flush().map_err(BackupError::HandOver)
}

/// Takes a backup in. The folder's store becomes it when it is opened next; what is unusable changes nothing.
pub fn restore(folder: &Path, backup: &mut impl Read, now: Timestamp) -> Result<(), BackupError> {
    let incoming = folder.join(INCOMING);
    remove(&incoming)?;
    let taken_in = take_in(&incoming, backup, now);
    if taken_in.is_err() {
        remove(&incoming)?;
    }
    taken_in?;
    let restored = folder.join(RESTORED);
    fs::rename(&incoming, &restored).map_err(file("rename", &restored))?;
    sync(folder)
}

fn take_in(incoming: &Path, backup: &mut impl Read, now: Timestamp) -> Result<(), BackupError> {
    let mut written = File::create(incoming).map_err(file("create", incoming))?;
    io::copy(backup, &mut written).map_err(file("write", incoming))?;
    drop(written);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut database =
        Connection::open_with_flags(incoming, flags).map_err(BackupError::Database)?;
    let health: String = database
        .query_row("PRAGMA integrity_check(1)", [], |r| r.get(0))
        .map_err(BackupError::Database)?;
    if health != "ok" {
        return Err(BackupError::Unusable(health));
    }
    // An empty file is a database as well, and no backup.
    let migrations: i64 = database
        .query_row("SELECT count(*) FROM schema_version", [], |r| r.get(0))
        .map_err(BackupError::Database)?;
    if migrations == 0 {
        return Err(BackupError::Unusable("it has no schema".to_owned()));
    }
    schema::migrate(&mut database, now).map_err(BackupError::Schema)?;
    set_apart(&database, now).map_err(BackupError::Database)?;
    drop(database);
    let written = File::open(incoming).map_err(file("open", incoming))?;
    written.sync_all().map_err(file("sync", incoming))
}

/// Watches list anew, and receipts forget which namespace of their name it was.
fn set_apart(database: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    database.execute_batch(
        "UPDATE OR REPLACE receipts SET namespace_uid = '';
         DELETE FROM removals;",
    )?;
    database.execute(
        "UPDATE meta SET value = max(value, ?1) WHERE name = 'seq'",
        params![now.as_microsecond()],
    )?;
    database.execute(
        "UPDATE meta SET value = (SELECT value FROM meta WHERE name = 'seq') WHERE name = 'floor'",
        [],
    )?;
    Ok(())
}

/// Puts what was restored in the store's place; whoever calls this owns the folder. Done again after a crash, it goes on where it was.
pub fn settle(folder: &Path) -> Result<(), BackupError> {
    remove(&folder.join(COPY))?;
    remove(&folder.join(INCOMING))?;
    let restored = folder.join(RESTORED);
    if !restored.exists() {
        return Ok(());
    }
    // A log of the old store must never be played into the new one.
    for log in ["-wal", "-shm"] {
        remove(&folder.join(format!("{FILE}{log}")))?;
    }
    fs::rename(&restored, folder.join(FILE)).map_err(file("rename", &restored))?;
    sync(folder)
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), BackupError> {
    let opened = File::open(folder).map_err(file("open", folder))?;
    opened.sync_all().map_err(file("sync", folder))
}

fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::File {
        step,
        path: path.to_owned(),
        source,
    }
}
