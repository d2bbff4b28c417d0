//! Processes that outlive the command: each leads a session of its own, and everything in that session ends with it.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    error::{About, Error, Result},
    steps::{line, tail, wait_for},
};

pub struct Daemons {
    pids: PathBuf,
    logs: PathBuf,
}

/// One line of the process table.
struct Process {
    pid: i32,
    session: i32,
    began: u64,
    ended: bool,
}

impl Daemons {
    pub fn new(pids: PathBuf, logs: PathBuf) -> Self {
        Self { pids, logs }
    }

    /// Starts a program unless it runs already; says whether it had to.
    pub fn start(&self, name: &str, program: &Command) -> Result<bool> {
        if self.alive(name) {
            return Ok(false);
        }
        self.end(name)?;
        fs::create_dir_all(&self.pids).about("create", &self.pids)?;
        let path = self.logs.join(format!("{name}.log"));
        let log = || {
            File::options()
                .create(true)
                .append(true)
                .open(&path)
                .about("open", &path)
        };
        // A new process is no group leader, so that setsid becomes the program instead of starting it.
        let mut command = Command::new("setsid");
        command.arg(program.get_program()).args(program.get_args());
        command.envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let child = command
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .spawn();
        let child = child.map_err(|source| Error::Start {
            line: line(&command),
            source,
        })?;
        let pid = i32::try_from(child.id()).expect("Linux process ids fit i32");
        let began = process(pid).map_or(0, |process| process.began);
        let file = self.pid_file(name);
        fs::write(&file, format!("{pid} {began} {}", boot()?)).about("write", file)?;
        Ok(true)
    }

    pub fn alive(&self, name: &str) -> bool {
        self.leader(name).is_some_and(|(pid, began)| {
            process(pid).is_some_and(|process| process.began == began && !process.ended)
        })
    }

    /// Waits for a program's answer, no longer than it lives.
    pub fn wait_for(
        &self,
        name: &str,
        limit: Duration,
        mut yes: impl FnMut() -> bool,
    ) -> Result<()> {
        let mut ended = false;
        wait_for(&format!("{name} to answer"), limit, || {
            ended = !self.alive(name);
            ended || yes()
        })?;
        if ended {
            let log = self.logs.join(format!("{name}.log"));
            return Err(Error::Refused(format!(
                "{name} has ended; the end of {}:\n{}",
                log.display(),
                tail(&log)
            )));
        }
        Ok(())
    }

    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.pids) else {
            return Vec::new();
        };
        let files = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        files
            .filter_map(|file| file.strip_suffix(".pid").map(str::to_owned))
            .collect()
    }

    /// Asks the session's leader to end, then ends whatever is left of the session.
    pub fn end(&self, name: &str) -> Result<()> {
        if let Some((pid, began)) = self.leader(name)
            && process(pid).is_none_or(|process| process.began == began)
        {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
            if wait_for("its end", Duration::from_secs(3), || {
                members(pid).is_empty()
            })
            .is_err()
            {
                let what = format!("the end of {name} (session {pid})");
                wait_for(&what, Duration::from_secs(10), || {
                    let left = members(pid);
                    for &pid in &left {
                        let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    }
                    left.is_empty()
                })?;
            }
        }
        let _absent = fs::remove_file(self.pid_file(name));
        Ok(())
    }

    /// Pid and start time; none where the machine has been restarted since.
    fn leader(&self, name: &str) -> Option<(i32, u64)> {
        let text = fs::read_to_string(self.pid_file(name)).ok()?;
        let mut words = text.split_whitespace();
        let (pid, began) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (words.next()? == boot().ok()?).then_some((pid, began))
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.pids.join(format!("{name}.pid"))
    }
}

/// Living processes of a session; its number is not given to another while one of them lives.
fn members(session: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(process)
        .filter(|process| process.session == session && !process.ended)
        .map(|process| process.pid)
        .collect()
}

fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, a parenthesis too.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ended = matches!(*fields.first()?, "Z" | "X");
    Some(Process {
        pid,
        session: fields.get(3)?.parse().ok()?,
        began: fields.get(19)?.parse().ok()?,
        ended,
    })
}

fn boot() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path)
        .about("read", path)?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemons(name: &str) -> Daemons {
        let folder =
            std::env::temp_dir().join(format!("xtask-daemons-{name}-{}", std::process::id()));
        let _absent = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a temporary folder");
        Daemons::new(folder.join("run"), folder)
    }

    #[test]
    fn a_second_start_leaves_the_first_alone() {
        let daemons = daemons("second");
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        assert!(daemons.start("sleep", &sleep).expect("starts"));
        assert!(!daemons.start("sleep", &sleep).expect("is there"));
        assert_eq!(daemons.names(), ["sleep"]);
        daemons.end("sleep").expect("ends");
        assert!(!daemons.alive("sleep") && daemons.names().is_empty());
        fs::remove_dir_all(daemons.logs).expect("the temporary folder");
    }

    #[test]
    fn what_a_dead_leader_left_behind_ends_too() {
        let daemons = daemons("orphan");
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' TERM; sleep 600 & echo $!; exit"]);
        daemons.start("shell", &shell).expect("starts");
        wait_for("the leader's end", Duration::from_secs(10), || {
            !daemons.alive("shell")
        })
        .expect("it exits at once");
        let child = fs::read_to_string(daemons.logs.join("shell.log")).expect("its log");
        let child: i32 = child.trim().parse().expect("a pid");
        assert!(process(child).is_some_and(|child| !child.ended));
        daemons.end("shell").expect("ends");
        assert!(process(child).is_none_or(|child| child.ended));
        fs::remove_dir_all(daemons.logs).expect("the temporary folder");
    }

    #[test]
    fn a_program_that_ends_early_is_not_waited_for() {
        let daemons = daemons("early");
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo no such flag >&2; exit 1"]);
        daemons.start("shell", &shell).expect("starts");
        let error = daemons
            .wait_for("shell", Duration::from_mins(1), || false)
            .expect_err("it has ended");
        assert!(error.to_string().contains("no such flag"), "{error}");
        daemons.end("shell").expect("ends");
        fs::remove_dir_all(daemons.logs).expect("the temporary folder");
    }
}
