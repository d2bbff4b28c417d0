//! Judges the host key in the middle of the handshake: nothing is sent to a machine that is not the one that is meant.

use std::{
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use russh::{client, keys::PublicKeyOrCertificate};

use super::{
    Error, HostKeys, SeenKey,
    host_key::{self, Verdict},
};

/// The host keys that are expected, and the place for the one that is shown.
pub(super) struct Guard {
    pub address: String,
    pub host: HostKeys,
    pub secret: HostKeys,
    pub shown: Arc<OnceLock<SeenKey>>,
}

/// Why the handshake ended early.
#[derive(Debug)]
pub(super) enum Refusal {
    HostKey(Box<Error>),
    Protocol(russh::Error),
}

impl From<russh::Error> for Refusal {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl client::Handler for Guard {
    type Error = Refusal;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let names = host_key::names(&self.address);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let key = shown.public_key();
        let verdict = host_key::judge(&self.host, &self.secret, shown, &names, now);
        let seen = host_key::openssh(&key);
        let first_use = match verdict {
            Verdict::Known => false,
            Verdict::FirstUse => true,
            Verdict::Unknown => {
                let address = self.address.clone();
                return Err(Refusal::HostKey(Box::new(Error::HostKeyUnknown {
                    address,
                    seen,
                })));
            }
            Verdict::Mismatch => {
                let expected = [&self.host, &self.secret]
                    .iter()
                    .flat_map(|keys| keys.expected())
                    .collect();
                let seen = host_key::fingerprint(&key);
                let address = self.address.clone();
                return Err(Refusal::HostKey(Box::new(Error::HostKeyMismatch {
                    address,
                    expected,
                    seen,
                })));
            }
        };
        let _ = self.shown.set(SeenKey {
            openssh: seen,
            first_use,
        });
        Ok(true)
    }
}
