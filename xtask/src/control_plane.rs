//! etcd and the Kubernetes control plane, as processes of this machine inside a network namespace.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command, time::Duration};

use crate::{
    daemon::Daemons,
    error::{About, Result},
    network::{BRIDGE, Network},
    pki::Pki,
    steps::{Log, Outcome},
    tools::Tools,
};

/// Writes, once they are answered.
const AUDITED: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: Metadata
";

pub struct ControlPlane<'a> {
    /// Where etcd keeps its data, and the administrator's kubeconfig is.
    pub folder: PathBuf,
    /// What is acknowledged is on disk: slower, and what a cluster in earnest does.
    pub durable: bool,
    /// The older Kubernetes whose features and expressions it is to have, and no others.
    pub emulated: Option<&'static str>,
    /// Writes are told of in an audit log.
    pub audited: bool,
    /// What runs beside the API server, without its `kube-`.
    pub managers: &'static [&'static str],
    pub network: &'a Network,
    pub pki: &'a Pki,
    pub tools: &'a Tools,
}

impl ControlPlane<'_> {
    /// Starts what does not run, and waits until the API server is ready.
    pub fn start(&self, log: &Log, daemons: &Daemons) -> Result<((), Outcome)> {
        if self.audited {
            let policy = self.audit_policy();
            fs::write(&policy, AUDITED).about("write", &policy)?;
        }
        let mut started = daemons.start("etcd", &self.etcd())?;
        started |= daemons.start("apiserver", &self.apiserver())?;
        self.publish_kubeconfig()?;
        daemons.wait_for("apiserver", Duration::from_mins(2), || {
            log.ask(self.kubectl().args(["get", "--raw", "/readyz"]))
        })?;
        // The controller manager gives up on an API server that is not there yet.
        for name in self.managers {
            started |= daemons.start(name, &self.manager(name))?;
        }
        Ok((
            (),
            if started {
                Outcome::Done
            } else {
                Outcome::Cached
            },
        ))
    }

    /// kubectl as the cluster's admin.
    pub fn kubectl(&self) -> Command {
        let mut kubectl = self.tools.command("kubectl");
        kubectl.arg("--kubeconfig").arg(self.kubeconfig());
        kubectl
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    fn publish_kubeconfig(&self) -> Result<()> {
        let path = self.kubeconfig();
        let _absent = fs::remove_file(&path);
        symlink(self.pki.file("admin.kubeconfig"), &path).about("link", path)
    }

    fn program(&self, name: &str) -> Command {
        self.network.command(self.tools.path(name))
    }

    fn file(&self, name: &str) -> String {
        self.pki.file(name).display().to_string()
    }

    fn etcd(&self) -> Command {
        let mut etcd = self.program("etcd");
        etcd.arg("--data-dir").arg(self.folder.join("etcd"));
        if !self.durable {
            etcd.arg("--unsafe-no-fsync");
        }
        etcd.args([
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
        ]);
        etcd
    }

    fn apiserver(&self) -> Command {
        let mut apiserver = self.program("kube-apiserver");
        apiserver.args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
        ]);
        apiserver.arg(format!("--advertise-address={BRIDGE}"));
        apiserver.args([
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
        ]);
        apiserver.args([
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
        ]);
        // Webhooks and aggregated APIs are called on pod addresses: nothing here translates service addresses for this process.
        apiserver.arg("--enable-aggregator-routing=true");
        apiserver.args([
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
        ]);
        apiserver.args([
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        ]);
        for (flag, file) in [
            ("service-account-key-file", "service-accounts.pub"),
            ("service-account-signing-key-file", "service-accounts.key"),
            ("client-ca-file", "ca.crt"),
            ("tls-cert-file", "apiserver.crt"),
            ("tls-private-key-file", "apiserver.key"),
            ("kubelet-client-certificate", "kubelet-client.crt"),
            ("kubelet-client-key", "kubelet-client.key"),
            ("requestheader-client-ca-file", "front-proxy-ca.crt"),
            ("proxy-client-cert-file", "front-proxy.crt"),
            ("proxy-client-key-file", "front-proxy.key"),
        ] {
            apiserver.arg(format!("--{flag}={}", self.file(file)));
        }
        apiserver.args(self.emulation());
        if self.audited {
            apiserver
                .arg("--audit-policy-file")
                .arg(self.audit_policy());
            apiserver.arg("--audit-log-path").arg(self.audit_log());
        }
        apiserver
    }

    fn audit_policy(&self) -> PathBuf {
        self.folder.join("audit-policy.yaml")
    }

    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    fn emulation(&self) -> Option<String> {
        self.emulated
            .map(|version| format!("--emulated-version={version}"))
    }

    pub fn manager(&self, name: &str) -> Command {
        let mut manager = self.program(&format!("kube-{name}"));
        manager.arg(format!(
            "--kubeconfig={}",
            self.file("controllers.kubeconfig")
        ));
        manager.arg("--leader-elect=false").args(self.emulation());
        if name == "controller-manager" {
            manager.arg("--use-service-account-credentials=true");
            for (flag, file) in [
                ("service-account-private-key-file", "service-accounts.key"),
                ("root-ca-file", "ca.crt"),
                ("cluster-signing-cert-file", "ca.crt"),
                ("cluster-signing-key-file", "ca.key"),
            ] {
                manager.arg(format!("--{flag}={}", self.file(file)));
            }
        }
        manager
    }
}
