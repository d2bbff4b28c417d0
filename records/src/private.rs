//! A PostgreSQL server of one's own, for tests and measurements: made from the machine's packages in a folder that goes with it, and killed as suddenly as by a power cut.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::Settings;

/// Where Debian has the programs of each version.
const PACKAGED: &str = "/usr/lib/postgresql";
/// Time to make a server, or for it to come up after a crash.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server, gone with its folder when dropped.
pub struct PrivatePostgres {
    programs: PathBuf,
    folder: PathBuf,
    /// Whom it runs as; as ourselves where we are not root, which it refuses to be.
    owner: Option<(u32, u32)>,
    more: Vec<String>,
    process: Option<Child>,
}

impl PrivatePostgres {
    /// Makes and starts one; `more` is configuration, each as `name=value`.
    pub fn start(more: &[&str]) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, n) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("pilothouse-postgres-{process}-{n}"));
        fs::create_dir(&folder)?;
        let owner = owner()?;
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group))?;
        }
        let mut server = Self {
            programs: programs()?,
            folder,
            owner,
            more: more.iter().map(ToString::to_string).collect(),
            process: None,
        };
        let words = [
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "-D",
        ];
        let data = server.data();
        finished(server.program("initdb").args(words).arg(data))?;
        server.up()?;
        Ok(server)
    }

    /// Folder of its database.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts it where it was killed, and waits until it takes connections.
    pub fn up(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let alive = match &mut self.process {
                Some(process) => process.try_wait()?.is_none(),
                None => false,
            };
            if !alive {
                // One that is killed leaves its memory behind for a moment, and the next refuses to start until it is gone.
                self.process = Some(self.postgres()?);
            }
            let mut ready = self.program("pg_isready");
            if finished(ready.args(["-q", "-h"]).arg(&self.folder)).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "PostgreSQL does not come up",
        ))
    }

    fn postgres(&self) -> io::Result<Child> {
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data());
        postgres.arg("-k").arg(&self.folder);
        if !self.more.iter().any(|m| m.starts_with("listen_addresses=")) {
            postgres.args(["-c", "listen_addresses="]);
        }
        for setting in &self.more {
            postgres.args(["-c", setting]);
        }
        postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    /// Kills every process of it, with no time for anything.
    pub fn kill(&mut self) -> io::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let children = children(process.id())?;
        process.kill()?;
        if !children.is_empty() {
            // Some have ended by themselves, which is as good.
            let _ = finished(
                Command::new("sh")
                    .args(["-c", "kill -9 \"$@\"", "kill"])
                    .args(children),
            );
        }
        process.wait()?;
        Ok(())
    }

    /// A new database, and where it is.
    pub fn database(&self, name: &str) -> io::Result<Settings> {
        finished(
            self.program("createdb")
                .args(["-U", "postgres", "-h"])
                .arg(&self.folder)
                .arg(name),
        )?;
        let url_file = self.folder.join(format!("{name}.url"));
        let folder = self.folder.display();
        fs::write(
            &url_file,
            format!("host={folder} user=postgres dbname={name} sslmode=disable"),
        )?;
        Ok(Settings {
            url_file,
            ca_file: None,
        })
    }

    /// A file that is the server's and that nobody else reads.
    pub fn file(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if let Some((user, group)) = self.owner {
            chown(&path, Some(user), Some(group))?;
        }
        Ok(path)
    }

    /// What a statement answers, as text.
    pub fn sql(&self, database: &str, statement: &str) -> io::Result<String> {
        let mut psql = self.program("psql");
        psql.args(["-qtAX", "-U", "postgres", "-d", database, "-h"])
            .arg(&self.folder)
            .args(["-c", statement]);
        Ok(finished(&mut psql)?.trim().to_owned())
    }

    fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.programs.join(name));
        program.current_dir("/").stdin(Stdio::null());
        if let Some(port) = self.more.iter().find_map(|m| m.strip_prefix("port=")) {
            program.env("PGPORT", port);
        }
        if let Some((user, group)) = self.owner {
            program.uid(user).gid(group);
        }
        program
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // What is left of it is in the folder for temporary files.
        let _ = self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The programs of the newest version that is installed.
fn programs() -> io::Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(PACKAGED)?
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    versions.sort();
    let missing = || io::Error::new(io::ErrorKind::NotFound, "install the package postgresql");
    let (_, newest) = versions.pop().ok_or_else(missing)?;
    Ok(newest.join("bin"))
}

/// User and group of the package, where we are root.
fn owner() -> io::Result<Option<(u32, u32)>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users
        .lines()
        .find_map(|line| line.strip_prefix("postgres:"));
    let numbers = line.and_then(|line| {
        let mut fields = line.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no user postgres");
    numbers.map(Some).ok_or_else(missing)
}

/// Processes that a process has started.
fn children(parent: u32) -> io::Result<Vec<String>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<u32>().is_ok() && parent_of(&entry.path()) == Some(parent) {
            children.push(name);
        }
    }
    Ok(children)
}

fn parent_of(process: &Path) -> Option<u32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name of the program may have anything in it; what follows its end is a state, then the parent.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}

/// Output of a program that has to succeed.
fn finished(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{command:?}: {said}")))
}
