//! All processes of a run, wherever they went: the members of its control group where the host has those, and every descendant, which comes back to the
//! supervisor when its own parent dies. A group or session of its own is no way out.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crds::journal::EFFECT_VARIABLE;
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{Pid, getpid};

/// Where the second version of control groups may be mounted.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A control group for one run.
pub struct Group(PathBuf);

impl Group {
    fn parent() -> Option<PathBuf> {
        let is_v2 = |path: &&&str| {
            statfs(**path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
        };
        MOUNTS
            .iter()
            .find(is_v2)
            .map(|mount| Path::new(mount).join("pilothouse"))
    }

    /// Makes the group, and takes the supervisor out of the login's own, which may be ended with the login. None where the host does not let us.
    pub fn make(digest: &str) -> Option<Self> {
        let parent = Self::parent()?;
        let group = parent.join(digest);
        fs::create_dir_all(&group).ok()?;
        fs::write(parent.join("cgroup.procs"), "0").ok()?;
        Some(Self(group))
    }

    /// The group that an earlier supervisor made.
    fn left(digest: &str) -> Option<Self> {
        Some(Self(Self::parent()?.join(digest))).filter(|group| group.0.is_dir())
    }

    /// Who writes "0" here becomes a member.
    pub fn door(&self) -> Option<OwnedFd> {
        fs::OpenOptions::new()
            .write(true)
            .open(self.0.join("cgroup.procs"))
            .ok()
            .map(Into::into)
    }

    fn members(&self) -> Vec<Pid> {
        let list = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        list.lines()
            .filter_map(|pid| pid.parse().ok().map(Pid::from_raw))
            .collect()
    }

    fn kill(&self) {
        // Kernels before 5.14 lack the file; then the members are ended one by one.
        if let Ok(mut file) = fs::OpenOptions::new()
            .write(true)
            .open(self.0.join("cgroup.kill"))
        {
            let _ = file.write_all(b"1");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group with members stays until the next look.
        let _ = fs::remove_dir(&self.0);
    }
}

/// The processes of a run.
pub struct Family {
    group: Option<Group>,
    digest: String,
    /// Whose descendants belong to the run; none when the supervisor is dead.
    ancestor: Option<Pid>,
}

impl Family {
    /// What the calling supervisor starts.
    pub fn own(group: Option<Group>, digest: String) -> Self {
        Self {
            group,
            digest,
            ancestor: Some(getpid()),
        }
    }

    /// What a supervisor that died has left.
    pub fn orphaned(digest: &str) -> Self {
        Self {
            group: Group::left(digest),
            digest: digest.into(),
            ancestor: None,
        }
    }

    /// Everyone alive.
    pub fn members(&self) -> HashSet<Pid> {
        let processes = processes();
        let mut members: HashSet<Pid> = self.group.iter().flat_map(Group::members).collect();
        match self.ancestor {
            Some(ancestor) => members.extend(descendants(&processes, ancestor)),
            None => members.extend(
                processes
                    .keys()
                    .copied()
                    .filter(|&pid| carries(pid, &self.digest)),
            ),
        }
        members.retain(|pid| processes.get(pid).is_some_and(|process| !process.dead));
        members
    }

    /// Sends a signal to everyone.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = self.group.as_ref().filter(|_| signal == Signal::SIGKILL) {
            group.kill();
        }
        let mut members: Vec<Pid> = self.members().into_iter().collect();
        // A parent is mostly older than its child, and told first it ends by the signal, not because its child did.
        members.sort_unstable();
        for pid in members {
            let _ = kill(pid, signal);
        }
    }
}

struct Process {
    parent: Pid,
    dead: bool,
}

fn processes() -> HashMap<Pid, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything, more of them included.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let dead = matches!(fields.next()?, "Z" | "X");
        let parent = Pid::from_raw(fields.next()?.parse().ok()?);
        Some((Pid::from_raw(pid), Process { parent, dead }))
    })
    .collect()
}

fn descendants(processes: &HashMap<Pid, Process>, ancestor: Pid) -> HashSet<Pid> {
    let mut found = HashSet::new();
    let mut newest = vec![ancestor];
    while let Some(parent) = newest.pop() {
        let children = processes
            .iter()
            .filter(|(_, process)| process.parent == parent)
            .map(|(pid, _)| *pid);
        newest.extend(children.filter(|pid| found.insert(*pid)));
    }
    found
}

fn carries(pid: Pid, digest: &str) -> bool {
    let wanted = format!("{EFFECT_VARIABLE}={digest}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|&b| b == 0)
        .any(|variable| variable == wanted.as_bytes())
}
