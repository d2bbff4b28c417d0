//! The release of Pilothouse as a story changes it with Helm, and brought back to what it was, whatever becomes of the story.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    cluster::kubeconfig_path,
    stage::{SYSTEM, state_folder},
};

/// Rolled back when this is dropped.
pub struct Release {
    revision: String,
}

impl Release {
    /// Notes the release as it is.
    pub fn as_it_is() -> Self {
        let status = helm(&["status", "pilothouse", "--output", "json"], "");
        let status = status.unwrap_or_else(|error| panic!("no release: {error}"));
        let status: Value = serde_json::from_str(&status).expect("it was asked for");
        let revision = status["version"].to_string();
        Self { revision }
    }

    /// Changes some values, and waits until everything is ready.
    pub fn upgrade(&self, values: &Value) {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/pilothouse");
        let chart = chart.to_str().expect("a path of letters");
        let words = [
            "upgrade",
            "pilothouse",
            chart,
            "--reuse-values",
            "--values",
            "-",
        ];
        let wait = ["--wait", "--timeout", "5m"];
        let said = helm(&[&words[..], &wait].concat(), &values.to_string());
        said.unwrap_or_else(|error| panic!("no upgrade from revision {}: {error}", self.revision));
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let words = ["rollback", "pilothouse", &self.revision];
        if let Err(error) = helm(&[&words[..], &["--wait", "--timeout", "5m"]].concat(), "") {
            eprintln!("the release is left as it is: {error}");
        }
    }
}

/// What Helm answers, or why it does not.
fn helm(words: &[&str], input: &str) -> Result<String, String> {
    let mut helm = Command::new(state_folder().join("bin/helm"))
        .args(words)
        .args(["--namespace", SYSTEM, "--kubeconfig"])
        .arg(kubeconfig_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("helm starts");
    let mut pipe = helm.stdin.take().expect("it is piped");
    // One that reads nothing may be gone already.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    let output = helm.wait_with_output().expect("helm ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}
