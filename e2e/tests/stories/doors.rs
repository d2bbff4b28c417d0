//! Story: somebody knocks at the doors of the records themselves, past the API server, and says to be somebody else.

use e2e::{
    Guest, Manifest, Stage, eventually, refused, rights,
    stage::{PATIENCE, SYSTEM},
};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::json;

const RECORDS: &str = "/apis/records.pilothouse.dev/v1alpha1";
const INGEST: &str = "/ingest/v1/batches";
const DECISIONS: &str = "/ingest/v1/decisions";

/// Says the code of the answer to a request with these words for `wget`.
const KNOCK: &str = r#"
forged="--header X-Remote-User:system:admin --header X-Remote-Group:system:masters"
knock() { busybox wget --no-check-certificate -S -O /dev/null "$@" 2>&1 | sed -n 's|.*HTTP/1.1 \([0-9]*\).*|\1|p' | head -n 1; }
"#;

/// A token of an ordinary account for an audience.
async fn token(stage: &Stage, audiences: &[&str]) -> String {
    token_of(stage, (stage.name(), "pilothouse-runner"), audiences).await
}

/// A token that is bound to no pod.
async fn token_of(stage: &Stage, (namespace, name): (&str, &str), audiences: &[&str]) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), namespace);
    let request = json!({"spec": {"audiences": audiences, "expirationSeconds": 600}});
    let request: TokenRequest = serde_json::from_value(request).expect("a literal request");
    let how = PostParams::default();
    let made = accounts.create_token_request(name, &how, &request);
    let made = made.await.expect("an administrator makes tokens");
    made.status.expect("it was made").token
}

/// Addresses of the pods of a component.
async fn addresses(stage: &Stage, component: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), SYSTEM);
    let ours = format!("app.kubernetes.io/component={component}");
    let found = eventually("the pods", PATIENCE, || async {
        let all = pods.list(&ListParams::default().labels(&ours)).await.ok()?;
        let found: Vec<_> = all.into_iter().filter_map(|p| p.status?.pod_ip).collect();
        (!found.is_empty()).then_some(found)
    });
    found.await
}

/// Knocks and the answers that they shall have: at every front and at the store, with forged headers, by nobody and by an ordinary account.
async fn knocks(stage: &Stage) -> Vec<(String, &'static str)> {
    let (ordinary, records) = (
        token(stage, &[]).await,
        token(stage, &["pilothouse-records"]).await,
    );
    let bearer = |token: &str| format!("--header 'Authorization: Bearer {token}'");
    let own = format!("{RECORDS}/namespaces/{}/executions", stage.name());
    let mut all = Vec::new();
    for front in addresses(stage, "front").await {
        let mut at = |who: &str, path: &str, code| {
            all.push((format!("$forged {who} https://{front}:6443{path}"), code));
        };
        at("", &format!("{RECORDS}/executions"), "401");
        at(&bearer("forged"), &format!("{RECORDS}/executions"), "401");
        at(&bearer(&records), &own, "401");
        // The token says who asks, and the headers nothing.
        at(&bearer(&ordinary), &format!("{RECORDS}/executions"), "403");
        at(&bearer(&ordinary), &own, "200");
        at(
            &format!("{} --post-data {{}}", bearer(&ordinary)),
            INGEST,
            "404",
        );
    }
    // Of no pod, so that nobody knows which replica tells.
    let of_webhooks = (SYSTEM, "pilothouse-webhook");
    let unbound = token_of(stage, of_webhooks, &["pilothouse-records"]).await;
    for store in addresses(stage, "server").await {
        for who in [
            String::new(),
            bearer("forged"),
            bearer(&ordinary),
            bearer(&records),
            bearer(&unbound),
        ] {
            for path in [
                own.as_str(),
                &format!("--post-data {{}} {INGEST}"),
                &format!("--post-data {{}} {DECISIONS}"),
            ] {
                let (post, path) = path.rsplit_once(' ').unwrap_or(("", path));
                all.push((
                    format!("$forged {who} {post} https://{store}:7443{path}"),
                    "401",
                ));
            }
        }
    }
    all
}

/// Runs a script on this node in the network of a pod of the namespace.
async fn from_a_pod(stage: &Stage, script: &str) -> String {
    let pod = stage.shell("stranger").await;
    let node = match pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) {
        Some("node1") => Guest("node1"),
        _ => Guest("node2"),
    };
    // The name of the control group spells the UID with dashes or underscores, depending on the driver.
    let uid = pod.uid().expect("a pod has a UID").replace('-', ".");
    node.sh(&format!(
        "p=$(grep -l {uid} /proc/[0-9]*/cgroup | head -n 1 | cut -d / -f 3)
nsenter --net --target $p sh <<'END'
{script}
END
"
    ))
}

#[tokio::test]
async fn forged_headers_open_no_door() {
    let stage = Stage::set("doors").await;
    let account = format!("system:serviceaccount:{}:pilothouse-runner", stage.name());
    let viewer = json!({"kind": "ClusterRole", "name": "pilothouse-viewer"});
    rights::bind(&stage.client, stage.name(), &account, &viewer).await;
    let as_account = stage.cluster.as_account(stage.name(), "pilothouse-runner");
    rights::hold(&as_account, stage.name(), ("list", "jobruns"), None, true).await;

    let knocks = knocks(&stage).await;
    let lines: Vec<_> = knocks
        .iter()
        .map(|(words, _)| format!("knock {words}\n"))
        .collect();
    let script = format!("{KNOCK}{}", lines.concat());
    for (whence, codes) in [
        ("a pod", from_a_pod(&stage, &script).await),
        ("a node", Guest("node1").sh(&script)),
        ("a host", Guest("vm1").sh(&script)),
    ] {
        let codes: Vec<_> = codes.lines().collect();
        let wanted: Vec<_> = knocks.iter().map(|(_, code)| *code).collect();
        assert_eq!(codes, wanted, "from {whence}: {lines:#?}");
    }
}

#[tokio::test]
async fn nobody_writes_records_by_way_of_the_api_server() {
    let stage = Stage::set("writes").await;
    let execution = json!({"apiVersion": "records.pilothouse.dev/v1alpha1", "kind": "Execution", "metadata": {"name": "made-up"}});
    let execution = Manifest::from_json(execution).within(stage.name());
    let answer = execution.create(&stage.client).await;
    refused(answer, &["only get, list and watch are served here"]);
    let store =
        format!("/api/v1/namespaces/{SYSTEM}/services/https:pilothouse-store:store/proxy{INGEST}");
    let request = http::Request::post(store)
        .header("X-Remote-User", "system:admin")
        .header("X-Remote-Group", "system:masters")
        .body(b"{}".to_vec())
        .expect("a request");
    let answer = stage.client.request_text(request).await;
    let error = answer.expect_err("the store takes it from nobody");
    assert!(error.to_string().contains("not authenticated"), "{error}");
}
