//! A control plane without nodes: etcd, an API server and what is wanted beside it, up in seconds with the charts in it, and gone whole when it is dropped.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    checkout::Checkout,
    control_plane::ControlPlane,
    daemon::Daemons,
    error::{About, Result},
    install::{At, Cluster},
    network::Network,
    pki::Pki,
    steps::{Log, Steps},
    tools::Tools,
};

/// What to bring up.
#[derive(Clone, Copy)]
pub struct Recipe {
    /// At most three letters: devices are named by it.
    pub name: &'static str,
    pub durable: bool,
    pub emulated: Option<&'static str>,
    /// Every request is told of in an audit log.
    pub audited: bool,
    pub managers: &'static [&'static str],
}

pub struct Plane<'a> {
    checkout: &'a Checkout,
    recipe: Recipe,
    pub tools: &'a Tools,
    pub network: Network,
    pub daemons: Daemons,
    pub folder: PathBuf,
    /// Certificates, among them those of Pilothouse's own listeners.
    pub pki: Pki,
}

impl<'a> Plane<'a> {
    /// Starts it from nothing and installs the charts.
    pub fn up(
        checkout: &'a Checkout,
        steps: &Steps,
        tools: &'a Tools,
        recipe: Recipe,
    ) -> Result<Self> {
        steps.run(&format!("plane {}", recipe.name), |log| {
            remove(checkout, log, recipe.name)?;
            let (folder, logs) = (
                checkout.planes().join(recipe.name),
                checkout.logs().join(format!("plane-{}", recipe.name)),
            );
            fs::create_dir_all(&folder).about("create", &folder)?;
            fs::create_dir_all(&logs).about("create", &logs)?;
            let network = network(checkout, recipe.name);
            let (uplink, _) = network.up(checkout, log, &[])?;
            let plane = Self {
                pki: Pki::of(&folder, uplink)?.0,
                daemons: Daemons::new(folder.join("run"), logs),
                checkout,
                recipe,
                tools,
                network,
                folder,
            };
            plane.control_plane().start(log, &plane.daemons)?;
            plane.cluster().install_objects(log)?;
            Ok(plane)
        })
    }

    fn control_plane(&self) -> ControlPlane<'_> {
        let recipe = self.recipe;
        ControlPlane {
            folder: self.folder.clone(),
            durable: recipe.durable,
            emulated: recipe.emulated,
            audited: recipe.audited,
            managers: recipe.managers,
            network: &self.network,
            pki: &self.pki,
            tools: self.tools,
        }
    }

    /// Where the API server of an audited plane writes down every request.
    pub fn audit_log(&self) -> PathBuf {
        self.control_plane().audit_log()
    }

    /// One of the managers of Kubernetes, without its `kube-`, as it runs beside the API server.
    pub fn manager(&self, name: &str) -> Command {
        self.control_plane().manager(name)
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub fn cluster(&self) -> Cluster<'_> {
        Cluster {
            checkout: self.checkout,
            tools: self.tools,
            at: At::Kubeconfig(self.kubeconfig()),
        }
    }

    /// A program among the plane's own addresses, with its administrator's rights.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.network.command(program);
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// The same program among the plane's own addresses.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = self.network.command(command.get_program());
        let envs = command.get_envs();
        inside
            .args(command.get_args())
            .envs(envs.filter_map(|(name, value)| Some((name, value?))));
        inside
    }

    /// Takes away what was left by those who were killed.
    pub fn sweep(checkout: &Checkout, log: &Log) -> Result<()> {
        let left = fs::read_dir(checkout.planes()).into_iter().flatten();
        left.flatten()
            .try_for_each(|entry| remove(checkout, log, &entry.file_name().to_string_lossy()))
    }
}

impl Drop for Plane<'_> {
    fn drop(&mut self) {
        let name = self.folder.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        // What cannot be taken away now is told of, and is taken away by `down`.
        let removed = Steps::silent(self.checkout.logs()).and_then(|steps| {
            steps.run(&format!("plane {name} down"), |log| {
                remove(self.checkout, log, &name)
            })
        });
        if let Err(error) = removed {
            eprintln!("plane {name} is left over: {error}");
        }
    }
}

/// Its processes live in its network and end with it.
fn remove(checkout: &Checkout, log: &Log, name: &str) -> Result<()> {
    network(checkout, name).down(log)?;
    let folder = checkout.planes().join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).about("remove", &folder)?;
    }
    Ok(())
}

fn network(checkout: &Checkout, name: &str) -> Network {
    Network::named(checkout, &format!("-{name}"))
}
