//! What only one guest has (keys, certificates, its pod range), as a tar that is its second disk.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::{
    error::{About, Result},
    pki::Pki,
};

/// The id that `useradd` gives the first account of the image, `deploy`.
const DEPLOY: u64 = 1000;

pub struct Seed {
    tar: Builder<File>,
    path: PathBuf,
}

impl Seed {
    pub fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).about("create", &path)?;
        Ok(Self {
            tar: Builder::new(file),
            path,
        })
    }

    /// Who may log in with a key, and the key that the guest shows them.
    pub fn login(&mut self, public: &Path, host_key: &Path) -> Result<()> {
        let read = |path: &Path| fs::read(path).about("read", path);
        let public = read(public)?;
        for (home, owner) in [("root", 0), ("home/deploy", DEPLOY)] {
            self.entry(
                EntryType::Directory,
                0o700,
                &format!("{home}/.ssh"),
                owner,
                &[],
            )?;
            let keys = format!("{home}/.ssh/authorized_keys");
            self.entry(EntryType::Regular, 0o600, &keys, owner, &public)?;
        }
        self.file("etc/ssh/ssh_host_ed25519_key", &read(host_key)?)
    }

    /// What makes a guest a node: without these files its Kubernetes services do not start.
    pub fn node(&mut self, name: &str, pods: &str, pki: &Pki) -> Result<()> {
        for file in ["ca.crt", "proxy.kubeconfig"] {
            self.file(&format!("etc/kubernetes/{file}"), &pki.read(file)?)?;
        }
        for extension in ["crt", "key", "kubeconfig"] {
            let data = pki.read(&format!("{name}.{extension}"))?;
            self.file(&format!("etc/kubernetes/node.{extension}"), &data)?;
        }
        self.file("etc/cni/net.d/10-bridge.conflist", cni(pods).as_bytes())
    }

    pub fn finish(mut self) -> Result<()> {
        self.tar.finish().about("write", self.path)
    }

    fn file(&mut self, path: &str, data: &[u8]) -> Result<()> {
        self.entry(EntryType::Regular, 0o600, path, 0, data)
    }

    fn entry(
        &mut self,
        kind: EntryType,
        mode: u32,
        path: &str,
        owner: u64,
        data: &[u8],
    ) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(data.len() as u64);
        self.tar
            .append_data(&mut header, path, data)
            .about("write", &self.path)
    }
}

/// Pods keep their own addresses on the way to others: every guest has the routes back.
fn cni(pods: &str) -> String {
    json!({
        "cniVersion": "1.0.0",
        "name": "bridge",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}
