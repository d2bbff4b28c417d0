//! A host: a journal of its own in a temporary folder, and the toolkit as others call it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crds::journal::{End, Line, Output, Refused, Request, Started};
use crds::key::EffectKey;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub const TOOLKIT: &str = env!("CARGO_BIN_EXE_toolkit");
/// Slots of the state file, as docs/journal.md says.
pub const HEADER: u64 = 0;
pub const BEGUN: u64 = 1;
pub const END: u64 = 3;
pub const FORGOTTEN: u64 = 4;

pub struct Host {
    folder: tempfile::TempDir,
}

/// All lines of one call.
#[derive(Debug, Default)]
pub struct Answer {
    pub started: Option<Started>,
    pub output: Vec<Output>,
    pub end: Option<End>,
    pub refused: Option<Refused>,
}

/// A call that goes on.
pub struct Call {
    pub child: Child,
    lines: BufReader<ChildStdout>,
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Waits for something that must come true.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_mins(1);
    while !is() {
        assert!(Instant::now() < patience, "{what} never came true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Host {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        // Scripts of other users write into it.
        Command::new("chmod")
            .arg("0755")
            .arg(folder.path())
            .status()
            .expect("chmod");
        Self { folder }
    }

    /// A place for a test's own files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.file("root")
    }

    pub fn key(&self, run: &str) -> EffectKey {
        // The folder makes it unlike the keys of every other test.
        EffectKey {
            attempt: 1,
            cluster: "c".into(),
            plan: self.root().display().to_string(),
            run: run.into(),
            step: "s".into(),
            target: "t".into(),
        }
    }

    pub fn journal(&self, run: &str) -> PathBuf {
        self.root().join("journal").join(self.key(run).digest())
    }

    /// A request for a shell script.
    pub fn script(&self, run: &str, content: &str) -> Value {
        json!({"version": 1, "key": self.key(run), "epoch": 1, "program": {"script": {"interpreter": "Shell", "content": content}}})
    }

    /// A script that leaves one line each time it runs.
    pub fn line(&self, run: &str) -> Value {
        self.script(run, &format!("echo line >> {}", self.effect(run).display()))
    }

    pub fn effect(&self, run: &str) -> PathBuf {
        self.file(&format!("effect-{run}"))
    }

    pub fn lines(&self, run: &str) -> usize {
        std::fs::read_to_string(self.effect(run))
            .unwrap_or_default()
            .lines()
            .filter(|l| *l == "line")
            .count()
    }

    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(TOOLKIT);
        command.arg(verb).arg("--root").arg(self.root());
        command
    }

    pub fn exec(&self, request: &Value) -> Answer {
        call(self.command("exec"), request).rest()
    }

    pub fn begin(&self, request: &Value) -> Call {
        call(self.command("exec"), request)
    }
    /// Starts a run and goes on once it is known to have begun.
    pub fn begun(&self, request: &Value) -> Call {
        let mut call = self.begin(request);
        assert!(matches!(call.line(), Some(Line::Started(_))), "begun");
        call
    }

    pub fn ask(&self, verb: &str, run: &str, epoch: i64) -> Line {
        let request = json!({"version": 1, "key": self.key(run), "epoch": epoch});
        call(self.command(verb), &request).line().expect("a line")
    }

    pub fn cancel(&self, run: &str) -> End {
        match self.ask("cancel", run, 1) {
            Line::End(end) => end,
            other => panic!("no end: {other:?}"),
        }
    }

    /// Toolkits at work in this host, calls and supervisors alike.
    pub fn toolkits(&self) -> Vec<i32> {
        let root = self.root().display().to_string();
        processes(move |pid| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                contains(&line, TOOLKIT.as_bytes()) && contains(&line, root.as_bytes())
            })
        })
    }

    /// Processes of a run, supervisors aside.
    pub fn processes(&self, run: &str) -> Vec<i32> {
        let mark = format!("PILOTHOUSE_EFFECT={}", self.key(run).digest());
        processes(move |pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|all| contains(&all, mark.as_bytes()))
        })
    }

    /// Writes a fact into a journal's state, in its place.
    pub fn put(&self, run: &str, slot: u64, fact: &Value) {
        let json = fact.to_string().into_bytes();
        let mut bytes = hex::encode(Sha256::digest(&json)).into_bytes();
        bytes.extend(json);
        bytes.resize(4096, 0);
        let state = std::fs::File::options()
            .write(true)
            .open(self.journal(run).join("state"))
            .expect("state");
        state.write_all_at(&bytes, slot * 4096).expect("write");
    }

    /// Reads a fact of a journal's state.
    pub fn fact(&self, run: &str, slot: u64) -> Value {
        let state = std::fs::read(self.journal(run).join("state")).expect("state");
        let at = usize::try_from(slot * 4096).expect("small") + 64;
        let json = state[at..].split(|&b| b == 0).next().expect("a part");
        serde_json::from_slice(json).expect("a fact")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for pid in self.toolkits() {
            kill(pid, "KILL");
        }
    }
}

/// Calls the toolkit as another program would.
pub fn call(mut command: Command, request: &Value) -> Call {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("toolkit");
    let mut stdin = child.stdin.take().expect("stdin");
    // A toolkit that refuses early may be gone before it has read all.
    let _ = stdin.write_all(format!("{request}\n").as_bytes());
    drop(stdin);
    let lines = BufReader::new(child.stdout.take().expect("stdout"));
    Call { child, lines }
}

impl Call {
    pub fn line(&mut self) -> Option<Line> {
        let mut text = String::new();
        self.lines.read_line(&mut text).expect("read");
        (!text.is_empty())
            .then(|| serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    /// Stops to listen.
    pub fn silence(self) -> Child {
        self.child
    }

    pub fn rest(mut self) -> Answer {
        let mut answer = Answer::default();
        while let Some(line) = self.line() {
            assert!(
                answer.end.is_none() && answer.refused.is_none(),
                "the end is the last line"
            );
            match line {
                Line::Started(started) => {
                    assert!(answer.started.replace(started).is_none(), "started once");
                }
                Line::Output(output) => answer.output.push(output),
                Line::End(end) => answer.end = Some(end),
                Line::Refused(refused) => answer.refused = Some(refused),
                Line::Forgotten(_) => panic!("nobody asked to forget"),
            }
        }
        self.child.wait().expect("wait");
        answer
    }
}

impl Answer {
    pub fn end(&self) -> &End {
        self.end
            .as_ref()
            .unwrap_or_else(|| panic!("no end: {self:?}"))
    }

    pub fn refused(&self) -> &Refused {
        assert!(self.started.is_none(), "nothing was started");
        self.refused
            .as_ref()
            .unwrap_or_else(|| panic!("not refused: {self:?}"))
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.output
            .iter()
            .flat_map(|output| output.data.clone())
            .collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("utf-8")
    }
}

pub fn kill(pid: i32, signal: &str) {
    Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .expect("kill");
}

pub fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

/// Every file below a folder, with what is in it.
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)
        .expect("folder")
        .map(|e| e.expect("entry").path())
    {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else {
            found.push((entry.clone(), std::fs::read(&entry).expect("file")));
        }
    }
    found
}

fn processes(is: impl Fn(i32) -> bool) -> Vec<i32> {
    let all = std::fs::read_dir("/proc")
        .expect("proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|&pid| is(pid))
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')')
                .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
        })
        .collect()
}

/// The request as the API has it, to be sure that the tests speak its language.
#[test]
fn the_tests_speak_the_language_of_the_api() {
    let host = Host::new();
    let request: Request = serde_json::from_value(host.line("api")).expect("a request");
    assert_eq!(request.key, host.key("api"));
}
