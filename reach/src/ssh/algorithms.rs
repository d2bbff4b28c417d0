//! Which algorithms are offered, fastest first among the sound ones, and host key types in the order in which we can check them.

use std::{borrow::Cow, sync::Arc, time::Duration};

use russh::{
    Preferred, cipher, client, compression, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg},
};

use super::HostKeys;

const KEX: &[kex::Name] = &[
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::MLKEM768X25519_SHA256,
    kex::DH_GEX_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_128_CTR,
];

const RSA_SHA512: Algorithm = Algorithm::Rsa {
    hash: Some(HashAlg::Sha512),
};
const RSA_SHA256: Algorithm = Algorithm::Rsa {
    hash: Some(HashAlg::Sha256),
};

/// RSA with SHA-1 is not here: it can be forged.
const HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    RSA_SHA512,
    RSA_SHA256,
];

/// Keep-alive: a connection that stays silent this many times this long is lost.
const KEEPALIVE: (Duration, usize) = (Duration::from_secs(15), 3);

/// Client configuration for a host of which these statements are known.
pub(super) fn config(host: &HostKeys, secret: &HostKeys) -> Arc<client::Config> {
    let certificates = !(host.authorities.is_empty() && secret.authorities.is_empty());
    Arc::new(client::Config {
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Owned(host_key_order(host, secret)),
            host_key_certificates: if certificates {
                Cow::Owned(HOST_KEYS.to_vec())
            } else {
                Cow::Borrowed(&[])
            },
            cipher: Cow::Borrowed(CIPHERS),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(KEEPALIVE.0),
        keepalive_max: KEEPALIVE.1,
        // Small buffers, because ten thousand connections may be open at once.
        channel_buffer_size: 16,
        ..client::Config::default()
    })
}

/// A server shows the first type that we ask for, so the pinned types come first.
fn host_key_order(host: &HostKeys, secret: &HostKeys) -> Vec<Algorithm> {
    let pinned = |algorithm: &Algorithm| {
        let same = |pin: &Algorithm| match (pin, algorithm) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (pin, algorithm) => pin == algorithm,
        };
        host.pinned
            .iter()
            .chain(&secret.pinned)
            .any(|key| same(&key.algorithm()))
    };
    let (mut first, rest): (Vec<_>, Vec<_>) = HOST_KEYS.into_iter().partition(pinned);
    first.extend(rest);
    first
}
