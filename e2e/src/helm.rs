//! Helm as it was built, on the cluster under test.

use std::{
    fmt::Debug,
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{cluster::kubeconfig_path, stage::state_folder};

/// What Helm answers, or why it does not.
pub fn helm(namespace: &str, words: &[&str], input: &str) -> Result<String, String> {
    let mut helm = Command::new(state_folder().join("bin/helm"))
        .args(words)
        .args(["--namespace", namespace, "--kubeconfig"])
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

/// Each of these settings of a chart is refused, with the words that help.
#[track_caller]
pub fn refuses<T: Debug>(render: impl Fn(&[&str]) -> Result<T, String>, all: &[(&[&str], &str)]) {
    for (settings, message) in all {
        let refusal = render(settings).expect_err("rendered, but should be refused");
        assert!(refusal.contains(message), "{settings:?}: {refusal}");
    }
}
