//! Pilothouse's own programs as processes of this machine, on a plane without nodes: each with the token, and so the rights, that its pod would have.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    error::{About, Error, Result},
    install::NAMESPACE,
    network::BRIDGE,
    plane::Plane,
    steps::Log,
};

/// Where the store takes what the operator and the front ask.
const STORE: &str = "127.0.0.1:7443";
/// Where the API server reaches the front; no loopback address may be an endpoint.
const FRONT_PORT: u16 = 8443;
const OPERATOR_HEALTH: &str = "127.0.0.1:8080";
const STORE_HEALTH: &str = "127.0.0.1:8081";
const FRONT_HEALTH: &str = "127.0.0.1:8082";
const WEBHOOK_PORT: u16 = 9443;
const WEBHOOK_HEALTH: &str = "127.0.0.1:8083";
/// What records know a writer or a front by.
const AUDIENCE: &str = "pilothouse-records";

/// The programs of one build on one plane.
pub struct Processes<'a> {
    pub plane: &'a Plane<'a>,
    /// Folder of the programs.
    pub programs: PathBuf,
}

impl Processes<'_> {
    /// Starts store and front, and waits until the API server serves records.
    pub fn start(&self, log: &Log) -> Result<()> {
        let daemons = &self.plane.daemons;
        daemons.start("store", &self.plane.inside(&self.store(log)?))?;
        daemons.start("front", &self.plane.inside(&self.front(log)?))?;
        self.publish(log, "pilothouse-server", "api", FRONT_PORT)?;
        let served = ["get", "--raw", "/apis/records.pilothouse.dev/v1alpha1"];
        daemons.wait_for("front", Duration::from_mins(1), || {
            log.ask(self.plane.cluster().kubectl().args(served))
        })
    }

    fn store(&self, log: &Log) -> Result<Command> {
        let mut store = self.server(log, "server", STORE_HEALTH)?;
        store
            .arg(format!("--store-addr={STORE}"))
            .arg("--data-dir")
            .arg(self.plane.folder.join("records"));
        Ok(store)
    }

    fn front(&self, log: &Log) -> Result<Command> {
        let mut front = self.server(log, "front", FRONT_HEALTH)?;
        front
            .arg(format!("--store-url=https://{STORE}"))
            .arg(format!("--api-addr={BRIDGE}:{FRONT_PORT}"))
            .arg("--store-token")
            .arg(self.token(log, "front", &["--audience", AUDIENCE])?);
        Ok(front)
    }

    fn server(&self, log: &Log, account: &str, health: &str) -> Result<Command> {
        let mut server = self.program(log, "server", account)?;
        server
            .arg(format!("--namespace={NAMESPACE}"))
            .arg(format!("--health-addr={health}"))
            .args(["--tls-mode=files", "--tls-dir"])
            .arg(self.plane.pki.file("records"));
        Ok(server)
    }

    /// The operator, whose hosts may have loopback addresses here.
    pub fn operator(&self, log: &Log) -> Result<Command> {
        let mut operator = self.program(log, "operator", "operator")?;
        operator
            .arg(format!("--namespace={NAMESPACE}"))
            .arg(format!("--records-url=https://{STORE}"))
            .arg("--records-token")
            .arg(self.token(log, "operator", &["--audience", AUDIENCE])?)
            .arg("--toolkit")
            .arg(self.programs.join("toolkit"))
            .arg(format!("--health-addr={OPERATOR_HEALTH}"))
            .arg("--outbound-allow=127.0.0.0/8");
        Ok(operator)
    }

    /// The webhook, not yet started, where the API server looks for it.
    pub fn webhook(&self, log: &Log) -> Result<Command> {
        let mut webhook = self.program(log, "webhook", "webhook")?;
        webhook
            .arg(format!("--namespace={NAMESPACE}"))
            .arg(format!("--addr={BRIDGE}:{WEBHOOK_PORT}"))
            .arg(format!("--health-addr={WEBHOOK_HEALTH}"));
        self.publish(log, "pilothouse-webhook", "admission", WEBHOOK_PORT)?;
        Ok(webhook)
    }

    /// Where the store is, what vouches for it, the operator's token for it, and a folder on its disk.
    pub fn records(&self, log: &Log) -> Result<[PathBuf; 4]> {
        Ok([
            format!("https://{STORE}").into(),
            self.plane.pki.file("records").join("ca.crt"),
            self.token(log, "operator", &["--audience", AUDIENCE])?,
            self.plane.folder.clone(),
        ])
    }

    /// A program with the rights of one of the chart's accounts, not yet among the plane's addresses.
    fn program(&self, log: &Log, program: &str, account: &str) -> Result<Command> {
        let (admin, own) = (self.plane.kubeconfig(), self.kubeconfig(account));
        let text = fs::read(&admin).about("read", &admin)?;
        let parsed = serde_json::from_slice::<Value>(&text);
        let mut config = parsed.map_err(|source| Error::Json {
            what: admin.display().to_string(),
            source,
        })?;
        config["users"][0]["user"] = json!({"tokenFile": self.token(log, account, &[])?});
        fs::write(&own, config.to_string()).about("write", &own)?;
        let mut command = Command::new(self.programs.join(program));
        command.env("KUBECONFIG", own);
        Ok(command)
    }

    /// The kubeconfig of one of the chart's accounts.
    pub fn kubeconfig(&self, account: &str) -> PathBuf {
        self.plane.folder.join(format!("{account}.kubeconfig"))
    }

    /// A file with a token of an account.
    fn token(&self, log: &Log, account: &str, arguments: &[&str]) -> Result<PathBuf> {
        let mut kubectl = self.plane.cluster().kubectl();
        let account = format!("pilothouse-{account}");
        kubectl
            .args(["create", "token", &account, "--namespace", NAMESPACE])
            .args(["--duration", "12h"])
            .args(arguments);
        let file = format!("{account}{}.token", arguments.concat());
        let path = self.plane.folder.join(file);
        fs::write(&path, log.read(&mut kubectl)?).about("write", &path)?;
        Ok(path)
    }

    /// Tells the API server where a program is, as its pod's endpoint would.
    fn publish(&self, log: &Log, service: &str, port: &str, number: u16) -> Result<()> {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": format!("{service}-process"), "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [BRIDGE], "conditions": {"ready": true}}],
            "ports": [{"name": port, "port": number}],
        });
        let path = self.plane.folder.join(format!("{service}.json"));
        fs::write(&path, slice.to_string()).about("write", &path)?;
        self.plane.cluster().apply(log, &path)
    }
}
