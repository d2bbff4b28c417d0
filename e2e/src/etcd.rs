//! etcd of the local cluster, asked through its JSON gateway: what it keeps is what the API server really wrote, every version of it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::network;

/// Everything of the API server.
const REGISTRY: &str = "/registry/";
/// The first key after everything of the API server.
const AFTER_REGISTRY: &str = "/registry0";
/// Longer than etcd is ever silent while it has something to tell.
const ANSWER: Duration = Duration::from_secs(30);

/// One version of a key, as it was written.
#[derive(Clone, Debug)]
pub struct Written {
    pub key: String,
    pub value: Vec<u8>,
}

/// The revision that etcd stands at.
pub fn revision() -> u64 {
    let asked = json!({"key": base64(REGISTRY), "count_only": true});
    let answer = answers("/v3/kv/range", &asked)
        .next()
        .expect("etcd answers a question");
    number(&answer["header"]["revision"])
}

/// Every write of the API server after one revision, up to another.
pub fn written(after: u64, until: u64) -> Vec<Written> {
    let asked = json!({"create_request": {
        "key": base64(REGISTRY), "range_end": base64(AFTER_REGISTRY), "start_revision": after + 1,
    }});
    let (mut found, mut seen) = (Vec::new(), after);
    let mut answers = answers("/v3/watch", &asked);
    while seen < until {
        let answer = answers.next().expect("a watch of etcd goes on");
        let told = &answer["result"];
        assert!(told["canceled"] != true, "etcd ended the watch: {told}");
        for change in told["events"].as_array().into_iter().flatten() {
            seen = number(&change["kv"]["mod_revision"]);
            if seen <= until {
                found.push(Written {
                    key: String::from_utf8_lossy(&bytes(&change["kv"]["key"])).into_owned(),
                    value: bytes(&change["kv"]["value"]),
                });
            }
        }
    }
    found
}

/// Writes all that etcd holds to a file, as `etcdctl snapshot save` does.
pub fn snapshot(to: &Path) {
    let mut file = File::create(to).expect("a file for the snapshot");
    for piece in answers("/v3/maintenance/snapshot", &json!({})) {
        let blob = bytes(&piece["result"]["blob"]);
        file.write_all(&blob).expect("room for the snapshot");
    }
}

/// Asks in the oldest HTTP, whose answers are plain lines until the connection ends.
fn answers(path: &str, asked: &Value) -> impl Iterator<Item = Value> + use<> {
    let (body, mut stream) = (asked.to_string(), dial());
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("etcd takes a question");
    let mut lines = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("etcd goes on answering"));
    let status = lines.next().unwrap_or_default();
    assert!(status.contains(" 200 "), "etcd says {status}");
    lines
        .skip_while(|line| !line.is_empty())
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(&line).expect("etcd answers in JSON"))
}

fn dial() -> TcpStream {
    let stream = network::within(|| TcpStream::connect("127.0.0.1:2379"));
    let stream = stream.expect("etcd listens");
    stream
        .set_read_timeout(Some(ANSWER))
        .expect("a timeout that is not zero");
    stream
}

fn base64(text: &str) -> Value {
    json!(ByteString(text.as_bytes().to_vec()))
}

fn bytes(base64: &Value) -> Vec<u8> {
    if base64.is_null() {
        return Vec::new();
    }
    let bytes: ByteString = serde_json::from_value(base64.clone()).expect("etcd writes base64");
    bytes.0
}

/// The gateway writes numbers as texts.
fn number(text: &Value) -> u64 {
    let number = text.as_str().and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("{text} is no number of etcd"))
}
