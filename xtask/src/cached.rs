//! Things that take minutes to make and are kept: named by a hash of what they are made from, made aside and moved in place whole.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{
    error::{About, Result},
    steps::Outcome,
};

const KEPT: Duration = Duration::from_hours(14 * 24);

/// Collects what a cached thing is made from.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        let part = part.as_ref();
        self.0.update(part.len().to_le_bytes());
        self.0.update(part);
        self
    }

    pub fn with_file(self, path: &Path) -> Result<Self> {
        Ok(self.with(fs::read(path).about("read", path)?))
    }

    /// Every file under a folder, by name and content.
    pub fn with_folder(mut self, folder: &Path) -> Result<Self> {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder)
            .about("read", folder)?
            .map(|entry| Ok(entry.about("read", folder)?.path()))
            .collect::<Result<_>>()?;
        entries.sort();
        for path in entries {
            self = self.with(
                path.file_name()
                    .expect("an entry has a name")
                    .as_encoded_bytes(),
            );
            self = if path.is_dir() {
                self.with_folder(&path)?
            } else {
                self.with_file(&path)?
            };
        }
        Ok(self)
    }

    pub fn name(self) -> String {
        hex::encode(&self.0.finalize()[..8])
    }
}

/// The folder `kind/name` of the cache, filled by `fill` if it is not there; one that was cut off is made again.
pub fn folder(
    cache: &Path,
    kind: &str,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<(PathBuf, Outcome)> {
    let ready = cache.join(kind).join(name);
    if ready.exists() {
        return Ok((ready, Outcome::Cached));
    }
    let aside = cache
        .join(kind)
        .join(format!("{name}.{}", std::process::id()));
    fs::create_dir_all(&aside).about("create", &aside)?;
    let made = fill(&aside);
    if made.is_err() {
        let _best_effort = fs::remove_dir_all(&aside);
    }
    made?;
    if let Err(error) = fs::rename(&aside, &ready) {
        // Another checkout may have made the same in the meantime; any of the two will do.
        let _best_effort = fs::remove_dir_all(&aside);
        if !ready.exists() {
            return Err(error).about("move in place", ready);
        }
    }
    prune(&cache.join(kind), &ready);
    Ok((ready, Outcome::Done))
}

/// Makes room: what other recipes made long ago is unlikely to be asked for again, and can be made again.
fn prune(kind: &Path, keep: &Path) {
    let old = |path: &PathBuf| {
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > KEPT))
    };
    let entries = fs::read_dir(kind).into_iter().flatten().flatten();
    for path in entries
        .map(|entry| entry.path())
        .filter(|path| path != keep)
        .filter(old)
    {
        let _best_effort = fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn what_was_cut_off_is_made_again_and_what_is_whole_is_kept() {
        let cache = std::env::temp_dir().join(format!("xtask-cached-{}", std::process::id()));
        let cut_off = folder(&cache, "kind", "1", |_| {
            Err(Error::Refused("cut off".into()))
        });
        assert!(cut_off.is_err());
        let write = |folder: &Path| fs::write(folder.join("file"), "whole").about("write", folder);
        let (ready, outcome) = folder(&cache, "kind", "1", write).expect("made");
        assert!(outcome == Outcome::Done && ready.join("file").exists());
        let (_, outcome) = folder(&cache, "kind", "1", |_| {
            Err(Error::Refused("not again".into()))
        })
        .expect("kept");
        assert!(outcome == Outcome::Cached);
        assert_eq!(
            fs::read_dir(cache.join("kind")).expect("the cache").count(),
            1
        );
        fs::remove_dir_all(cache).expect("the temporary folder");
    }

    #[test]
    fn a_key_tells_its_parts_apart() {
        assert_ne!(
            Key::default().with("ab").with("c").name(),
            Key::default().with("a").with("bc").name()
        );
    }
}
