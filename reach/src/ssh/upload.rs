//! Copying a file to a host without sftp: through a shell that checks the digest before the file gets its name.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{Error, Fleet, Target};
use crate::shell::{as_root, quote};

/// Most of a shell's complaint that is kept.
const COMPLAINT: usize = 4096;

impl Fleet {
    /// Puts the bytes at an absolute path, whole or not at all. Its folder is made if need be, private to its owner.
    pub async fn upload(
        &self,
        target: &Target,
        bytes: Bytes,
        path: &str,
        mode: u32,
        deadline: Instant,
    ) -> Result<(), Error> {
        let digest = hex::encode(Sha256::digest(&bytes));
        let command = as_root(target, &script(path, mode, &digest));
        let failed = |message: String| Error::UploadFailed {
            address: target.endpoint(),
            path: path.to_owned(),
            message,
        };
        let session = self.session(target, deadline).await?;
        let copying = async { session.exec(&command, bytes).await?.finish(COMPLAINT).await };
        let finished = timeout_at(deadline, copying)
            .await
            .map_err(|_| failed("took too long".to_owned()))??;
        if finished.succeeded() {
            return Ok(());
        }
        Err(failed(
            String::from_utf8_lossy(&finished.stderr).trim().to_owned(),
        ))
    }
}

/// The new file lies beside its place under a name of its own, so that two copies under way do no harm.
fn script(path: &str, mode: u32, digest: &str) -> String {
    let (folder, path) = (
        quote(path.rsplit_once('/').map_or(".", |(folder, _)| folder)),
        quote(path),
    );
    format!(
        "set -e; umask 077; d={folder}; p={path}; mkdir -p \"$d\"; t=\"$p.$$\"; trap 'rm -f \"$t\"' EXIT; \
         cat >\"$t\"; printf '%s  %s\\n' {digest} \"$t\" | sha256sum -c - >/dev/null; \
         chmod {mode:o} \"$t\"; sync \"$t\" 2>/dev/null || sync; mv -f \"$t\" \"$p\""
    )
}
