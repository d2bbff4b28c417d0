//! Output is kept within bounds, whatever it is.

use std::process::Command;

use crds::journal::Stream;

use crate::host::{Host, TOOLKIT};

#[test]
fn any_bytes_come_back_as_they_were() {
    let host = Host::new();
    let mut request = host.script("binary", "import os\nos.write(1, bytes(range(256)) * 300)");
    request["program"]["script"]["interpreter"] = "Python".into();
    let all: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(300);
    assert_eq!(host.exec(&request).bytes(), all);
}

#[test]
fn streams_are_told_apart_and_in_order() {
    let host = Host::new();
    let answer = host.exec(&host.script(
        "streams",
        "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three",
    ));
    let told: Vec<_> = answer
        .output
        .iter()
        .map(|o| {
            (
                o.offset,
                o.stream,
                String::from_utf8_lossy(&o.data).into_owned(),
            )
        })
        .collect();
    let expected = [
        (0, Stream::Stdout, "one\n"),
        (4, Stream::Stderr, "two\n"),
        (8, Stream::Stdout, "three\n"),
    ];
    assert_eq!(
        told,
        expected.map(|(offset, stream, text)| (offset, stream, text.to_owned()))
    );
}

#[test]
fn output_is_told_while_the_run_goes_on() {
    let host = Host::new();
    let mut call = host.begun(&host.script("live", "echo first; sleep 1000"));
    let Some(crds::journal::Line::Output(output)) = call.line() else {
        panic!("output")
    };
    assert_eq!(output.data, b"first\n");
    host.cancel("live");
}

#[test]
fn the_first_and_the_last_of_much_are_kept_within_bounded_memory() {
    let host = Host::new();
    let size: u64 = 1 << 30;
    // The limit on memory is far below the output, and below what would be held without bounds.
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -v 65536; exec \"$@\"",
            "sh",
            TOOLKIT,
            "exec",
            "--root",
        ])
        .arg(host.root());
    let script = format!("echo first; head -c {size} /dev/zero; echo last");
    let answer = crate::host::call(command, &host.script("much", &script)).rest();
    let end = answer.end();
    assert_eq!((end.exit_code, end.output_bytes), (Some(0), size + 11));
    assert_eq!(end.dropped_bytes, size + 11 - (1 << 20));
    let bytes = answer.bytes();
    assert_eq!(bytes.len(), 1 << 20);
    assert!(bytes.starts_with(b"first\n") && bytes.ends_with(b"last\n"));
    let last = answer.output.last().expect("output");
    assert_eq!(
        last.offset + last.data.len() as u64,
        size + 11,
        "offsets count what was dropped"
    );
}

#[test]
fn much_output_is_masked_to_its_end() {
    let host = Host::new();
    let mut request = host.script(
        "masked",
        "yes 'some words and hunter1' | head -c 30000000; echo; echo hunter22",
    );
    request["mask"] = serde_json::json!(["hunter22", "another secret"]);
    request["keepBytes"] = 1000.into();
    let answer = host.exec(&request);
    assert!(answer.text().ends_with("***\n"), "{}", answer.text());
    assert_eq!(
        (answer.bytes().len(), answer.end().output_bytes),
        (1000, 30_000_005)
    );
}
