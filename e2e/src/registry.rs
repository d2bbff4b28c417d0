//! A registry of OCI artifacts beside the hosts of the local cluster, which lets in whoever shows a token of its issuer.

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Child, Command, Stdio},
};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::json;

use crate::{network, stage::state_folder};

/// Where it is, as the hosts see it.
pub const ADDRESS: &str = "172.31.250.1:5000";
/// The repository that its token is for.
pub const REPOSITORY: &str = "acme/tools";

/// Ended and gone with what it holds when dropped.
pub struct Registry {
    process: Child,
    folder: PathBuf,
    /// What the issuer gives to those whom it knows; good for an hour.
    pub token: String,
}

impl Registry {
    /// Starts an empty one; `realm` is where the issuer gives tokens.
    pub fn start(realm: &str) -> Self {
        let folder = env::temp_dir().join(format!("pilothouse-registry-{}", process::id()));
        fs::create_dir_all(&folder).expect("a folder of its own");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["issuer".to_owned()]).expect("a name");
        let issuer = params.self_signed(&key).expect("a certificate");
        let (config, certificate) = (folder.join("config.yml"), folder.join("issuer.pem"));
        fs::write(&certificate, issuer.pem()).expect("a file of its own");
        let configured = json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": folder.join("kept")}},
            "http": {"addr": ADDRESS},
            "auth": {"token": {"realm": realm, "service": "story", "issuer": "issuer", "rootcertbundle": certificate}},
        });
        fs::write(&config, configured.to_string()).expect("a file of its own");
        let mut registry = Command::new(state_folder().join("bin/docker-registry"));
        registry.arg("serve").arg(&config);
        registry.stdout(Stdio::null()).stderr(Stdio::null());
        let process = network::within(|| registry.spawn()).expect("the registry starts");
        Self {
            process,
            token: token(&key, issuer.der()),
            folder,
        }
    }
}

fn token(key: &KeyPair, issuer: &[u8]) -> String {
    let now = Timestamp::now().as_second();
    let part = |json: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [BASE64_STANDARD.encode(issuer)]});
    let claims = json!({
        "iss": "issuer", "sub": "", "aud": "story", "jti": "1",
        "iat": now, "nbf": now - 60, "exp": now + 3_600,
        "access": [{"type": "repository", "name": REPOSITORY, "actions": ["pull", "push"]}],
    });
    let said = format!("{}.{}", part(head), part(claims));
    let random = SystemRandom::new();
    let key = key.serialize_der();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random);
    let signed = key
        .expect("it was just made")
        .sign(&random, said.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signed.expect("it signs"));
    format!("{said}.{signature}")
}

impl Drop for Registry {
    fn drop(&mut self) {
        // What is left of it is in the folder for temporary files.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
