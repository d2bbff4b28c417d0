//! Small facts in a file of fixed size: each has a slot of its own, with a checksum, whose space is taken when the file is made. So a fact can still be
//! written when the disk is full, and half of a fact reads as none.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;

use nix::fcntl::OFlag;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Step as _};
use crate::root;

/// Bytes of one slot: a block of the usual disk, so that a write of one fact touches no other.
const SLOT: usize = 4096;
/// Hex digits of the checksum that a fact begins with.
const SUM: usize = 64;

/// A file of slots.
pub struct Slots(File);

impl Slots {
    /// Makes the file with all its space, and puts it on disk. What an earlier, interrupted attempt left of it is overwritten.
    pub fn make(folder: impl AsFd, name: &str, count: usize) -> Result<Self, Error> {
        let file = root::file(folder, name, OFlag::O_RDWR | OFlag::O_CREAT)
            .writing("make the state file")?;
        file.write_all_at(&vec![0; count * SLOT], 0)
            .writing("reserve the state file")?;
        file.sync_all().writing("sync the state file")?;
        Ok(Self(file))
    }

    /// Opens the file to read, if it is there and complete. It is not opened to write, because whoever closes it then wakes everyone who waits for a change.
    pub fn open(folder: impl AsFd, name: &str, count: usize) -> Result<Option<Self>, Error> {
        Self::open_as(folder, name, count, OFlag::O_RDONLY)
    }

    /// Opens the file to read and write, if it is there and complete.
    pub fn open_to_write(
        folder: impl AsFd,
        name: &str,
        count: usize,
    ) -> Result<Option<Self>, Error> {
        Self::open_as(folder, name, count, OFlag::O_RDWR)
    }

    fn open_as(
        folder: impl AsFd,
        name: &str,
        count: usize,
        how: OFlag,
    ) -> Result<Option<Self>, Error> {
        let file = match root::file(folder, name, how) {
            Err(nix::errno::Errno::ENOENT) => return Ok(None),
            other => other.reading("open the state file")?,
        };
        let length = file.metadata().reading("look at the state file")?.len();
        Ok((length >= (count * SLOT) as u64).then_some(Self(file)))
    }

    /// Puts a fact on disk; it is there for good when this returns.
    pub fn write<T: Serialize>(&self, slot: usize, fact: &T) -> Result<(), Error> {
        let json = serde_json::to_vec(fact).expect("facts are plain data");
        assert!(SUM + json.len() < SLOT, "facts are bounded");
        let mut bytes = hex::encode(Sha256::digest(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        bytes.resize(SLOT, 0);
        self.0
            .write_all_at(&bytes, (slot * SLOT) as u64)
            .writing("write the state")?;
        self.0.sync_data().writing("sync the state")
    }

    /// The fact, if one was written whole.
    pub fn read<T: DeserializeOwned>(&self, slot: usize) -> Result<Option<T>, Error> {
        let mut bytes = [0; SLOT];
        self.0
            .read_exact_at(&mut bytes, (slot * SLOT) as u64)
            .reading("read the state")?;
        let (sum, rest) = bytes.split_at(SUM);
        let json = rest
            .split(|&b| b == 0)
            .next()
            .expect("split gives one part at least");
        if json.is_empty() || hex::encode(Sha256::digest(json)).as_bytes() != sum {
            return Ok(None);
        }
        serde_json::from_slice(json)
            .map(Some)
            .map_err(|_| Error::Damaged("its state is whole, but not what this version writes"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::{SLOT, Slots};

    #[test]
    fn half_of_a_fact_reads_as_none() {
        let folder = tempfile::tempdir().expect("folder");
        let fd = std::fs::File::open(folder.path()).expect("open");
        let slots = Slots::make(&fd, "state", 2).expect("make");
        assert_eq!(slots.read::<String>(1).expect("read"), None);
        slots.write(1, &"ended").expect("write");
        assert_eq!(
            slots.read::<String>(1).expect("read").as_deref(),
            Some("ended")
        );
        slots
            .0
            .write_all_at(b"X", (SLOT + 66) as u64)
            .expect("damage");
        assert_eq!(slots.read::<String>(1).expect("read"), None);
        assert_eq!(slots.read::<String>(0).expect("read"), None);
    }

    #[test]
    fn a_file_that_was_never_completed_is_none() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("state"), [0; 100]).expect("write");
        let fd = std::fs::File::open(folder.path()).expect("open");
        assert!(Slots::open(&fd, "state", 2).expect("open").is_none());
        assert!(Slots::open(&fd, "absent", 2).expect("open").is_none());
    }
}
