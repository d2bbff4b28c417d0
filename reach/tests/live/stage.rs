//! Credentials, targets and a fleet for the tests.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::ByteString;
use reach::ssh::{Credentials, Error, Fleet, HostKeys, Limits, Target};
use russh::keys::{
    Certificate, PrivateKey,
    ssh_key::{
        LineEnding,
        certificate::{Builder, CertType},
    },
};
use tokio::time::Instant;

use crate::sshd::Sshd;

pub fn secret(fields: &[(&str, &str)]) -> Result<Credentials, Error> {
    let data: BTreeMap<_, _> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), ByteString(value.as_bytes().to_vec())))
        .collect();
    Credentials::from_secret(&data)
}

pub fn pem(key: &PrivateKey) -> String {
    key.to_openssh(LineEnding::LF).unwrap().to_string()
}

pub fn with_key(key: &PrivateKey) -> Credentials {
    secret(&[("ssh-privatekey", &pem(key)), ("addresses", "127.0.0.1")]).unwrap()
}

pub fn with_password(password: &str) -> Credentials {
    secret(&[("password", password), ("addresses", "127.0.0.0/8")]).unwrap()
}

pub fn target(server: &Sshd, credentials: Credentials) -> Target {
    Target {
        team: "team".into(),
        name: "host".into(),
        address: server.at.ip().to_string(),
        port: server.at.port(),
        user: "root".into(),
        credentials,
        host_keys: HostKeys::pinned([server.host_key.as_str()]).unwrap(),
        sudo: false,
        jump: None,
        node: None,
    }
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub fn fleet() -> Fleet {
    Fleet::new(Limits::default())
}

pub async fn echo(fleet: &Fleet, target: &Target) -> Result<String, Error> {
    let finished = fleet
        .session(target, soon())
        .await?
        .exec("echo hello", "")
        .await?
        .finish(100)
        .await?;
    Ok(String::from_utf8(finished.stdout).unwrap())
}

pub fn certificate(
    subject: &PrivateKey,
    authority: &PrivateKey,
    kind: CertType,
    principal: &str,
) -> Certificate {
    let mut builder = Builder::new_with_random_nonce(
        &mut rand::rng(),
        subject.public_key().key_data().clone(),
        0,
        u64::MAX - 1,
    )
    .unwrap();
    builder
        .cert_type(kind)
        .unwrap()
        .key_id("test")
        .unwrap()
        .valid_principal(principal)
        .unwrap();
    builder.sign(authority).unwrap()
}
