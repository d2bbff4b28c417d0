//! What is generated from the types is what is committed.

use std::process::Command;

#[test]
fn generated_files_are_those_of_the_types() {
    let output = Command::new(env!("CARGO_BIN_EXE_crdgen"))
        .arg("--check")
        .output()
        .expect("crdgen was just built");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
