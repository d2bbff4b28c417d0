//! The toolkit on a host: copied once a version, checked by digest before every use, run from the very file that was checked.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{
    Error,
    answer::{Answers, Opening},
};
use crate::{
    shell::{as_root, quote},
    ssh::{self, Fleet, Target},
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
        format!("{}/toolkit-{}", self.folder, &self.digest[..16])
    }

    /// Asks the toolkit on the host; copies it there first only when it turns out to be absent. The error says that nothing was started.
    pub(super) async fn ask(
        &self,
        fleet: &Fleet,
        target: &Target,
        verb: &str,
        request: Bytes,
        deadline: Instant,
    ) -> Result<Asked, Error> {
        let command = self.command(target, verb);
        let mut copied = false;
        loop {
            let delivery = |source| Error::Delivery {
                address: target.endpoint(),
                source,
            };
            let session = fleet.session(target, deadline).await.map_err(delivery)?;
            let mut answers = match session.exec(&command, request.clone()).await {
                Ok(exchange) => Answers::new(exchange),
                Err(cause) => return Ok(Asked::Lost(cause)),
            };
            match timeout_at(deadline, answers.open()).await {
                Ok(Ok(Opening::Answering)) => return Ok(Asked::Answers(answers)),
                Ok(Ok(Opening::Absent)) if !copied => self.copy(fleet, target, deadline).await?,
                Ok(Ok(opening)) => return Err(self.explain(target, opening)),
                Ok(Err(cause)) => return Ok(Asked::Lost(cause)),
                Err(_) => {
                    return Ok(Asked::Lost(ssh::Error::ConnectionLost {
                        address: target.endpoint(),
                    }));
                }
            }
            copied = true;
        }
    }

    async fn copy(&self, fleet: &Fleet, target: &Target, deadline: Instant) -> Result<(), Error> {
        let path = self.path();
        let copied = fleet
            .upload(target, self.binary.clone(), &path, 0o700, deadline)
            .await;
        copied.map_err(|error| match error {
            ssh::Error::UploadFailed {
                address, message, ..
            } => match sudo_complaint(&message) {
                Some(message) => Error::SudoRefused {
                    address,
                    user: target.user.clone(),
                    message,
                },
                None => Error::PathNotWritable {
                    address,
                    path,
                    message,
                },
            },
            source => Error::Delivery {
                address: target.endpoint(),
                source,
            },
        })
    }

    fn explain(&self, target: &Target, opening: Opening) -> Error {
        let (address, path) = (target.endpoint(), self.path());
        match opening {
            Opening::Unsafe(message) => Error::PathNotSafe {
                address,
                path: self.folder.clone(),
                message,
            },
            Opening::Complaint(message) => match sudo_complaint(&message) {
                Some(message) => Error::SudoRefused {
                    address,
                    user: target.user.clone(),
                    message,
                },
                None => Error::ToolkitNotRunnable {
                    address,
                    path,
                    message,
                },
            },
            Opening::Absent => {
                let message = "what was just copied is not there, or differs".to_owned();
                Error::ToolkitNotRunnable {
                    address,
                    path,
                    message,
                }
            }
            Opening::Answering => Error::NotUnderstood {
                address,
                message: "an answer where none was due".to_owned(),
            },
        }
    }

    /// The file is opened once, checked through that descriptor, and run through it. The folder is the user's own and closed to others, so nobody can put another file there.
    fn command(&self, target: &Target, verb: &str) -> String {
        let (folder, path, digest) = (quote(&self.folder), quote(&self.path()), &self.digest);
        let script = format!(
            "d={folder}; t={path}; \
             if [ ! -d \"$d\" ] || [ ! -f \"$t\" ] || [ -L \"$t\" ]; then echo pilothouse:absent; exit 0; fi; \
             s=$(stat -c '%u %a' \"$d\"); \
             if [ -L \"$d\" ] || [ \"$s\" != \"$(id -u) 700\" ]; then echo \"pilothouse:unsafe owner and mode are $s\"; exit 0; fi; \
             exec 9<\"$t\"; \
             if [ \"$(sha256sum <&9 | cut -c1-64)\" != {digest} ]; then echo pilothouse:absent; exit 0; fi; \
             exec /proc/self/fd/9 {verb}"
        );
        as_root(target, &script)
    }
}

/// What came of asking.
pub(super) enum Asked {
    Answers(Answers),
    /// The connection broke after the request was sent.
    Lost(ssh::Error),
}

fn sudo_complaint(message: &str) -> Option<String> {
    let line = message.lines().find(|line| line.starts_with("sudo:"))?;
    Some(line.trim_start_matches("sudo:").trim().to_owned())
}
