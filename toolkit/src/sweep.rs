//! Takes old journals away. A key is remembered long after its run, because a forgotten key could begin again: an hour after its result is safe elsewhere, else
//! seven days; only safe ones go sooner where there are too many. A run that was lost and never asked for is judged before it is forgotten.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crds::journal::Swept;
use jiff::{SignedDuration, Timestamp};
use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;

use crate::error::{Error, Step as _};
use crate::follow::print;
use crate::journal::{Claim, Held, Journal, Stage};
use crate::lost::lose;
use crate::root::{self, Root};

/// How long a forgotten journal, and one that never began, is kept.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(1);
/// How long any other is kept.
const FINISHED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Most journals of runs that are over, as long as there are forgotten ones to take.
const MOST: usize = 500;
/// How often a start looks.
const EVERY: Duration = Duration::from_mins(10);
/// Remembers the last look.
const MARK: &str = "swept";

/// `toolkit sweep`.
pub fn sweep(root: &Path) -> Result<(), Error> {
    let swept = sweep_all(
        &Root::open(root)?.folder("journal")?,
        None,
        Timestamp::now(),
    )?;
    print(&swept)
}

/// Sweeps when the last time is a while ago, all but the journal that is asked for. A start never fails because of it.
pub fn sweep_if_due(journals: &OwnedFd, asked: &str) {
    let mark = root::file(journals, MARK, OFlag::O_RDWR | OFlag::O_CREAT);
    // On a full disk there may be no mark, and every reason to sweep.
    let last = mark
        .as_ref()
        .ok()
        .and_then(|mark| mark.metadata().ok())
        .filter(|found| found.len() > 0);
    let recent = last
        .and_then(|found| found.modified().ok())
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    if recent.is_some_and(|ago| ago < EVERY) {
        return;
    }
    if let Ok(mark) = mark {
        let _ = std::os::unix::fs::FileExt::write_all_at(&mark, b"1", 0);
    }
    let _ = sweep_all(journals, Some(asked), Timestamp::now());
}

/// A run that is over and whose result is safe.
struct Safe {
    name: OsString,
    at: Timestamp,
}

fn sweep_all(journals: &OwnedFd, asked: Option<&str>, now: Timestamp) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    let (mut over, mut safe) = (0, Vec::new());
    for name in names(journals)? {
        // Without its journal, the key that is asked for would begin again.
        if asked.is_some_and(|asked| name == *asked) {
            swept.kept += 1;
            continue;
        }
        let Some(held) = hold(journals, &name)? else {
            swept.kept += 1;
            continue;
        };
        match judge(&held, &name, now) {
            Verdict::Old => remove(held, journals, &name, &mut swept),
            Verdict::Safe(found) => safe.push(found),
            Verdict::Over => over += 1,
            Verdict::Keep => swept.kept += 1,
        }
    }
    safe.sort_by_key(|found| found.at);
    let excess = (over + safe.len()).saturating_sub(MOST).min(safe.len());
    swept.kept += u32::try_from(over + safe.len() - excess).unwrap_or(u32::MAX);
    for found in safe.drain(..excess) {
        match hold(journals, &found.name)? {
            Some(held) => remove(held, journals, &found.name, &mut swept),
            None => swept.kept += 1,
        }
    }
    Ok(swept)
}

fn names(journals: &OwnedFd) -> Result<Vec<OsString>, Error> {
    let own = nix::fcntl::openat(
        journals.as_fd(),
        ".",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    );
    let mut folder =
        Dir::from_fd(own.reading("list the journals")?).reading("list the journals")?;
    let entries = folder.iter().filter_map(Result::ok);
    let names = entries.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
    Ok(names
        .filter(|name| name.len() == 64 && name.as_bytes().iter().all(u8::is_ascii_hexdigit))
        .collect())
}

/// Holds a journal that nobody is at work on.
fn hold(journals: &OwnedFd, name: &OsStr) -> Result<Option<Held>, Error> {
    match Journal::existing(journals, name)?
        .map(|journal| journal.claim())
        .transpose()?
    {
        Some(Claim::Held(held)) => Ok(Some(held)),
        Some(Claim::Busy | Claim::Gone) | None => Ok(None),
    }
}

enum Verdict {
    Old,
    Safe(Safe),
    Over,
    Keep,
}

/// What can not be read is kept: it may be another version's.
fn judge(held: &Held, name: &OsStr, now: Timestamp) -> Verdict {
    let (Ok(stage), Ok(forgotten)) = (held.journal.stage(), held.journal.forgotten()) else {
        return Verdict::Keep;
    };
    let older = |at: Timestamp, limit| now.duration_since(at) > limit;
    let at = match stage {
        Stage::Fresh => {
            let made = fstat(held.journal.folder())
                .ok()
                .and_then(|found| Timestamp::from_second(found.st_mtime).ok());
            return if made.is_some_and(|made| older(made, FORGOTTEN)) {
                Verdict::Old
            } else {
                Verdict::Keep
            };
        }
        Stage::Begun(begun) => {
            if let (true, Some(digest)) = (older(begun.at, FINISHED), name.to_str()) {
                // Its end is kept as long as any other's, for whoever still asks.
                let _ = lose(held, &begun, digest);
            }
            return Verdict::Keep;
        }
        Stage::Ended(_, end) => end.finished_at,
    };
    if older(at, FINISHED) || forgotten.is_some_and(|mark| older(mark.at, FORGOTTEN)) {
        return Verdict::Old;
    }
    match forgotten {
        Some(_) => Verdict::Safe(Safe {
            name: name.to_owned(),
            at,
        }),
        None => Verdict::Over,
    }
}

fn remove(held: Held, journals: &OwnedFd, name: &OsStr, swept: &mut Swept) {
    match held.remove(journals, name) {
        Ok(()) => swept.removed += 1,
        Err(_) => swept.kept += 1,
    }
}
