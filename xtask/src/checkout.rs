//! Where things are: the tree, the state of its cluster, and the caches that all checkouts share.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::error::{About, Error, Result};

pub struct Checkout {
    pub root: PathBuf,
    /// Short name of this checkout, for what the machine knows only one of.
    pub id: String,
}

impl Checkout {
    pub fn here() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let folder = Path::new(&manifest).join("..");
        let root = folder.canonicalize().about("find", &folder)?;
        let id = hex::encode(&Sha256::digest(root.as_os_str().as_encoded_bytes())[..4]);
        Ok(Self { root, id })
    }

    /// State of the running cluster; gone after `down`.
    pub fn local(&self) -> PathBuf {
        self.root.join("target/local")
    }

    /// Stays after `down`, so that what went wrong can still be read.
    pub fn logs(&self) -> PathBuf {
        self.root.join("target/local-logs")
    }

    /// State of control planes without nodes, a folder each; gone when what needed them has ended.
    pub fn planes(&self) -> PathBuf {
        self.root.join("target/planes")
    }

    pub fn recipe(&self) -> PathBuf {
        self.root.join("e2e/cluster")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.local().join("kubeconfig")
    }

    /// Memory files of guests; on a RAM disk, or a guest's every page would be written out.
    pub fn memory(&self) -> PathBuf {
        Path::new("/dev/shm").join(format!("pilothouse-{}", self.id))
    }

    pub fn cache() -> Result<PathBuf> {
        let home = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
        let cache = home
            .ok_or_else(|| Error::Refused("neither XDG_CACHE_HOME nor HOME is set".into()))?
            .join("pilothouse");
        fs::create_dir_all(&cache).about("create", &cache)?;
        Ok(cache)
    }

    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        // What cargo tells xtask of its own package, `ring` takes for a change of its build, and is compiled anew with all that stands on it.
        let about_us = |name: &OsString| {
            let name = name.as_encoded_bytes();
            name.starts_with(b"CARGO_PKG_") || name.starts_with(b"CARGO_MANIFEST_")
        };
        for name in env::vars_os().map(|(name, _)| name).filter(about_us) {
            cargo.env_remove(name);
        }
        cargo
    }

    /// Held while the cluster of this checkout is changed.
    pub fn lock(&self) -> Result<File> {
        let path = self.root.join("target/local.lock");
        fs::create_dir_all(self.root.join("target")).about("create", &path)?;
        let file = File::create(&path).about("create", &path)?;
        file.try_lock().map_err(|_| {
            Error::Refused(format!(
                "another xtask works on this checkout's cluster; it holds {}",
                path.display()
            ))
        })?;
        Ok(file)
    }
}
