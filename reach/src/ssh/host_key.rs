//! How a host proves who it is: pinned keys, a certificate authority, or trust on first use. Deciding is pure; the handshake only asks.

use std::net::IpAddr;

use russh::keys::{
    Certificate, HashAlg, PublicKey, PublicKeyOrCertificate, ssh_key::certificate::CertType,
};

use super::Error;

/// What a Host, or a credentials Secret, says about host keys.
#[derive(Clone, Debug, Default)]
pub struct HostKeys {
    pub(super) pinned: Vec<PublicKey>,
    pub(super) authorities: Vec<PublicKey>,
    first_use: bool,
}

/// The key that a host showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenKey {
    /// Public key in OpenSSH form, fit for pinning.
    pub openssh: String,
    /// Nothing vouched for the key: the caller keeps it and pins it from now on.
    pub first_use: bool,
}

/// What a shown key amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    FirstUse,
    Mismatch,
    Unknown,
}

impl HostKeys {
    /// Any of these keys is accepted, and nothing else.
    pub fn pinned<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let pinned = parse("hostKeys", keys.into_iter())?;
        Ok(Self {
            pinned,
            ..Self::default()
        })
    }

    /// The first key seen is accepted and told to the caller, who pins it.
    pub fn trust_on_first_use() -> Self {
        Self {
            first_use: true,
            ..Self::default()
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.pinned.is_empty() && self.authorities.is_empty()
    }

    pub(super) fn expected(&self) -> Vec<String> {
        let pinned = self.pinned.iter().map(fingerprint);
        let authorities = self
            .authorities
            .iter()
            .map(|ca| format!("a certificate of {}", fingerprint(ca)));
        pinned.chain(authorities).collect()
    }

    /// Every statement that decides, in a form that differs when they differ.
    pub(super) fn identity(&self) -> String {
        format!("{} first_use={}", self.expected().join(","), self.first_use)
    }

    fn matches(&self, shown: &PublicKeyOrCertificate, names: &[&str], now: u64) -> bool {
        let key = shown.public_key();
        // The exchange was signed with this key, in a certificate or not, so a pin of it holds either way.
        if self
            .pinned
            .iter()
            .any(|pin| pin.key_data() == key.key_data())
        {
            return true;
        }
        let vouched = |certificate| vouches(&self.authorities, certificate, names, now);
        shown.certificate().is_some_and(vouched)
    }
}

/// The host's own statement decides; where the Secret makes one, it must hold as well, and it may stand in for first use.
pub(super) fn judge(
    host: &HostKeys,
    secret: &HostKeys,
    shown: &PublicKeyOrCertificate,
    names: &[&str],
    now: u64,
) -> Verdict {
    let by_secret = secret.is_silent() || secret.matches(shown, names, now);
    let by_host = !host.is_silent() && host.matches(shown, names, now);
    match (host.is_silent(), secret.is_silent()) {
        _ if !by_secret => Verdict::Mismatch,
        (false, _) if by_host => Verdict::Known,
        (false, _) => Verdict::Mismatch,
        (true, false) => Verdict::Known,
        (true, true) if host.first_use => Verdict::FirstUse,
        (true, true) => Verdict::Unknown,
    }
}

fn vouches(authorities: &[PublicKey], certificate: &Certificate, names: &[&str], now: u64) -> bool {
    let fingerprints: Vec<_> = authorities
        .iter()
        .map(|ca| ca.fingerprint(HashAlg::Sha256))
        .collect();
    let holds = |principal: &String| {
        names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(principal))
    };
    certificate.cert_type() == CertType::Host
        && certificate.critical_options().is_empty()
        // A certificate without principals would hold for every machine.
        && certificate.valid_principals().iter().any(holds)
        && certificate.validate_at(now, &fingerprints).is_ok()
}

/// Names under which a certificate may know a machine: as it is addressed, and an address in its canonical form.
pub(super) fn names(address: &str) -> Vec<String> {
    let canonical = address
        .parse::<IpAddr>()
        .ok()
        .map(|ip| ip.to_canonical().to_string());
    std::iter::once(address.to_owned())
        .chain(canonical)
        .collect()
}

pub(super) fn parse<'a>(
    field: &'static str,
    keys: impl Iterator<Item = &'a str>,
) -> Result<Vec<PublicKey>, Error> {
    keys.map(|key| {
        PublicKey::from_openssh(key.trim()).map_err(|_| Error::BadCredential {
            field,
            reason: format!("{key:?} is no public key in OpenSSH form"),
        })
    })
    .collect()
}

/// Algorithm and fingerprint, as `ssh` shows them.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// The key as one line of OpenSSH text, without a comment.
pub(super) fn openssh(key: &PublicKey) -> String {
    PublicKey::new(key.key_data().clone(), "")
        .to_openssh()
        .unwrap_or_default()
}
