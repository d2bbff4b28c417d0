//! Pilothouse in a cluster: by its own Helm charts, as a user would install it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    checkout::Checkout,
    error::{Error, Result},
    steps::Log,
    tools::Tools,
};

pub const NAMESPACE: &str = "pilothouse-system";
/// Written by `up`; without it `test` and `down` leave a cluster alone that they did not make.
const LABEL: &str = "pilothouse.dev/local-cluster";

/// The clients of one cluster: the local one by its own file, an existing one by the context that was named.
pub struct Cluster<'a> {
    pub checkout: &'a Checkout,
    pub tools: &'a Tools,
    pub at: At<'a>,
}

pub enum At<'a> {
    Kubeconfig(PathBuf),
    Context(&'a str),
}

impl<'a> Cluster<'a> {
    pub fn local(checkout: &'a Checkout, tools: &'a Tools) -> Self {
        Self {
            checkout,
            tools,
            at: At::Kubeconfig(checkout.kubeconfig()),
        }
    }

    pub fn kubectl(&self) -> Command {
        let mut kubectl = self.tools.command("kubectl");
        match &self.at {
            At::Context(context) => kubectl.args(["--context", context]),
            At::Kubeconfig(file) => kubectl.arg("--kubeconfig").arg(file),
        };
        kubectl
    }

    fn helm(&self) -> Command {
        let mut helm = self.tools.command("helm");
        match &self.at {
            At::Context(context) => helm.args(["--kube-context", context]),
            At::Kubeconfig(file) => helm.arg("--kubeconfig").arg(file),
        };
        helm.args(["--namespace", NAMESPACE]);
        helm
    }

    /// Installs or upgrades both charts and waits until everything of them is ready.
    pub fn install(&self, log: &Log, settings: &[String]) -> Result<()> {
        let chart = |name: &str| {
            let mut helm = self.chart(name);
            helm.args(["--wait", "--timeout", "5m"]);
            helm
        };
        self.forget_cut_off(log)?;
        log.run(&mut chart("pilothouse-crds"))?;
        let mut product = chart("pilothouse");
        for setting in settings {
            product.args(["--set", setting]);
        }
        if matches!(self.at, At::Kubeconfig(_)) {
            product
                .arg("--values")
                .arg(self.checkout.recipe().join("values.yaml"));
        }
        log.run(&mut product).inspect_err(|_| self.look_around(log))
    }

    /// Installs both charts where no node runs what they describe.
    pub fn install_objects(&self, log: &Log) -> Result<()> {
        log.run(&mut self.chart("pilothouse-crds"))?;
        log.run(&mut self.chart("pilothouse"))
    }

    fn chart(&self, name: &str) -> Command {
        let mut helm = self.helm();
        helm.args(["upgrade", "--install", name])
            .arg(self.checkout.root.join("charts").join(name))
            .arg("--create-namespace");
        helm
    }

    /// What the chart itself offers to a user who wants to know whether it works.
    pub fn helm_test(&self, log: &Log) -> Result<()> {
        log.run(self.helm().args(["test", "pilothouse", "--timeout", "3m"]))
    }

    /// A Helm that was killed leaves its release pending, and the next one refuses to go on.
    fn forget_cut_off(&self, log: &Log) -> Result<()> {
        let selector = "owner=helm,name in (pilothouse,pilothouse-crds),status in (pending-install,pending-upgrade,pending-rollback)";
        log.run(self.kubectl().args([
            "delete",
            "secret",
            "--namespace",
            NAMESPACE,
            "--selector",
            selector,
        ]))
    }

    pub fn uninstall(&self, log: &Log) -> Result<()> {
        log.run(
            self.helm()
                .args(["uninstall", "pilothouse", "--ignore-not-found", "--wait"]),
        )?;
        log.run(
            self.helm()
                .args(["uninstall", "pilothouse-crds", "--ignore-not-found"]),
        )?;
        log.run(
            self.kubectl()
                .args(["delete", "namespace", NAMESPACE, "--ignore-not-found"]),
        )?;
        log.run(
            self.kubectl()
                .args(["label", "namespace", "kube-system", &format!("{LABEL}-")]),
        )
    }

    pub fn mark(&self, log: &Log) -> Result<()> {
        log.run(self.kubectl().args([
            "label",
            "--overwrite",
            "namespace",
            "kube-system",
            &format!("{LABEL}={}", self.checkout.id),
        ]))
    }

    /// Refuses a cluster that `up` of this checkout has not marked.
    pub fn require_mark(&self, log: &Log) -> Result<()> {
        let path = format!(
            "jsonpath={{.metadata.labels.{}}}",
            LABEL.replace('.', r"\.")
        );
        let found =
            log.read(
                self.kubectl()
                    .args(["get", "namespace", "kube-system", "-o", &path]),
            )?;
        if found == self.checkout.id {
            return Ok(());
        }
        let message = format!(
            "namespace kube-system of this cluster has no label {LABEL}={}; `cargo xtask up --existing` writes it",
            self.checkout.id
        );
        Err(Error::Refused(message))
    }

    pub fn apply(&self, log: &Log, path: &Path) -> Result<()> {
        log.run(self.kubectl().args(["apply", "--filename"]).arg(path))
    }

    /// Applied by the server, so that no annotation repeats what the Secret holds.
    pub fn apply_secret(&self, log: &Log, path: &Path) -> Result<()> {
        let apply = ["apply", "--server-side", "--force-conflicts", "--filename"];
        log.run(self.kubectl().args(apply).arg(path))
    }

    /// Leaves in the log what a person would look at next.
    fn look_around(&self, log: &Log) {
        for question in [
            &["get", "pods,pvc", "-o", "wide"][..],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["describe", "pods"],
        ] {
            let _best_effort = log.run(
                self.kubectl()
                    .args(["--namespace", NAMESPACE])
                    .args(question),
            );
        }
    }
}
