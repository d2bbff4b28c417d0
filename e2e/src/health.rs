//! What GitOps tools say of live objects: the program `health` asks the library of kstatus and runs the chart's scripts for Argo CD.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::stage::state_folder;

/// The scripts as the chart brings them along.
const SCRIPTS: &str = "../charts/pilothouse/files/argocd";

/// An object as it was seen, and what has to be said of it.
#[derive(Debug)]
pub struct Expected {
    /// What it is and how it was, for messages.
    pub title: String,
    pub object: Value,
    pub kstatus: &'static str,
    pub argo: &'static str,
}

/// Fails by every object of which something else is said.
pub fn assert_told(expected: &[Expected]) {
    let objects: Vec<_> = expected.iter().map(|e| &e.object).collect();
    let answers = ask(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    assert_eq!(answers.len(), expected.len());
    let mut wrong = Vec::new();
    for (expected, told) in expected.iter().zip(answers) {
        println!("{}: {told}", expected.title);
        let said = (
            told["kstatus"]["status"].as_str(),
            told["argo"]["status"].as_str(),
        );
        if said != (Some(expected.kstatus), Some(expected.argo)) {
            wrong.push(format!(
                "{}: {told}, but should be {} and {}",
                expected.title, expected.kstatus, expected.argo
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn ask(list: &Value) -> Vec<Value> {
    let mut health = Command::new(state_folder().join("bin/health"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPTS))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("health starts");
    let mut pipe = health.stdin.take().expect("it is piped");
    pipe.write_all(list.to_string().as_bytes())
        .expect("health reads to the end");
    drop(pipe);
    let output = health.wait_with_output().expect("health ends");
    assert!(output.status.success(), "health says why on standard error");
    serde_json::from_slice(&output.stdout).expect("a list of answers")
}
