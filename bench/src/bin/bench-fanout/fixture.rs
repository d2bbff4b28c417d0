//! Keys and client configuration that all sides share, in a folder that goes away with the bench.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use russh::keys::{Algorithm, PrivateKey, ssh_key::LineEnding};
use tempfile::TempDir;

use crate::Result;

pub struct Fixture {
    folder: TempDir,
    pub user_key: String,
    pub host_key: String,
}

impl Fixture {
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bench-fanout-").tempdir()?;
        let make = || PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519);
        let (user, host) = (make()?, make()?);
        let fixture = Self {
            user_key: user.to_openssh(LineEnding::LF)?.to_string(),
            host_key: host.public_key().to_openssh()?,
            folder,
        };
        fixture.write("user_key", &fixture.user_key)?;
        fixture.write("host_key", &host.to_openssh(LineEnding::LF)?)?;
        fixture.write("authorized_keys", &(user.public_key().to_openssh()? + "\n"))?;
        fixture.write("known_hosts", &format!("* {}\n", fixture.host_key))?;
        Ok(fixture)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }

    /// The user who runs the bench, since a real sshd without root lets in nobody else.
    pub fn user() -> Result<String> {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective())?;
        Ok(user.ok_or("the user has no name")?.name)
    }

    /// The n-th of the hosts: each an address of its own out of 127/8.
    pub fn host(n: usize) -> String {
        format!("127.1.{}.{}", n / 250, n % 250 + 1)
    }

    /// Client configuration of OpenSSH with the same keys, the same checks and the same algorithms as ours.
    pub fn ssh_config(&self, port: u16) -> Result<PathBuf> {
        let text = format!(
            "Host *\n  User {}\n  Port {port}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
             GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n  ConnectTimeout 60\n  \
             KexAlgorithms curve25519-sha256\n  Ciphers aes256-gcm@openssh.com\n  HostKeyAlgorithms ssh-ed25519\n  \
             PreferredAuthentications publickey\n",
            Self::user()?,
            self.path("user_key").display(),
            self.path("known_hosts").display(),
        );
        self.write("ssh_config", &text)
    }
}
