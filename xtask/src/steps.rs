//! Named steps: one line each on the screen when it ends, a sign of life while it is long, one log each in one folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::error::{About, Error, Result};

const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Cached,
}

pub struct Steps {
    logs: PathBuf,
    /// Keeps lines of parallel steps apart.
    screen: Mutex<()>,
    silent: bool,
}

impl Steps {
    pub fn new(logs: PathBuf) -> Result<Self> {
        fs::create_dir_all(&logs).about("create", &logs)?;
        Ok(Self {
            logs,
            screen: Mutex::new(()),
            silent: false,
        })
    }

    /// Steps that leave the screen to others.
    pub fn silent(logs: PathBuf) -> Result<Self> {
        Ok(Self {
            silent: true,
            ..Self::new(logs)?
        })
    }

    /// Runs one step; `work` says whether it had anything to do.
    pub fn step<T>(
        &self,
        name: &str,
        work: impl FnOnce(&Log) -> Result<(T, Outcome)>,
    ) -> Result<T> {
        let log = Log {
            path: self
                .logs
                .join(format!("{}.log", name.replace([' ', '/'], "-"))),
        };
        let began = Instant::now();
        let done = self.watched(name, began, || work(&log));
        let ending = match &done {
            Ok((_, Outcome::Done)) => "done",
            Ok((_, Outcome::Cached)) => "cached",
            Err(_) => "failed",
        };
        self.say(name, began, ending);
        let logs = self.logs.clone();
        done.map(|(value, _)| value).map_err(|cause| Error::Step {
            step: name.to_owned(),
            logs,
            cause: Box::new(cause),
        })
    }

    /// A step that always has something to do.
    pub fn run<T>(&self, name: &str, work: impl FnOnce(&Log) -> Result<T>) -> Result<T> {
        self.step(name, |log| Ok((work(log)?, Outcome::Done)))
    }

    fn watched<T>(&self, name: &str, began: Instant, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let (ended, end): (Sender<()>, _) = channel();
            scope.spawn(move || {
                while end.recv_timeout(SIGN_OF_LIFE) == Err(RecvTimeoutError::Timeout) {
                    self.say(name, began, "...");
                }
            });
            let value = work();
            drop(ended);
            value
        })
    }

    fn say(&self, name: &str, began: Instant, word: &str) {
        let _line = self.screen.lock().expect("no step panics while it prints");
        if self.silent {
            return;
        }
        println!(
            "{name:<34} {:>7.1} s  {word}",
            began.elapsed().as_secs_f32()
        );
    }
}

/// Where the programs of a step write.
pub struct Log {
    path: PathBuf,
}

impl Log {
    pub fn run(&self, command: &mut Command) -> Result<()> {
        self.run_with(command, Stdio::null())
    }

    /// Runs a program that reads `input`.
    pub fn run_with(&self, command: &mut Command, input: Stdio) -> Result<()> {
        let line = line(command);
        let status = command
            .stdin(input)
            .stdout(self.open()?)
            .stderr(self.open()?)
            .status();
        let status = status.map_err(|source| Error::Start {
            line: line.clone(),
            source,
        })?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Ended {
            line,
            status: status.to_string(),
            log: self.path.clone(),
            tail: tail(&self.path),
        })
    }

    /// Runs a program for what it prints; its errors go to the log.
    pub fn read(&self, command: &mut Command) -> Result<String> {
        let line = line(command);
        let output = command.stdin(Stdio::null()).stderr(self.open()?).output();
        let output = output.map_err(|source| Error::Start {
            line: line.clone(),
            source,
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(Error::Ended {
            line,
            status: output.status.to_string(),
            log: self.path.clone(),
            tail: tail(&self.path),
        })
    }

    /// Asks a program a yes-or-no question.
    pub fn ask(&self, command: &mut Command) -> bool {
        self.read(command).is_ok()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<File> {
        File::options()
            .create(true)
            .append(true)
            .open(&self.path)
            .about("open", &self.path)
    }
}

/// The last lines of a log.
pub fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// The command as a person would type it.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Asks until the answer is yes; a wait that ends without it names what it waited for.
pub fn wait_for(what: &str, limit: Duration, mut yes: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !yes() {
        if began.elapsed() > limit {
            return Err(Error::Waited {
                what: what.to_owned(),
                seconds: limit.as_secs(),
            });
        }
        thread::park_timeout(Duration::from_millis(150));
    }
    Ok(())
}
