//! Copying a file to a host without sftp: through a shell that checks the digest before the file gets its name.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{Error, Exit, Fleet, Target};
use crate::shell::{as_root, private_folder, quote};

/// Most of a shell's complaint that is kept.
const COMPLAINT: usize = 4096;

/// Exit code of our own script for a folder that others could change.
const UNSAFE: Exit = Exit::Code(77);

impl Fleet {
    /// Puts the bytes at an absolute path, whole or not at all. Its folder is made if need be, and must be the user's own and closed to others.
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
        let began = Instant::now();
        let late = |_| Error::DeliveryTimedOut {
            address: target.endpoint(),
            waited: began.elapsed(),
            step: "copying",
            last: None,
        };
        let session = self.session(target, deadline).await?;
        let copying = async { session.exec(&command, bytes).await?.finish(COMPLAINT).await };
        let finished = timeout_at(deadline, copying).await.map_err(late)??;
        let message = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
        let (address, path) = (target.endpoint(), path.to_owned());
        match finished.exit {
            Exit::Code(0) => Ok(()),
            UNSAFE => Err(Error::UploadUnsafe {
                address,
                path,
                message,
            }),
            _ => Err(Error::UploadFailed {
                address,
                path,
                message,
            }),
        }
    }
}

/// The new file lies beside its place under a name that nobody can foresee, so that two copies under way do no harm.
fn script(path: &str, mode: u32, digest: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    // Made from within what it is made in, so that nothing is made where a link leads.
    let made = "{ above=${d%/*}; mkdir -p \"$above\"; cd \"$above\"; \
                if [ \"$(pwd -P)\" = \"$above\" ]; then mkdir -p \"${d##*/}\"; fi; }";
    let enter = private_folder(folder, made);
    let name = quote(name);
    format!(
        "set -e; umask 077; {enter} if [ -n \"$unsafe\" ]; then echo \"$unsafe\" >&2; exit 77; fi; \
         p={name}; t=$(mktemp ./copying.XXXXXX); trap 'rm -f \"$t\"' EXIT; \
         cat >\"$t\"; printf '%s  %s\\n' {digest} \"$t\" | sha256sum -c - >/dev/null; \
         chmod {mode:o} \"$t\"; sync \"$t\" 2>/dev/null || sync; mv -f \"$t\" \"./$p\""
    )
}
