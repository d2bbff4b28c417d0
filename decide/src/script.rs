//! What makes a Script's revision: its interpreter, content and parameters, and nothing else.

use crds::v1alpha1::ScriptSpec;
use sha2::{Digest as _, Sha256};

/// Digest of what a revision holds, `sha256:` and 64 hexadecimal digits.
pub fn digest(spec: &ScriptSpec) -> String {
    let held = serde_json::json!({"interpreter": spec.interpreter, "content": spec.content, "parameters": spec.parameters});
    format!("sha256:{}", hex::encode(Sha256::digest(held.to_string())))
}

/// Name of the ControllerRevision that holds it.
pub fn revision_name(script: &str, digest: &str) -> String {
    let short = digest.trim_start_matches("sha256:");
    format!(
        "{}-{}",
        &script[..script.len().min(242)],
        &short[..10.min(short.len())]
    )
}
