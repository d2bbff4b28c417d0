//! The toolkit on a host: copied once a version, checked by digest before every use, run from the very file that was checked.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{
    Error,
    answer::{Answers, Opening},
};
use crate::{
    shell::{as_root, private_folder, quote},
    ssh::{self, Fleet, Session, Target},
};

/// Folder of the toolkits on a host.
const FOLDER: &str = "/var/lib/pilothouse/bin";

/// The toolkit as it is to be copied.
#[derive(Clone, Debug)]
pub struct Toolkit {
    binary: Bytes,
    digest: String,
    folder: String,
}

impl Toolkit {
    pub fn new(binary: impl Into<Bytes>) -> Self {
        let binary = binary.into();
        let digest = hex::encode(Sha256::digest(&binary));
        Self {
            binary,
            digest,
            folder: FOLDER.to_owned(),
        }
    }

    /// Keeps the toolkit in another folder of the host.
    #[must_use]
    pub fn in_folder(mut self, folder: impl Into<String>) -> Self {
        self.folder = folder.into();
        self
    }

    pub fn path(&self) -> String {
        format!("{}/{}", self.folder, self.name())
    }

    fn name(&self) -> String {
        format!("toolkit-{}", &self.digest[..16])
    }

    /// Asks the toolkit on the host. An error says that nothing was started by asking.
    pub(super) async fn ask(
        &self,
        session: Session,
        target: &Target,
        verb: &str,
        request: Bytes,
        deadline: Instant,
    ) -> Result<Asked, Error> {
        let delivery = |source| Error::delivery(target, source);
        let mut answers = match session.exec(&self.command(target, verb), request).await {
            Ok(exchange) => Answers::new(exchange),
            Err(cause) => return Ok(Asked::Lost(delivery(cause))),
        };
        match timeout_at(deadline, answers.open()).await {
            Ok(Ok(Opening::Answering)) => Ok(Asked::Answers(answers)),
            Ok(Ok(Opening::Absent)) => Ok(Asked::Absent),
            Ok(Ok(Opening::Unsafe(message))) => Err(self.not_safe(target, message)),
            Ok(Ok(Opening::Complaint(message))) => Err(self.not_runnable(target, message)),
            Ok(Ok(Opening::Died(message))) => Ok(Asked::Lost(Error::ToolkitDied {
                address: target.endpoint(),
                message,
            })),
            Ok(Err(cause @ ssh::Error::ExecRefused { .. })) => Err(delivery(cause)),
            Ok(Err(cause)) => Ok(Asked::Lost(delivery(cause))),
            Err(_) => Ok(Asked::Lost(Error::lost(target))),
        }
    }

    /// Copies the toolkit to the host, once for each `Copied`.
    pub(super) async fn copy_once(
        &self,
        fleet: &Fleet,
        target: &Target,
        copied: &mut Copied,
        deadline: Instant,
    ) -> Result<(), Error> {
        if copied.0 {
            let message = "what was just copied is not there, or differs".to_owned();
            return Err(self.not_runnable(target, message));
        }
        self.copy(fleet, target, deadline).await?;
        copied.0 = true;
        Ok(())
    }

    async fn copy(&self, fleet: &Fleet, target: &Target, deadline: Instant) -> Result<(), Error> {
        let path = self.path();
        let copied = fleet
            .upload(target, self.binary.clone(), &path, 0o700, deadline)
            .await;
        copied.map_err(|error| match error {
            ssh::Error::UploadUnsafe { message, .. } => self.not_safe(target, message),
            ssh::Error::UploadFailed {
                address, message, ..
            } => match sudo_complaint(&message) {
                Some(message) => sudo_refused(target, message),
                None => Error::PathNotWritable {
                    address,
                    path,
                    message,
                },
            },
            source => Error::delivery(target, source),
        })
    }

    fn not_safe(&self, target: &Target, message: String) -> Error {
        Error::PathNotSafe {
            address: target.endpoint(),
            path: self.folder.clone(),
            message,
        }
    }

    fn not_runnable(&self, target: &Target, message: String) -> Error {
        match sudo_complaint(&message) {
            Some(message) => sudo_refused(target, message),
            None => Error::ToolkitNotRunnable {
                address: target.endpoint(),
                path: self.path(),
                message,
            },
        }
    }

    /// The folder is entered and judged, so that nobody can put another in its place; the file in it is opened once, checked through that descriptor, and run through it.
    fn command(&self, target: &Target, verb: &str) -> String {
        let (name, digest) = (quote(&self.name()), &self.digest);
        let enter = private_folder(&self.folder, "{ echo pilothouse:absent; exit 0; }");
        let script = format!(
            "{enter} t={name}; \
             if [ -n \"$unsafe\" ]; then echo \"pilothouse:unsafe $unsafe\"; exit 0; fi; \
             if [ ! -f \"$t\" ] || [ -L \"$t\" ]; then echo pilothouse:absent; exit 0; fi; \
             exec 9<\"$t\"; \
             if [ \"$(sha256sum <&9 | cut -c1-64)\" != {digest} ]; then echo pilothouse:absent; exit 0; fi; \
             echo pilothouse:running; exec /proc/self/fd/9 {verb}"
        );
        as_root(target, &script)
    }
}

/// Whether the toolkit was copied already, so that it is not copied again and again.
#[derive(Debug, Default)]
pub(super) struct Copied(bool);

/// What came of asking.
pub(super) enum Asked {
    Answers(Answers),
    /// The toolkit is not there; nothing was started by asking.
    Absent,
    /// The request was sent, and no answer came.
    Lost(Error),
}

fn sudo_refused(target: &Target, message: String) -> Error {
    Error::SudoRefused {
        address: target.endpoint(),
        user: target.user.clone(),
        message,
    }
}

fn sudo_complaint(message: &str) -> Option<String> {
    let line = message.lines().find(|line| line.starts_with("sudo:"))?;
    Some(line.trim_start_matches("sudo:").trim().to_owned())
}
