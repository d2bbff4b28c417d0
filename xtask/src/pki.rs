//! The cluster's certificates and kubeconfigs: made together once, kept until `down`.

use std::{
    fs,
    io::Write,
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use crate::{
    cached,
    error::{About, Result},
    guests::{GUESTS, Kind},
    network::BRIDGE,
    steps::Outcome,
};

/// A folder of `NAME.crt`, `NAME.key` and `NAME.kubeconfig`.
pub struct Pki {
    folder: PathBuf,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

impl Pki {
    /// `uplink` is the API server's address as this machine sees it.
    pub fn of(state: &Path, uplink: Ipv4Addr) -> Result<(Self, Outcome)> {
        let (folder, outcome) = cached::folder(state, "pki", &uplink.to_string(), |folder| {
            make(folder, uplink)
        })?;
        Ok((Self { folder }, outcome))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.file(name);
        fs::read(&path).about("read", path)
    }
}

fn make(folder: &Path, uplink: Ipv4Addr) -> Result<()> {
    let authority = authority(folder, "ca")?;
    let uplink = uplink.to_string();
    api_server(folder, &authority, &uplink)?;
    serve_records(folder, &authority)?;
    let accounts = KeyPair::generate()?;
    write(folder, "service-accounts.key", &accounts.serialize_pem())?;
    write(folder, "service-accounts.pub", &accounts.public_key_pem())?;
    clients(folder, &authority, &uplink)
}

/// What the API server shows to its callers, to extension servers and to kubelets.
fn api_server(folder: &Path, authority: &Authority, uplink: &str) -> Result<()> {
    let front_proxy = self::authority(folder, "front-proxy-ca")?;
    let names = [
        "127.0.0.1",
        BRIDGE,
        uplink,
        "10.96.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
    ];
    for (by, name, group, user, names) in [
        (authority, "apiserver", "", "kube-apiserver", &names[..]),
        (&front_proxy, "front-proxy", "", "front-proxy-client", &[]),
        (
            authority,
            "kubelet-client",
            "system:masters",
            "apiserver",
            &[],
        ),
    ] {
        issue(folder, by, name, group, user, names)?;
    }
    Ok(())
}

/// A kubeconfig for everybody who calls the API server.
fn clients(folder: &Path, authority: &Authority, uplink: &str) -> Result<()> {
    let ca = authority.pem();
    let account = |name: &str, group: &str, user: &str, address: &str, names: &[&str]| {
        let (certificate, key) = issue(folder, authority, name, group, user, names)?;
        write(
            folder,
            &format!("{name}.kubeconfig"),
            &kubeconfig(address, &ca, &certificate, &key),
        )
    };
    account("admin", "system:masters", "admin", uplink, &[])?;
    account(
        "controllers",
        "system:masters",
        "controllers",
        "127.0.0.1",
        &[],
    )?;
    account("proxy", "", "system:kube-proxy", BRIDGE, &[])?;
    for guest in GUESTS
        .iter()
        .filter(|guest| matches!(guest.kind, Kind::Node { .. }))
    {
        account(
            guest.name,
            "system:nodes",
            &format!("system:node:{}", guest.name),
            BRIDGE,
            &[guest.name, guest.address],
        )?;
    }
    Ok(())
}

/// The certificate that Pilothouse's store and fronts show where they run as processes of this machine, in the folder they are given.
fn serve_records(folder: &Path, authority: &Authority) -> Result<()> {
    let records = folder.join("records");
    fs::create_dir(&records).about("create", &records)?;
    let names = ["127.0.0.1", "pilothouse-server.pilothouse-system.svc"];
    issue(&records, authority, "tls", "", "pilothouse-server", &names)?;
    write(&records, "ca.crt", &authority.pem())
}

fn authority(folder: &Path, name: &str) -> Result<Authority> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("pilothouse local {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let authority = Authority::self_signed(params, KeyPair::generate()?)?;
    write(folder, &format!("{name}.crt"), &authority.pem())?;
    write(
        folder,
        &format!("{name}.key"),
        &authority.key().serialize_pem(),
    )?;
    Ok(authority)
}

fn issue(
    folder: &Path,
    authority: &Authority,
    name: &str,
    group: &str,
    user: &str,
    names: &[&str],
) -> Result<(String, String)> {
    let mut params =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, user);
    if !group.is_empty() {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?.pem();
    write(folder, &format!("{name}.crt"), &certificate)?;
    write(folder, &format!("{name}.key"), &key.serialize_pem())?;
    Ok((certificate, key.serialize_pem()))
}

/// JSON, which is YAML too.
fn kubeconfig(address: &str, authority: &str, certificate: &str, key: &str) -> String {
    let data = |pem: &str| BASE64_STANDARD.encode(pem);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pilothouse-local",
        "contexts": [{"name": "pilothouse-local", "context": {"cluster": "pilothouse-local", "user": "pilothouse-local"}}],
        "clusters": [{"name": "pilothouse-local", "cluster": {"server": format!("https://{address}:6443"), "certificate-authority-data": data(authority)}}],
        "users": [{"name": "pilothouse-local", "user": {"client-certificate-data": data(certificate), "client-key-data": data(key)}}],
    })
    .to_string()
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    let file = fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .about("write", path)
}
