//! What the local cluster stands on, processes of this machine: ended as by a power cut, and started again by `cargo xtask up`.

use std::{env, fs, process::Command, time::Duration};

use crate::{eventually, stage::state_folder};

/// Whoever is killed is gone well within this.
const SOON: Duration = Duration::from_secs(30);

/// A guest (`guest-vm1`) or a program of the control plane (`apiserver`).
#[derive(Clone, Copy, Debug)]
pub struct Part(pub &'static str);

impl Part {
    /// Ends it at once, with everything in its session, and nothing written that was not on disk.
    pub async fn cut_off(self) {
        let ended = Command::new("pkill")
            .args(["-KILL", "-s", &self.session()])
            .status();
        assert!(ended.expect("pkill starts").success(), "{} runs", self.0);
        self.ended(SOON).await;
        println!("{} is cut off", self.0);
    }

    /// Waits until it has ended. A guest takes a moment to die, in which xtask would take it for one that runs; a server's ports are its own until its last thread is gone.
    pub async fn ended(self, patience: Duration) {
        let (what, session) = (format!("end of {}", self.0), self.session());
        eventually(&what, patience, || async {
            (!is_alive(&session)).then_some(())
        })
        .await;
    }

    fn session(self) -> String {
        let file = state_folder().join("run").join(format!("{}.pid", self.0));
        let text = fs::read_to_string(&file).expect("it was started by xtask");
        text.split(' ').next().expect("a process id").to_owned()
    }

    /// Starts again whatever has ended, and waits until the nodes are ready. A guest that a run reboots meanwhile has ended too.
    pub fn all_started() {
        let tests = env::current_exe().expect("this test is a file");
        let programs = tests.ancestors().nth(2).expect("cargo's own folders");
        loop {
            let up = Command::new(programs.join("xtask"))
                .args(["up", "--cluster-only"])
                .output()
                .expect("xtask starts");
            let [said, told] =
                [up.stdout, up.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            let rebooted =
                told.contains("has ended;") && told.contains("reboot: Restarting system");
            assert!(up.status.success() || rebooted, "{said}{told}");
            if up.status.success() {
                return;
            }
        }
    }
}

/// Whether any thread of a session has not ended.
fn is_alive(session: &str) -> bool {
    let found = Command::new("pgrep").args(["-s", session]).output();
    let found = found.expect("pgrep starts").stdout;
    let found = String::from_utf8_lossy(&found);
    let tasks = found
        .lines()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    let mut states = tasks.flatten().flatten().filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    });
    states.any(|state| !matches!(state, 'Z' | 'X'))
}
