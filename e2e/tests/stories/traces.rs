//! Story: an OpenTelemetry collector hears of a run as a trace, in which a script's own `TRACEPARENT` names its span, and a part stands below the step that it is.

use std::{collections::HashMap, time::Duration};

use e2e::{Guest, Stage, eventually};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, status::StatusCode},
};
use prost::Message as _;

/// Keeps the body of each request, as a line of hexadecimal digits. The chart's values of the local cluster name its address.
const COLLECTOR: &str = r"
import socket
asked = socket.create_server(('', 4318))
while True:
    client, _ = asked.accept()
    lines, length = client.makefile('rb'), 0
    for line in iter(lines.readline, b'\r\n'):
        if not line: break
        name, _, value = line.partition(b':')
        length = int(value) if name.lower() == b'content-length' else length
    with open('/var/tmp/traces', 'a') as kept:
        kept.write(lines.read(length).hex() + '\n')
    client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    client.close()
";

const LEAF: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: leaf}
spec:
  steps:
  - {name: rest, pause: {duration: 1s}}
";

const RUN: &str = r#"
sharing: Shared
targets: {hosts: {names: [vm1, pm1]}}
strategy: {batches: [1, "100%"], maxFailures: "100%"}
steps:
- {name: say, inline: {content: 'echo "$TRACEPARENT"'}}
- {name: fail, needs: [say], inline: {content: 'test "$(hostname)" != pm1'}}
- {name: part, job: {name: leaf}}
"#;

/// Spans by the way to them from the top, as far as they belong to a trace.
fn ways(spans: &[Span]) -> HashMap<String, Span> {
    let above = |span: &Span| spans.iter().find(|s| s.span_id == span.parent_span_id);
    let way = |span: &Span| {
        let mut names = vec![span.name.as_str()];
        let mut at = span;
        while let Some(upper) = above(at) {
            names.insert(0, upper.name.as_str());
            at = upper;
        }
        (names.join(" > "), span.clone())
    };
    spans.iter().map(way).collect()
}

fn collected(trace: &str) -> Vec<Span> {
    let kept = Guest("vm1").sh("cat /var/tmp/traces 2>/dev/null || true");
    let requests = kept.lines().map(|line| {
        let digits = line.as_bytes().chunks(2);
        let bytes = digits.map(|two| {
            let two = std::str::from_utf8(two).expect("ASCII");
            u8::from_str_radix(two, 16).expect("hexadecimal digits")
        });
        ExportTraceServiceRequest::decode(&*bytes.collect::<Vec<_>>()).expect("OTLP")
    });
    let of_resources = requests.flat_map(|request| request.resource_spans);
    let spans = of_resources
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans);
    let is_of = |span: &Span| {
        let id: String = span
            .trace_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        id == trace
    };
    spans.filter(is_of).collect()
}

#[tokio::test]
async fn a_run_is_told_as_a_trace_that_its_scripts_and_parts_belong_to() {
    let stage = Stage::set("traces").await;
    Guest("vm1").sh(&format!(
        "rm -f /var/tmp/traces; cat > /var/tmp/collector.py <<'EOF'\n{COLLECTOR}EOF\nsystemctl stop story-collector 2>/dev/null; systemd-run --quiet --collect --unit story-collector python3 /var/tmp/collector.py"
    ));
    stage.hosts_seen().await;
    stage.apply(LEAF).await;
    stage.run("told", RUN).await;
    stage.ends("told").await;
    let said = String::from_utf8(stage.log("told", "say", "vm1").await).expect("text");
    let [_, trace, span, "01"] = said.trim().split('-').collect::<Vec<_>>()[..] else {
        panic!("{said:?} is no traceparent");
    };
    let part = stage.part("told").await;
    let wanted = [
        "run told".to_owned(),
        "run told > batch 1 > target vm1 > step say".to_owned(),
        "run told > batch 2 > target pm1 > step fail".to_owned(),
        format!("run told > step part > run {part} > step rest"),
    ];
    let told = eventually("the whole trace", Duration::from_mins(1), async || {
        let told = ways(&collected(trace));
        wanted
            .iter()
            .all(|way| told.contains_key(way))
            .then_some(told)
    })
    .await;
    let own = &told[&wanted[1]];
    let id: String = own
        .span_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(id, span, "the script named its own span");
    let failed = told[&wanted[2]].status.as_ref().map(|status| status.code);
    assert_eq!(failed, Some(StatusCode::Error.into()));
    let whole = &told[&wanted[0]];
    assert!(own.start_time_unix_nano < own.end_time_unix_nano);
    assert!(whole.start_time_unix_nano < whole.end_time_unix_nano);
    Guest("vm1").sh("systemctl stop story-collector");
}
