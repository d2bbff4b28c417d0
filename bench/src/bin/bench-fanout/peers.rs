//! pssh and Ansible at their best settings, with the same key, the same checks and the same hosts.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::UsageWho;

use crate::{
    REPETITIONS, Result,
    fixture::Fixture,
    usage::{Meter, Usage},
};

const PSSH: &str = "/usr/bin/parallel-ssh";
const ANSIBLE: &str = "/usr/bin/ansible";
const SSHD: &str = "/usr/sbin/sshd";

/// A peer with one setting.
#[derive(Clone, Copy)]
enum Peer {
    Pssh {
        at_once: usize,
    },
    /// Without shared connections, all its processors' work is that of its children and so is counted.
    Ansible {
        forks: usize,
        shared: bool,
    },
}

/// The peers, which are all on this machine.
pub struct Peers;

/// One run of a peer.
struct Run {
    peer: Peer,
    usage: Usage,
    lost: usize,
}

impl Run {
    fn name(&self) -> String {
        match self.lost {
            0 => self.peer.name(),
            lost => format!("{}, lost {lost}", self.peer.name()),
        }
    }
}

/// What the peers did. One that lost a host is named, and beats nobody.
#[derive(Default)]
pub struct Best {
    runs: Vec<Run>,
}

impl Best {
    fn least(&self, cost: impl Fn(&Usage) -> Duration) -> Option<&Run> {
        self.runs
            .iter()
            .min_by_key(|run| (run.lost, cost(&run.usage)))
    }

    fn fastest(&self) -> Option<&Run> {
        self.least(|usage| usage.wall)
    }

    fn leanest(&self) -> Option<&Run> {
        self.least(|usage| usage.cpu)
    }

    pub fn name(&self) -> Option<String> {
        self.fastest().map(Run::name)
    }

    pub fn wall(&self) -> Option<f64> {
        self.fastest().map(|run| run.usage.wall.as_secs_f64())
    }

    /// Whether we are ahead of the fastest peer's seconds; never where none was measured.
    pub fn is_behind(&self, ahead: impl Fn(f64) -> bool) -> bool {
        self.fastest()
            .is_some_and(|run| run.lost > 0 || ahead(run.usage.wall.as_secs_f64()))
    }

    pub fn least_cpu_name(&self) -> Option<String> {
        self.leanest().map(Run::name)
    }

    pub fn least_cpu(&self) -> Option<f64> {
        self.leanest().map(|run| run.usage.cpu.as_secs_f64())
    }

    /// The same of the leanest peer's seconds of processor time.
    pub fn is_fatter(&self, ahead: impl Fn(f64) -> bool) -> bool {
        self.leanest()
            .is_some_and(|run| run.lost > 0 || ahead(run.usage.cpu.as_secs_f64()))
    }

    /// The two fastest settings.
    fn front(&self) -> Vec<Peer> {
        let mut runs: Vec<&Run> = self.runs.iter().collect();
        runs.sort_by_key(|run| (run.lost, run.usage.wall));
        runs.iter().take(2).map(|run| run.peer).collect()
    }
}

impl Peers {
    /// Looks for the peers; without them there is nothing to compare with.
    pub fn find() -> Result<()> {
        match missing().as_slice() {
            [] => Ok(()),
            missing => Err(format!(
                "{} not here, so there is nothing to compare with; as root, `apt-get install pssh ansible-core openssh-server`",
                missing.join(", ")
            )
            .into()),
        }
    }

    pub fn light(fixture: &Fixture, port: u16, hosts: usize) -> Result<Best> {
        let pssh = [50, 100, 200].map(|at_once| Peer::Pssh { at_once });
        let ansible = [(25, true), (50, true), (100, true), (50, false)]
            .map(|(forks, shared)| Peer::Ansible { forks, shared });
        Self::best(fixture, port, hosts, &[&pssh[..], &ansible[..]].concat())
    }

    /// More at once than this overloads a real sshd on a small machine, and hosts are lost; less is slower.
    pub fn real(fixture: &Fixture, port: u16, hosts: usize) -> Result<Best> {
        let ansible = [true, false].map(|shared| Peer::Ansible { forks: 50, shared });
        let peers = [&[Peer::Pssh { at_once: 50 }], &ansible[..]].concat();
        Self::best(fixture, port, hosts, &peers)
    }

    /// Every setting once, and the two fastest as often as we are measured.
    fn best(fixture: &Fixture, port: u16, hosts: usize, peers: &[Peer]) -> Result<Best> {
        fixture.ssh_config(port)?;
        let names: Vec<_> = (0..hosts).map(Fixture::host).collect();
        fixture.write("hosts", &(names.join("\n") + "\n"))?;
        let mut best = Best::default();
        for peer in peers {
            best.runs.push(peer.measure(fixture, hosts)?);
        }
        for peer in best.front() {
            for _ in 1..REPETITIONS {
                best.runs.push(peer.measure(fixture, hosts)?);
            }
        }
        Ok(best)
    }
}

/// What the comparison needs and this machine lacks.
fn missing() -> Vec<&'static str> {
    [PSSH, ANSIBLE, SSHD]
        .into_iter()
        .filter(|program| !Path::new(program).exists())
        .collect()
}

impl Peer {
    fn name(self) -> String {
        match self {
            Self::Pssh { at_once } => format!("pssh -p {at_once}"),
            Self::Ansible { forks, shared } => {
                let alone = if shared { "" } else { ", ControlMaster=no" };
                format!("ansible -m raw -f {forks}{alone}")
            }
        }
    }

    fn measure(self, fixture: &Fixture, hosts: usize) -> Result<Run> {
        let (usage, succeeded) = self.run(fixture)?;
        println!(
            "  {}: {succeeded} of {hosts} in {:.2} s, CPU {:.2} s",
            self.name(),
            usage.wall.as_secs_f64(),
            usage.cpu.as_secs_f64()
        );
        Ok(Run {
            peer: self,
            usage,
            lost: hosts.saturating_sub(succeeded),
        })
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
                let mut command = Command::new(PSSH);
                command
                    .arg("-h")
                    .arg(hosts)
                    .args(["-p", &at_once.to_string(), "-t", "120", "-x"]);
                command.arg(format!("-F {}", config.display())).arg("true");
                command
            }
            Self::Ansible { forks, shared } => {
                let mut command = Command::new(ANSIBLE);
                let sharing = if shared {
                    "-o ControlMaster=auto -o ControlPersist=2s"
                } else {
                    "-o ControlMaster=no"
                };
                let arguments = format!("-F {} {sharing}", config.display());
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
    let deadline = Instant::now() + Duration::from_mins(1);
    while std::fs::read_dir(sockets)?.next().is_some() {
        if Instant::now() > deadline {
            return Err(format!("connections are still open in {}", sockets.display()).into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
