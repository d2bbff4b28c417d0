//! The ways to targets: connections over SSH, what is brought over them, and requests of http steps. Nothing begins on them once the Lease may be somebody else's.

use std::path::Path;

use reach::{
    Fence,
    host::Toolkit,
    http::Outbound,
    ssh::{Fleet, Limits},
};

use crate::error::{Error, Result};

pub struct Ways {
    pub fleet: Fleet,
    pub toolkit: Toolkit,
    pub outbound: Outbound,
}

impl Ways {
    /// With the toolkit that is read from a file.
    pub fn open(toolkit: &Path, fence: Fence) -> Result<Self> {
        let bytes = std::fs::read(toolkit).map_err(|source| Error::Toolkit {
            path: toolkit.display().to_string(),
            source,
        })?;
        let fleet = Fleet::fenced(Limits::default(), fence.clone());
        Ok(Self {
            toolkit: Toolkit::new(bytes),
            outbound: Outbound::new(fleet.avoided().clone(), fence),
            fleet,
        })
    }
}
