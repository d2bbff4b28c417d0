//! Credentials of a Secret of type `pilothouse.dev/ssh`: read and checked once, never shown, and bound to the places that the Secret names.

use std::{collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::ByteString;
use russh::keys::{Certificate, PrivateKey, decode_secret_key, ssh_key::Kdf};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::{Error, HostKeys, Scope, Target, host_key};

/// A login with the places where it may be used. Reading an encrypted key costs a tenth of a second: keep the value as long as the Secret's resourceVersion stays.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    key: Option<Arc<PrivateKey>>,
    certificate: Option<Certificate>,
    password: Option<SecretString>,
    addresses: Scope,
    jump_hosts: Vec<String>,
    host_keys: HostKeys,
    digest: [u8; 32],
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("addresses", &self.0.addresses)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the keys of the Secret; an absent key and an empty one are the same.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Result<Self, Error> {
        let passphrase = text(data, "passphrase")?;
        let key = text(data, "ssh-privatekey")?
            .map(|pem| private_key(pem, passphrase))
            .transpose()?;
        let certificate = text(data, "ssh-certificate")?
            .map(certificate)
            .transpose()?;
        let password =
            text(data, "password")?.map(|p| SecretString::from(p.trim_end_matches(['\r', '\n'])));
        let addresses = Scope::parse("addresses", text(data, "addresses")?.unwrap_or_default())?;
        let jump_hosts = lines(text(data, "jumpHosts")?).map(str::to_owned).collect();
        let mut host_keys = HostKeys::default();
        host_keys.pinned = host_key::parse("hostKeys", lines(text(data, "hostKeys")?))?;
        host_keys.authorities = host_key::parse("hostCA", lines(text(data, "hostCA")?))?;
        let digest = digest(data);
        let inner = Inner {
            key,
            certificate,
            password,
            addresses,
            jump_hosts,
            host_keys,
            digest,
        };
        inner.check()?;
        Ok(Self(Arc::new(inner)))
    }

    /// Whether these credentials may be used with this target and its jump host, as far as names tell; resolved addresses are chosen by [`Scope::choose`].
    pub fn permit(&self, target: &Target) -> Result<(), Error> {
        let Some(jump) = &target.jump else {
            return Ok(());
        };
        // Behind a jump host the name is resolved out of our sight, so the name or literal address itself must be permitted.
        if !self.0.addresses.permits(&target.address) {
            return Err(Error::CredentialNotForAddress {
                address: target.address.clone(),
            });
        }
        let named = |entry: &String| {
            entry.eq_ignore_ascii_case(&jump.name) || entry.eq_ignore_ascii_case(&jump.address)
        };
        if !self.0.jump_hosts.iter().any(named) {
            return Err(Error::CredentialNotForJumpHost {
                jump: jump.name.clone(),
            });
        }
        jump.credentials.permit(jump)
    }

    pub fn addresses(&self) -> &Scope {
        &self.0.addresses
    }

    pub(super) fn host_keys(&self) -> &HostKeys {
        &self.0.host_keys
    }

    pub(super) fn key(&self) -> Option<&Arc<PrivateKey>> {
        self.0.key.as_ref()
    }

    pub(super) fn certificate(&self) -> Option<&Certificate> {
        self.0.certificate.as_ref()
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.0
            .password
            .as_ref()
            .map(secrecy::ExposeSecret::expose_secret)
    }

    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }
}

impl Inner {
    fn check(&self) -> Result<(), Error> {
        let bad = |field, reason: &str| {
            Err(Error::BadCredential {
                field,
                reason: reason.to_owned(),
            })
        };
        if self.addresses.is_empty() {
            return bad(
                "addresses",
                "names no address, so the credentials may go nowhere",
            );
        }
        if self.key.is_none() && self.password.is_none() {
            return bad("ssh-privatekey", "neither a key nor a password is given");
        }
        match (&self.certificate, &self.key) {
            (Some(_), None) => bad("ssh-certificate", "a certificate needs its ssh-privatekey"),
            (Some(certificate), Some(key))
                if certificate.public_key() != key.public_key().key_data() =>
            {
                bad("ssh-certificate", "it does not belong to ssh-privatekey")
            }
            _ => Ok(()),
        }
    }
}

fn text<'a>(
    data: &'a BTreeMap<String, ByteString>,
    field: &'static str,
) -> Result<Option<&'a str>, Error> {
    let Some(bytes) = data.get(field).filter(|bytes| !bytes.0.is_empty()) else {
        return Ok(None);
    };
    std::str::from_utf8(&bytes.0)
        .map(Some)
        .map_err(|_| Error::BadCredential {
            field,
            reason: "is no UTF-8 text".to_owned(),
        })
}

fn lines(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Rounds by which a passphrase may be stretched: two seconds or so. Whoever writes the Secret chooses them, and everybody would wait.
const ROUNDS: u32 = 256;

fn private_key(pem: &str, passphrase: Option<&str>) -> Result<Arc<PrivateKey>, Error> {
    // The library's own error could quote parts of the key, so only its kind is told.
    let bad = |reason: &str| Error::BadCredential {
        field: "ssh-privatekey",
        reason: reason.to_owned(),
    };
    if let Some(passphrase) = passphrase {
        return unlocked(pem, passphrase.trim_end_matches(['\r', '\n'])).map_err(bad);
    }
    let foreign = "is no private key in OpenSSH, PKCS#8 or PKCS#1 form";
    // It says itself how much memory it takes to read.
    if pem.trim_start().starts_with("PuTTY-User-Key-File") {
        return Err(bad(foreign));
    }
    match decode_secret_key(pem, None) {
        Ok(key) if key.is_encrypted() => Err(bad("is encrypted; give its passphrase")),
        Ok(key) => Ok(Arc::new(key)),
        Err(russh::keys::Error::KeyIsEncrypted) => Err(bad("is encrypted; give its passphrase")),
        Err(_) => Err(bad(foreign)),
    }
}

/// Reads a key in OpenSSH form with its passphrase; other forms let the key say how much time and memory that takes.
fn unlocked(pem: &str, passphrase: &str) -> Result<Arc<PrivateKey>, &'static str> {
    let key = PrivateKey::from_openssh(pem.trim())
        .map_err(|_| "a passphrase is for a key in OpenSSH form; write it so with ssh-keygen -p")?;
    let key = match key.kdf() {
        Kdf::Bcrypt { rounds, .. } if *rounds > ROUNDS => {
            return Err("takes too many rounds to decrypt; write it with ssh-keygen -p -a 100");
        }
        _ if key.is_encrypted() => key.decrypt(passphrase),
        _ => Ok(key),
    };
    key.map(Arc::new)
        .map_err(|_| "cannot be read with the passphrase given")
}

fn certificate(line: &str) -> Result<Certificate, Error> {
    Certificate::from_openssh(line.trim()).map_err(|_| Error::BadCredential {
        field: "ssh-certificate",
        reason: "is no OpenSSH certificate".to_owned(),
    })
}

/// Tells two sets of credentials apart without keeping either.
fn digest(data: &BTreeMap<String, ByteString>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, value) in data {
        for part in [name.as_bytes(), &value.0] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use russh::keys::{Algorithm, ssh_key::LineEnding};

    use super::*;

    fn refusal(key: &str) -> String {
        let fields = [
            ("addresses", "*"),
            ("passphrase", "open sesame"),
            ("ssh-privatekey", key),
        ];
        let data = fields.map(|(name, text)| (name.to_owned(), ByteString(text.into())));
        let refused = Credentials::from_secret(&data.into()).expect_err("refused");
        refused.to_string()
    }

    #[test]
    fn a_key_does_not_say_how_long_everybody_waits_for_it() {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).expect("a key");
        let locked = key
            .encrypt(&mut rand::rng(), "open sesame")
            .expect("locked");
        let pem = locked.to_openssh(LineEnding::LF).expect("text");
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let mut bytes = BASE64_STANDARD.decode(body).expect("bytes");
        let name = bytes.windows(6).position(|name| name == b"bcrypt");
        // Its name, two lengths and the salt stand before the rounds.
        let rounds = name.expect("it is stretched") + 6 + 4 + 4 + 16;
        bytes[rounds..rounds + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        let body = BASE64_STANDARD.encode(bytes);
        let lines: Vec<_> = (0..body.len())
            .step_by(70)
            .map(|at| &body[at..body.len().min(at + 70)])
            .collect();
        let (head, foot) = (
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----END OPENSSH PRIVATE KEY-----",
        );
        let refused = refusal(&format!("{head}\n{}\n{foot}\n", lines.join("\n")));
        assert!(refused.contains("too many rounds"), "{refused}");
        let other = refusal(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        assert!(other.contains("in OpenSSH form"), "{other}");
    }
}
