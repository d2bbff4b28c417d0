//! The Linux guests: two nodes of the cluster and two hosts to operate on, each a User-Mode Linux process with a disk file of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::json;

use crate::{
    checkout::Checkout,
    daemon::Daemons,
    error::{About, Result},
    network::Network,
    pki::Pki,
    seed::Seed,
    steps::{Log, Outcome},
};

pub struct Guest {
    pub name: &'static str,
    pub address: &'static str,
    memory: &'static str,
    pub kind: Kind,
}

pub enum Kind {
    Node { pods: &'static str },
    Host,
}

pub const GUESTS: [Guest; 4] = [
    Guest {
        name: "node1",
        address: "172.31.250.11",
        memory: "1536M",
        kind: Kind::Node {
            pods: "10.244.0.0/24",
        },
    },
    Guest {
        name: "node2",
        address: "172.31.250.12",
        memory: "1536M",
        kind: Kind::Node {
            pods: "10.244.1.0/24",
        },
    },
    Guest {
        name: "vm1",
        address: "172.31.250.21",
        memory: "384M",
        kind: Kind::Host,
    },
    Guest {
        name: "pm1",
        address: "172.31.250.22",
        memory: "384M",
        kind: Kind::Host,
    },
];

/// What guests are made of.
pub struct Made {
    /// User-Mode Linux.
    pub uml: PathBuf,
    /// What it is given before its own library.
    pub xstate: PathBuf,
    pub disk: PathBuf,
}

pub fn names() -> Vec<&'static str> {
    GUESTS.iter().map(|guest| guest.name).collect()
}

/// The guests of one checkout.
pub struct Guests<'a> {
    checkout: &'a Checkout,
    network: &'a Network,
    folder: PathBuf,
}

impl<'a> Guests<'a> {
    pub fn of(checkout: &'a Checkout, network: &'a Network) -> Self {
        Self {
            checkout,
            network,
            folder: checkout.local().join("guests"),
        }
    }

    /// Starts those that do not run; they boot in the background.
    pub fn start(
        &self,
        log: &Log,
        daemons: &Daemons,
        pki: &Pki,
        made: &Made,
    ) -> Result<((), Outcome)> {
        fs::create_dir_all(&self.folder).about("create", &self.folder)?;
        fs::create_dir_all(self.checkout.memory()).about("create", self.checkout.memory())?;
        let key = self.key();
        if !key.exists() {
            keygen(log, &key, "pilothouse-local")?;
        }
        let mut outcome = Outcome::Cached;
        for guest in &GUESTS {
            if self.start_one(log, daemons, guest, pki, made)? {
                outcome = Outcome::Done;
            }
        }
        self.describe()?;
        Ok(((), outcome))
    }

    fn start_one(
        &self,
        log: &Log,
        daemons: &Daemons,
        guest: &Guest,
        pki: &Pki,
        made: &Made,
    ) -> Result<bool> {
        let daemon = daemon(guest);
        if daemons.alive(&daemon) {
            return Ok(false);
        }
        let seed = self.seed(log, guest, pki)?;
        // What a guest has written only fits the image that it started from.
        let image = made
            .disk
            .parent()
            .and_then(Path::file_name)
            .expect("images have a folder of their own")
            .to_string_lossy();
        let written = self.folder.join(format!("{}-{image}.cow", guest.name));
        let mut command = self.network.command(made.uml.join("usr/bin/linux.uml"));
        command.env("TMPDIR", self.checkout.memory());
        command.env("LD_PRELOAD", &made.xstate);
        command
            .arg(format!(
                "ubd0={},{}",
                written.display(),
                made.disk.display()
            ))
            .arg(format!("ubd1r={}", seed.display()));
        command.args([
            "root=/dev/ubda",
            "rw",
            "rootflags=barrier=0",
            "con=null",
            "con0=null,fd:1",
            // A kernel that starts anew within its process finds its network still taken; whoever reboots a guest starts it again.
            "noreboot",
        ]);
        command.arg(format!("mem={}", guest.memory));
        command.arg(format!(
            "vec0:transport=tap,ifname=t-{},depth=128,gro=1",
            guest.name
        ));
        command
            .arg(format!("systemd.hostname={}", guest.name))
            .arg(format!("guest.ip={}", guest.address));
        daemons.start(&daemon, &command)
    }

    /// Waits until every guest answers; one that never does is named.
    pub fn wait(&self, log: &Log, daemons: &Daemons) -> Result<()> {
        thread::scope(|scope| {
            let waits: Vec<_> = GUESTS
                .iter()
                .map(|guest| {
                    scope.spawn(move || {
                        daemons.wait_for(&daemon(guest), Duration::from_mins(3), || {
                            log.ask(self.ssh(guest).arg("true"))
                        })
                    })
                })
                .collect();
            waits
                .into_iter()
                .try_for_each(|wait| wait.join().expect("a wait does not panic"))
        })
    }

    /// A shell command to come, as root on the guest.
    pub fn ssh(&self, guest: &Guest) -> Command {
        let mut ssh = self.network.command("ssh");
        ssh.arg("-F").arg(self.ssh_config()).arg(guest.name);
        ssh
    }

    pub fn key(&self) -> PathBuf {
        self.checkout.local().join("ssh-key")
    }

    pub fn ssh_config(&self) -> PathBuf {
        self.checkout.local().join("ssh_config")
    }

    pub fn host_key(&self, guest: &str) -> Result<String> {
        let path = self.folder.join(format!("{guest}.hostkey.pub"));
        Ok(fs::read_to_string(&path)
            .about("read", path)?
            .trim()
            .to_owned())
    }

    /// The guest's second disk.
    fn seed(&self, log: &Log, guest: &Guest, pki: &Pki) -> Result<PathBuf> {
        let host_key = self.folder.join(format!("{}.hostkey", guest.name));
        if !host_key.exists() {
            keygen(log, &host_key, guest.name)?;
        }
        let path = self.folder.join(format!("{}.seed", guest.name));
        let mut seed = Seed::create(path.clone())?;
        seed.login(&self.key().with_extension("pub"), &host_key)?;
        if let Kind::Node { pods } = guest.kind {
            seed.node(guest.name, pods, pki)?;
        }
        seed.finish()?;
        Ok(path)
    }

    /// Tells SSH clients and tests where the guests are and which keys are theirs.
    fn describe(&self) -> Result<()> {
        let local = self.checkout.local();
        let known_hosts = local.join("known_hosts");
        let (mut known, mut config, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
        for Guest {
            name,
            address,
            kind,
            ..
        } in &GUESTS
        {
            let key = self.host_key(name)?;
            known.push(format!("{name},{address} {key}\n"));
            config.push(format!("Host {name}\n  HostName {address}\n"));
            if matches!(kind, Kind::Host) {
                hosts.push(json!({"name": name, "address": address, "hostKeys": [key]}));
            }
        }
        config.push(format!(
            "Host *\n  User root\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
             StrictHostKeyChecking yes\n  ConnectTimeout 2\n",
            self.key().display(),
            known_hosts.display()
        ));
        let write = |path: PathBuf, text: &str| fs::write(&path, text).about("write", path);
        write(known_hosts, &known.concat())?;
        write(self.ssh_config(), &config.concat())?;
        write(local.join("netns"), &self.network.namespace)?;
        write(local.join("hosts.json"), &json!(hosts).to_string())
    }
}

fn daemon(guest: &Guest) -> String {
    format!("guest-{}", guest.name)
}

fn keygen(log: &Log, path: &Path, comment: &str) -> Result<()> {
    log.run(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
            .arg(path),
    )
}
