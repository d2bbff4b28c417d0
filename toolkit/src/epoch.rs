//! Remembers the highest leader epoch of each cluster, and turns away leaders of the past. A start holds the epoch until it has begun, so that a new leader's
//! first word comes after the last start of the old one.

use std::fs::File;
use std::os::fd::OwnedFd;

use crds::key::EffectKey;
use nix::fcntl::OFlag;
use nix::unistd::fsync;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Step as _};
use crate::root::{self, Root};
use crate::slots::Slots;

/// No higher epoch comes in while this lives, in whatever process.
pub struct Epoch {
    _lock: File,
}

impl Epoch {
    /// Holds the epoch of the key's cluster, and raises it durably when this one is new.
    pub fn hold(root: &Root, key: &EffectKey, asked: i64) -> Result<Self, Error> {
        let folder = root.folder("epochs")?;
        let name = hex::encode(Sha256::digest(&key.cluster));
        let how = OFlag::O_RDWR | OFlag::O_CREAT;
        let lock =
            root::file(&folder, &format!("{name}.lock"), how).writing("make the epoch's lock")?;
        lock.lock_shared().reading("lock the epoch")?;
        if seen(&folder, &name, asked)? != Some(asked) {
            lock.lock().reading("lock the epoch")?;
            if seen(&folder, &name, asked)? != Some(asked) {
                raise(&folder, &name, asked)?;
            }
            lock.lock_shared().reading("lock the epoch")?;
        }
        Ok(Self { _lock: lock })
    }
}

/// The epoch that was seen; an error when it is higher than the one asked for.
fn seen(folder: &OwnedFd, name: &str, asked: i64) -> Result<Option<i64>, Error> {
    let Some(slots) = Slots::open(folder, name, SLOTS)? else {
        return Ok(None);
    };
    // The two slots take turns, so that an interrupted write never loses what was seen before.
    let seen = slots.read::<i64>(0)?.max(slots.read::<i64>(1)?);
    match seen {
        Some(seen) if seen > asked => Err(Error::StaleLeader { asked, seen }),
        seen => Ok(seen),
    }
}

const SLOTS: usize = 2;

fn raise(folder: &OwnedFd, name: &str, asked: i64) -> Result<(), Error> {
    let slots = match Slots::open_to_write(folder, name, SLOTS)? {
        Some(slots) => slots,
        None => Slots::make(folder, name, SLOTS)?,
    };
    let older = usize::from(slots.read::<i64>(0)? > slots.read::<i64>(1)?);
    slots.write(older, &asked)?;
    fsync(folder).writing("sync the epoch")
}
