//! pssh and Ansible at their best settings, with the same key, the same checks and the same hosts.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::UsageWho;

use crate::{
    Result,
    fixture::Fixture,
    usage::{Meter, Usage},
};

/// A peer with one setting.
#[derive(Clone, Copy)]
enum Peer {
    Pssh { at_once: usize },
    Ansible { forks: usize },
}

/// The peers that this machine has.
pub struct Peers {
    pssh: bool,
    ansible: bool,
}

/// What the peers did, runs that lost a host left out.
#[derive(Default)]
pub struct Best {
    runs: Vec<(String, Usage)>,
}

impl Best {
    fn fastest(&self) -> Option<&(String, Usage)> {
        self.runs.iter().min_by_key(|(_, usage)| usage.wall)
    }

    fn leanest(&self) -> Option<&(String, Usage)> {
        self.runs.iter().min_by_key(|(_, usage)| usage.cpu)
    }

    pub fn name(&self) -> Option<String> {
        self.fastest().map(|(name, _)| name.clone())
    }

    pub fn wall(&self) -> Option<f64> {
        self.fastest().map(|(_, usage)| usage.wall.as_secs_f64())
    }

    pub fn least_cpu_name(&self) -> Option<String> {
        self.leanest().map(|(name, _)| name.clone())
    }

    pub fn least_cpu(&self) -> Option<f64> {
        self.leanest().map(|(_, usage)| usage.cpu.as_secs_f64())
    }
}

impl Peers {
    /// Looks for the peers, and installs them where that is possible.
    pub fn find() -> Result<Self> {
        let has = |program: &str| Path::new("/usr/bin").join(program).exists();
        let missing =
            || !(has("parallel-ssh") && has("ansible") && Path::new("/usr/sbin/sshd").exists());
        if missing() && nix::unistd::Uid::effective().is_root() && has("apt-get") {
            let packages = [
                "install",
                "-y",
                "--no-install-recommends",
                "pssh",
                "ansible-core",
                "openssh-server",
            ];
            Command::new("apt-get")
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .output()?;
        }
        let peers = Self {
            pssh: has("parallel-ssh"),
            ansible: has("ansible"),
        };
        for (there, name) in [(peers.pssh, "pssh"), (peers.ansible, "ansible-core")] {
            if !there {
                println!("{name} is not here and cannot be installed: its figures are missing");
            }
        }
        Ok(peers)
    }

    pub fn light(&self, fixture: &Fixture, port: u16, hosts: usize) -> Result<Best> {
        let pssh = [50, 100, 200].map(|at_once| Peer::Pssh { at_once });
        let ansible = [25, 50, 100].map(|forks| Peer::Ansible { forks });
        self.run(fixture, port, hosts, &[pssh, ansible].concat())
    }

    /// More at once than this overloads a real sshd on a small machine, and hosts are lost; less is slower.
    pub fn real(&self, fixture: &Fixture, port: u16, hosts: usize) -> Result<Best> {
        let peers = [Peer::Pssh { at_once: 50 }, Peer::Ansible { forks: 50 }];
        self.run(fixture, port, hosts, &peers)
    }

    fn run(&self, fixture: &Fixture, port: u16, hosts: usize, peers: &[Peer]) -> Result<Best> {
        fixture.ssh_config(port)?;
        let names: Vec<_> = (0..hosts).map(Fixture::host).collect();
        fixture.write("hosts", &(names.join("\n") + "\n"))?;
        let mut best = Best::default();
        for peer in peers {
            let there = match peer {
                Peer::Pssh { .. } => self.pssh,
                Peer::Ansible { .. } => self.ansible,
            };
            if !there {
                continue;
            }
            let (usage, succeeded) = peer.run(fixture)?;
            let name = peer.name();
            println!(
                "  {name}: {succeeded} of {hosts} in {:.2} s, CPU {:.2} s",
                usage.wall.as_secs_f64(),
                usage.cpu.as_secs_f64()
            );
            if succeeded == hosts {
                best.runs.push((name, usage));
            }
        }
        Ok(best)
    }
}

impl Peer {
    fn name(self) -> String {
        match self {
            Self::Pssh { at_once } => format!("pssh -p {at_once}"),
            Self::Ansible { forks } => format!("ansible -m raw -f {forks}"),
        }
    }

    fn run(self, fixture: &Fixture) -> Result<(Usage, usize)> {
        let sockets = fixture.path("sockets");
        std::fs::create_dir_all(&sockets)?;
        let mut command = self.command(fixture, &sockets);
        let meter = Meter::start(UsageWho::RUSAGE_CHILDREN)?;
        let Output { stdout, .. } = command.output()?;
        let usage = meter.stop()?;
        wait_until_empty(&sockets)?;
        let mark = match self {
            Self::Pssh { .. } => "[SUCCESS]",
            Self::Ansible { .. } => "rc=0",
        };
        Ok((
            usage,
            String::from_utf8_lossy(&stdout).matches(mark).count(),
        ))
    }

    fn command(self, fixture: &Fixture, sockets: &Path) -> Command {
        let (hosts, config) = (fixture.path("hosts"), fixture.path("ssh_config"));
        match self {
            Self::Pssh { at_once } => {
                let mut command = Command::new("/usr/bin/parallel-ssh");
                command
                    .arg("-h")
                    .arg(hosts)
                    .args(["-p", &at_once.to_string(), "-t", "120", "-x"]);
                command.arg(format!("-F {}", config.display())).arg("true");
                command
            }
            Self::Ansible { forks } => {
                let mut command = Command::new("/usr/bin/ansible");
                let arguments = format!(
                    "-F {} -o ControlMaster=auto -o ControlPersist=2s",
                    config.display()
                );
                command
                    .args([
                        "all",
                        "-m",
                        "raw",
                        "-a",
                        "true",
                        "-f",
                        &forks.to_string(),
                        "-i",
                    ])
                    .arg(hosts);
                command
                    .env("ANSIBLE_SSH_ARGS", arguments)
                    .env("ANSIBLE_SSH_CONTROL_PATH_DIR", sockets);
                command
                    .env("ANSIBLE_TIMEOUT", "120")
                    .env("ANSIBLE_HOME", fixture.path("ansible"));
                command
                    .env("ANSIBLE_LOCAL_TEMP", fixture.path("ansible"))
                    .env("ANSIBLE_NOCOLOR", "1");
                command
            }
        }
    }
}

/// Ansible leaves its connections open for a while; the next run must not find them.
fn wait_until_empty(sockets: &PathBuf) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::read_dir(sockets)?.next().is_some() {
        if Instant::now() > deadline {
            return Err(format!("connections are still open in {}", sockets.display()).into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
