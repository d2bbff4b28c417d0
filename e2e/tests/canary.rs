//! Story: a secret that a script shows in every way it can is found nowhere but in its Secret.

use std::{fs, path::Path};

use e2e::{
    Guest, Manifest, Stage, eventually,
    stage::{PATIENCE, state_folder},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, LogParams},
};
use serde_json::json;

const CANARY: &str = r#"c4nary"Wert/+&zwitschert=9182"#;

const SCRIPT: &str = r#"
echo "plain $TOKEN"
printf %s "$TOKEN" | base64
printf 'x%s' "$TOKEN" | base64 -w0; echo
printf %s "$TOKEN" | od -An -tx1 | tr -d ' \n'; echo
python3 -c 'import os,json,urllib.parse as u; t=os.environ["TOKEN"]; print(u.quote(t, safe="")); print(json.dumps(t))'
python3 -c 'import os,sys,time
for c in os.environ["TOKEN"]:
    sys.stdout.write(c); sys.stdout.flush(); time.sleep(0.01)'
set -x
: "$TOKEN"
set +x
touch /var/tmp/canary-shown
while [ -e /var/tmp/canary-shown ]; do sleep 0.2; done
"#;

/// What the secret looks like in each encoding; the middles of base64 stand for all alignments.
fn forms() -> Vec<String> {
    let encoded = |pad: &str| base64(&format!("{pad}{CANARY}"));
    let middle = |text: String| text[8..text.len() - 8].to_owned();
    let hex: String = CANARY.bytes().map(|b| format!("{b:02x}")).collect();
    vec![
        CANARY.to_owned(),
        middle(encoded("")),
        middle(encoded("x")),
        middle(encoded("xx")),
        hex,
        "c4nary%22Wert%2F%2B%26zwitschert%3D9182".to_owned(),
        r#"c4nary\"Wert/+&zwitschert=9182"#.to_owned(),
    ]
}

fn base64(text: &str) -> String {
    let output = std::process::Command::new("base64")
        .arg("-w0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut child = output.expect("coreutils are there");
    std::io::Write::write_all(
        &mut child.stdin.take().expect("it is piped"),
        text.as_bytes(),
    )
    .expect("base64 reads");
    String::from_utf8(child.wait_with_output().expect("base64 ends").stdout)
        .expect("base64 is text")
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
    // stringData would be kept by the field manager's last-applied data nowhere; the Secret itself is the one place where the value may be.
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
    vm1.sh("rm /var/tmp/canary-shown");
    let ended = stage.ends("canary").await;
    assert_eq!(
        ended.status.as_ref().and_then(|s| s.summary.as_deref()),
        Some("Succeeded")
    );
    let log = stage.log("canary", "show", "vm1").await;
    assert!(
        holds(&log, "plain "),
        "the rest of the output is there: {}",
        String::from_utf8_lossy(&log)
    );
    assert_clean("the log", &log);
    assert_clean(
        "the journal on the host",
        vm1.sh("find /var/lib/pilothouse/journal -type f -exec cat {} +")
            .as_bytes(),
    );
    assert_clean(
        "the rows",
        json!(stage.executions("canary").await)
            .to_string()
            .as_bytes(),
    );
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), "pilothouse-system");
    for pod in pods
        .list(&ListParams::default())
        .await
        .expect("pods are listed")
    {
        let log = pods
            .logs(&pod.name_any(), &LogParams::default())
            .await
            .unwrap_or_default();
        assert_clean("the logs of the operator and the server", log.as_bytes());
    }
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(stage.client.clone(), stage.name());
    let everything = [
        "/api/v1/namespaces/NS/events",
        "/apis/events.k8s.io/v1/namespaces/NS/events",
        "/apis/pilothouse.dev/v1alpha1/namespaces/NS/jobruns",
        "/apis/apps/v1/namespaces/NS/controllerrevisions",
    ];
    for path in everything {
        let request = http::Request::get(path.replace("NS", stage.name()))
            .body(Vec::new())
            .expect("a literal path");
        assert_clean(
            path,
            stage
                .client
                .request_text(request)
                .await
                .expect("the API answers")
                .as_bytes(),
        );
    }
    secrets
        .delete("token", &kube::api::DeleteParams::default())
        .await
        .expect("the Secret can be removed");
    assert_clean_files(&state_folder());
}

/// Records on the node's volume, and etcd but for the Secret's own revisions: the value in etcd is base64 of JSON nowhere, since Secrets are stored as protobuf in plain.
fn assert_clean_files(state: &Path) {
    let records = Guest("node1")
        .output("find /var/lib/pilothouse-pv -type f -exec cat {} +")
        .stdout;
    assert!(!records.is_empty(), "records live on node1");
    assert_clean("records on disk", &records);
    let mut found = 0;
    for entry in walk(&state.join("etcd")) {
        let bytes = fs::read(&entry).unwrap_or_default();
        found += bytes.len();
        for form in forms().iter().skip(1).filter(|f| !f.contains('\\')) {
            assert!(!holds(&bytes, form), "{} holds {form}", entry.display());
        }
    }
    assert!(found > 0, "etcd keeps its data in {}", state.display());
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(walk(&entry.path())),
            _ => files.push(entry.path()),
        }
    }
    files
}
