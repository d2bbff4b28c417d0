//! Story: a secret that a script shows in every way it can is found nowhere but in its Secret.

use e2e::{
    Guest, Manifest, Stage,
    etcd::{self, Written},
    eventually,
    stage::PATIENCE,
};
use k8s_openapi::{ByteString, api::core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, LogParams},
};
use serde_json::json;

const CANARY: &str = r#"c4nary"Wert/+&zwitschert=9182"#;

/// Every way of showing it has a line that begins with its name.
const SCRIPT: &str = r#"
echo "plain $TOKEN"
echo "base64 $(printf %s "$TOKEN" | base64 -w0)"
echo "base64-x $(printf 'x%s' "$TOKEN" | base64 -w0)"
echo "base64-xx $(printf 'xx%s' "$TOKEN" | base64 -w0)"
echo "hex $(printf %s "$TOKEN" | od -An -tx1 | tr -d ' \n')"
python3 -c 'import os,json,urllib.parse as u; t=os.environ["TOKEN"]; print("url", u.quote(t, safe="")); print("json", json.dumps(t))'
printf 'split '
python3 -c 'import os,sys,time
for c in os.environ["TOKEN"]:
    sys.stdout.write(c); sys.stdout.flush(); time.sleep(0.01)'
echo
set -x
: "xtrace $TOKEN"
set +x
touch /var/tmp/canary-shown
while [ -e /var/tmp/canary-shown ]; do sleep 0.2; done
"#;

/// The names of the lines above.
const SHOWN: [&str; 9] = [
    "plain",
    "base64",
    "base64-x",
    "base64-xx",
    "hex",
    "url",
    "json",
    "split",
    "xtrace",
];

/// What stands in the place of a secret.
const MASK: &str = "***";

/// What the secret looks like in each encoding; the middles of base64 stand for all alignments.
fn forms() -> Vec<String> {
    let encoded = |pad: &str| base64(&format!("{pad}{CANARY}"));
    let middle = |text: String| text[8..text.len() - 8].to_owned();
    let hex: Vec<_> = CANARY.bytes().map(|b| format!("{b:02x}")).collect();
    vec![
        CANARY.to_owned(),
        middle(encoded("")),
        middle(encoded("x")),
        middle(encoded("xx")),
        hex.concat(),
        "c4nary%22Wert%2F%2B%26zwitschert%3D9182".to_owned(),
        r#"c4nary\"Wert/+&zwitschert=9182"#.to_owned(),
    ]
}

fn base64(text: &str) -> String {
    let encoded = serde_json::to_value(ByteString(text.as_bytes().to_vec()));
    let encoded = encoded.expect("bytes are JSON");
    encoded.as_str().expect("base64 is text").to_owned()
}

fn holds(bytes: &[u8], form: &str) -> bool {
    bytes.windows(form.len()).any(|w| w == form.as_bytes())
}

fn assert_clean(what: &str, bytes: &[u8]) {
    for form in forms() {
        assert!(!holds(bytes, &form), "{what} holds {form}");
    }
}

#[tokio::test]
async fn a_sensitive_value_is_found_nowhere() {
    let stage = Stage::set("canary").await;
    stage.hosts_seen().await;
    let before = etcd::revision();
    stage.secret("token", "Opaque", &[("value", CANARY)]).await;
    let job = json!({"targets": {"hosts": {"names": ["vm1"]}}, "parameters": [{"name": "token", "sensitive": true}],
        "steps": [{"name": "show", "inline": {"content": SCRIPT, "env": {"TOKEN": "{{ params.token }}"}}}]});
    let run = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "JobRun", "metadata": {"name": "canary"},
        "spec": {"job": job, "secretParameters": {"token": {"name": "token", "key": "value"}}}});
    Manifest::from_json(run)
        .within(stage.name())
        .create(&stage.client)
        .await
        .expect("the run is accepted");
    let vm1 = Guest("vm1");
    eventually("the script's output", PATIENCE, || async {
        vm1.output("test -e /var/tmp/canary-shown")
            .status
            .success()
            .then_some(())
    })
    .await;
    assert_clean(
        "process arguments on the host",
        vm1.sh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
            .as_bytes(),
    );
    // While it runs the journal is there; once records have the result, the host forgets it.
    let journal = vm1.sh("find /var/lib/pilothouse/journal -type f -exec cat {} +");
    assert!(journal.contains("plain ***"), "the journal keeps output");
    assert_clean("the journal on the host", journal.as_bytes());
    vm1.sh("rm /var/tmp/canary-shown");
    let ended = stage.ends("canary").await;
    assert_eq!(
        ended.status.as_ref().and_then(|s| s.summary.as_deref()),
        Some("Succeeded")
    );
    let log = stage.log("canary", "show", "vm1").await;
    assert_clean("the log", &log);
    assert_shown(&String::from_utf8_lossy(&log));
    assert_clean(
        "the rows",
        json!(stage.executions("canary").await)
            .to_string()
            .as_bytes(),
    );
    assert_clean_logs(&stage).await;
    assert_clean_records();
    let until = etcd::revision();
    assert_clean_etcd(&stage, before, until);
}

/// A form that was never printed would be found nowhere as well.
fn assert_shown(log: &str) {
    for name in SHOWN {
        let line = log.lines().find(|line| {
            let words = line.trim_start_matches(['+', ' ', ':', '\'']);
            words
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' '))
        });
        let masked = line.is_some_and(|line| line.contains(MASK));
        assert!(masked, "{name} was not printed or is not masked:\n{log}");
    }
}

async fn assert_clean_logs(stage: &Stage) {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), "pilothouse-system");
    let there = pods.list(&ListParams::default()).await;
    let mut said = 0;
    for pod in there.expect("pods are listed") {
        let name = pod.name_any();
        let log = pods.logs(&name, &LogParams::default()).await;
        let log = log.unwrap_or_else(|error| panic!("no log of {name}: {error}"));
        assert_clean(&name, log.as_bytes());
        said += log.len();
    }
    assert!(
        said > 0,
        "the leader has something to say, if not its standby"
    );
}

/// Records on the volume of their node.
fn assert_clean_records() {
    let records = Guest("node1").sh("find /var/lib/pilothouse-pv -type f -exec cat {} +");
    assert!(!records.is_empty(), "records live on node1");
    assert_clean("records on disk", records.as_bytes());
}

/// Every version of every key that was written since before the Secret, but for the Secret itself.
fn assert_clean_etcd(stage: &Stage, before: u64, until: u64) {
    let secret = format!("/registry/secrets/{}/token", stage.name());
    let written = etcd::written(before, until);
    let (secrets, others): (Vec<_>, Vec<_>) = written.iter().partition(|w| w.key == secret);
    let kept = secrets.iter().any(|w| holds(&w.value, CANARY));
    assert!(
        kept,
        "the Secret is where the value may be, and would be seen"
    );
    for kind in ["jobruns", "controllerrevisions", "leases"] {
        let seen = others.iter().any(|w| w.key.contains(kind));
        assert!(seen, "{kind} are among what was looked through");
    }
    for Written { key, value } in others {
        assert_clean(key, value);
    }
}
