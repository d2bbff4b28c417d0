//! The guests of the local cluster, looked at from outside: over SSH as its administrator, in its network namespace.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use crate::stage::{netns, state_folder};

/// A machine of the local cluster.
#[derive(Clone, Copy, Debug)]
pub struct Guest(pub &'static str);

impl Guest {
    /// Runs a script as root; its standard output, or what went wrong.
    pub fn sh(self, script: &str) -> String {
        let output = self.output(script);
        assert!(
            output.status.success(),
            "{} said: {}",
            self.0,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a script as root.
    pub fn output(self, script: &str) -> Output {
        let state = state_folder();
        let mut ssh = Command::new("ip")
            .args(["netns", "exec", &netns(), "ssh", "-F"])
            .arg(state.join("ssh_config"))
            // A guest on a busy machine takes its time to answer, and one that another story has rebooted is back in a moment.
            .args([
                "-o",
                "ConnectTimeout=30",
                "-o",
                "ConnectionAttempts=60",
                self.0,
                "sh -s",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ssh starts");
        ssh.stdin
            .take()
            .expect("it is piped")
            .write_all(script.as_bytes())
            .expect("ssh takes the script");
        ssh.wait_with_output().expect("ssh ends")
    }
}

/// The two hosts.
pub const HOSTS: [Guest; 2] = [Guest("vm1"), Guest("pm1")];
