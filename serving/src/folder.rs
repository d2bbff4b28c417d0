//! Certificates that somebody else keeps (cert-manager, an existing Secret) and that are mounted as a folder: tls.crt, tls.key, and ca.crt where
//! clients need it.

use std::{io, path::Path};

use tokio::fs::read_to_string;

/// What the folder holds.
pub struct Mounted {
    pub certificate: String,
    pub key: String,
    pub bundle: Option<String>,
}

pub async fn read(folder: &Path) -> io::Result<Mounted> {
    let bundle = match read_to_string(folder.join("ca.crt")).await {
        Ok(text) => Some(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    Ok(Mounted {
        certificate: read_to_string(folder.join("tls.crt")).await?,
        key: read_to_string(folder.join("tls.key")).await?,
        bundle,
    })
}
