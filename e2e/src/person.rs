//! A person with a client certificate of their own, as the cluster's signer makes them: who they are is proven to the API server, and not said by an administrator.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

use crate::{Cluster, Terminal, cluster::kubeconfig, eventually, stage::PATIENCE};

/// As long as a story takes, and longer than the signer's least.
const SECONDS: u32 = 3600;

pub struct Person {
    pub client: Client,
    pub terminal: Terminal,
}

impl Person {
    /// Has a certificate signed for a name and a group, and sits the person down in a namespace.
    pub async fn certified(cluster: &Cluster, namespace: &str, name: &str, group: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let request = request(&key, name, group);
        let certificate = signed(&cluster.client(), &format!("{namespace}-{name}"), &request).await;
        let mut config = kubeconfig();
        for user in &mut config.auth_infos {
            user.auth_info = Some(AuthInfo {
                client_certificate_data: Some(STANDARD.encode(&certificate)),
                client_key_data: Some(STANDARD.encode(key.serialize_pem()).into()),
                ..AuthInfo::default()
            });
        }
        Self {
            client: client(config.clone()).await,
            terminal: Terminal::with(config, name, namespace),
        }
    }
}

async fn client(config: Kubeconfig) -> Client {
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let config = config.expect("a kubeconfig with another certificate");
    Client::try_from(config).expect("a certificate that was signed makes a client")
}

/// The group of a certificate is its organization.
fn request(key: &KeyPair, name: &str, group: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, group);
    let request = params.serialize_request(key).expect("a request is signed");
    request.pem().expect("a request is text")
}

/// What the cluster's signer has made of a request.
async fn signed(administrator: &Client, name: &str, request: &str) -> Vec<u8> {
    let requests: Api<CertificateSigningRequest> = Api::all(administrator.clone());
    let request = json!({"metadata": {"name": name}, "spec": {"request": STANDARD.encode(request),
        "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"], "expirationSeconds": SECONDS}});
    let request = serde_json::from_value(request).expect("a literal request");
    let made = requests.create(&PostParams::default(), &request).await;
    made.expect("an administrator asks for a certificate");
    let yes = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "Story", "message": "a person of a story"}]}});
    let approved = requests
        .patch_approval(name, &PatchParams::default(), &Patch::Merge(yes))
        .await;
    approved.expect("an administrator approves");
    let certificate = eventually("a certificate", PATIENCE, || async {
        requests.get(name).await.ok()?.status?.certificate
    })
    .await;
    let gone = requests.delete(name, &DeleteParams::default()).await;
    gone.expect("an administrator clears away");
    certificate.0
}
