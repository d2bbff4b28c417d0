//! The release of Pilothouse as a story changes it with Helm, and brought back to what it was, whatever becomes of the story.

use std::path::Path;

use serde_json::Value;

use crate::{helm::helm, stage::SYSTEM};

/// Rolled back when this is dropped.
pub struct Release {
    revision: String,
}

impl Release {
    /// Notes the release as it is.
    pub fn as_it_is() -> Self {
        let status = helm(SYSTEM, &["status", "pilothouse", "--output", "json"], "");
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
        let said = helm(SYSTEM, &[&words[..], &wait].concat(), &values.to_string());
        said.unwrap_or_else(|error| panic!("no upgrade from revision {}: {error}", self.revision));
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let words = ["rollback", "pilothouse", &self.revision];
        let wait = ["--wait", "--timeout", "5m"];
        if let Err(error) = helm(SYSTEM, &[&words[..], &wait].concat(), "") {
            eprintln!("the release is left as it is: {error}");
        }
    }
}
