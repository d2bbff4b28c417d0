//! A canary, printed in every way a script can think of, is found nowhere.

use std::process::Command;

use serde_json::json;

use crate::host::{Host, TOOLKIT, contains, files, until};

const CANARY: &str =
    "c4n4ry/S3cret+ \"quoted\" it's long enough to wrap lines in any encoder & more: 0123456789";

/// Prints the variable in every encoding, at once and byte by byte.
const SCRIPT: &str = r#"
import base64, json, os, sys, time, urllib.parse
secret = os.environ["CANARY"]
raw = secret.encode()
def put(data, fd=1):
    os.write(fd, data if isinstance(data, bytes) else data.encode())
    os.write(fd, b"\n")
put(secret); put(secret, 2); put(repr(secret)); put(json.dumps({"s": secret}))
for skip in range(3):
    put(base64.b64encode(b"x" * skip + raw + b"yy")); put(base64.urlsafe_b64encode(b"x" * skip + raw))
    put(base64.encodebytes(b"x" * skip + raw))
put(raw.hex()); put(raw.hex().upper())
put(urllib.parse.quote(secret)); put(urllib.parse.quote(secret, safe="")); put(urllib.parse.quote_plus(secret))
for byte in raw:
    os.write(1, bytes([byte]))
for n, byte in enumerate(raw):
    os.write(1 + n % 2, bytes([byte])); time.sleep(0.001)
for byte in base64.b64encode(raw):
    os.write(2, bytes([byte]))
"#;

/// Whether bytes hold the canary, in the encodings in which the test looks for it.
fn leaks(bytes: &[u8]) -> bool {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let inner = &CANARY[9..30];
    let unwrapped: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|b| !matches!(b, b'\n' | b'\r'))
        .collect();
    let encoded = (0..3)
        .map(|skip| STANDARD.encode(&CANARY[skip..]))
        .map(|text| text[8..40].to_owned());
    contains(bytes, CANARY.as_bytes())
        || contains(bytes, b"S3cret+")
        || contains(bytes, b"S3cret%2B")
        || contains(bytes, inner.as_bytes())
        || contains(&unwrapped, hex::encode(inner).as_bytes())
        || contains(&unwrapped, hex::encode_upper(inner).as_bytes())
        || encoded
            .into_iter()
            .any(|text| contains(&unwrapped, text.as_bytes()))
}

fn with_canary(host: &Host, run: &str, interpreter: &str, script: &str) -> serde_json::Value {
    let mut request = host.script(run, script);
    request["program"]["script"]["interpreter"] = interpreter.into();
    request["env"] = json!({"CANARY": CANARY});
    request["mask"] = json!([CANARY]);
    request
}

#[test]
fn no_encoding_of_a_secret_reaches_the_disk_or_the_asker() {
    let host = Host::new();
    let answer = host.exec(&with_canary(&host, "python", "Python", SCRIPT));
    assert_eq!(answer.end().exit_code, Some(0), "{}", answer.text());
    assert!(!leaks(&answer.bytes()), "{}", answer.text());
    assert!(answer.text().matches("***").count() > 15);
    for (path, bytes) in files(&host.root()) {
        assert!(!leaks(&bytes), "{}", path.display());
    }
}

#[test]
fn a_shell_that_traces_tells_nothing() {
    for interpreter in ["Shell", "Bash"] {
        let host = Host::new();
        let script = "set -x\nprintf '%s\\n' \"$CANARY\"\nx=\"a $CANARY b\"\nprintf %s \"$CANARY\" | base64\n: \"$x\"\n";
        let answer = host.exec(&with_canary(&host, "trace", interpreter, script));
        assert_eq!(answer.end().exit_code, Some(0));
        assert!(!leaks(&answer.bytes()), "{}", answer.text());
        assert!(answer.text().contains("***"));
    }
}

#[test]
fn no_argument_of_a_process_holds_a_secret() {
    let host = Host::new();
    let call = host.begun(&with_canary(
        &host,
        "argv",
        "Shell",
        "echo begun; sleep 1000",
    ));
    until("the run", || host.processes("argv").len() >= 2);
    let mut pids = host.toolkits();
    pids.extend(host.processes("argv"));
    for pid in pids {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!leaks(&line), "{}", String::from_utf8_lossy(&line));
    }
    host.cancel("argv");
    drop(call);
    let mut request = host.script("refused", "");
    request["program"] = json!({"argv": ["echo", CANARY]});
    request["mask"] = json!([CANARY]);
    let answer = host.exec(&request);
    assert_eq!(
        answer.refused().reason,
        crds::journal::RefusedReason::SecretInArguments
    );
    assert!(!leaks(answer.refused().message.as_bytes()));
}

#[test]
fn a_refusal_of_a_malformed_request_repeats_no_value() {
    let host = Host::new();
    let mut command = Command::new(TOOLKIT);
    command.arg("exec").arg("--root").arg(host.root());
    let mut request = with_canary(&host, "bad", "Shell", "");
    request["timeoutSeconds"] = CANARY.into();
    let answer = crate::host::call(command, &request).rest();
    assert!(
        !leaks(answer.refused().message.as_bytes()),
        "{:?}",
        answer.refused()
    );
}
