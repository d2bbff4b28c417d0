//! Hosts are used by those who may, and credentials go where they say.

use e2e::{People, accepted, refused};
use serde_json::{Value, json};

use super::{API, host, job, writer};

fn secret(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "pilothouse.dev/ssh", "stringData": data})
}

#[tokio::test]
async fn a_node_and_a_jump_host_take_the_right_to_use_them() {
    let scene = People::new("node").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("use", "hosts"))
        .await;
    let rules = json!([writer(), {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}]);
    let writer = scene
        .person_with("bob", rules, ("impersonate", "serviceaccounts"), None)
        .await;

    refused(
        scene
            .write(host(&json!({"nodeName": "node1"})))
            .try_create(&alice)
            .await,
        &["Rule pilothouse-account", "may not use node 'node1'"],
    );
    accepted(
        scene
            .write(host(&json!({"nodeName": "node1"})))
            .try_create(&scene.cluster.client())
            .await,
    );
    let jump = json!({"jumpHostRef": {"name": "gate"}});
    refused(
        scene.write(host(&jump)).try_create(&writer).await,
        &["Rule pilothouse-account", "may not use host 'gate'"],
    );
    accepted(scene.write(host(&jump)).try_create(&alice).await);
}

#[tokio::test]
async fn work_is_written_only_for_hosts_that_its_writer_may_use() {
    let scene = People::new("use").await;
    let of_two = json!([writer(), {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "resourceNames": ["a", "b"], "verbs": ["use"]}]);
    let bob = scene
        .person_with("bob", of_two, ("use", "hosts"), Some("a"))
        .await;

    accepted(
        scene
            .write(job(&json!({"names": ["a"]}), &json!({"names": ["b", "a"]})))
            .try_create(&bob)
            .await,
    );
    let of_one = ["Rule pilothouse-use-hosts", "may not use host 'c'"];
    refused(
        scene
            .write(job(&json!({"names": ["a", "c"]}), &Value::Null))
            .try_create(&bob)
            .await,
        &of_one,
    );
    refused(
        scene
            .write(job(&json!({"names": ["a"]}), &json!({"names": ["c"]})))
            .try_create(&bob)
            .await,
        &of_one,
    );

    let mut inline = json!({"apiVersion": API, "kind": "JobRun", "metadata": {"name": "run"}, "spec": {"job": {
        "targets": {"hosts": {"names": ["a"]}}, "steps": [{"name": "one", "inline": {"content": "true"}}]}}});
    accepted(scene.write(inline.clone()).try_create(&bob).await);
    inline["spec"]["job"]["targets"]["hosts"]["names"] = json!(["c"]);
    refused(scene.write(inline).try_create(&bob).await, &of_one);
}

#[tokio::test]
async fn a_selector_and_many_hosts_take_the_right_to_use_every_host() {
    let scene = People::new("every").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("use", "hosts"))
        .await;
    let one = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "resourceNames": ["a"], "verbs": ["use"]}]);
    let bob = scene
        .person_with("bob", one, ("use", "hosts"), Some("a"))
        .await;

    let selector = json!({"selector": {"matchLabels": {"app": "shop"}}});
    refused(
        scene
            .write(job(&selector, &Value::Null))
            .try_create(&bob)
            .await,
        &["Rule pilothouse-use-hosts", "a selector may pick any"],
    );
    accepted(
        scene
            .write(job(&selector, &Value::Null))
            .try_create(&alice)
            .await,
    );

    let many: Vec<_> = (0..2000).map(|i| format!("host-{i}")).collect();
    let many = json!({"names": many});
    refused(
        scene.write(job(&many, &many)).try_create(&bob).await,
        &["Rule pilothouse-use-hosts", "4000 are named"],
    );
    accepted(scene.write(job(&many, &many)).try_create(&alice).await);
}

#[tokio::test]
async fn ssh_credentials_name_where_they_may_go() {
    let scene = People::new("secret").await;
    let administrator = scene.cluster.client();
    accepted(
        scene
            .write(secret(
                &json!({"addresses": "192.0.2.0/24", "ssh-privatekey": "key"}),
            ))
            .try_create(&administrator)
            .await,
    );
    accepted(
        scene
            .write(secret(
                &json!({"addresses": "192.0.2.1", "password": "pass"}),
            ))
            .try_create(&administrator)
            .await,
    );
    let needs = |what: &'static str| ["Rule pilothouse-ssh-secret", what];
    refused(
        scene
            .write(secret(&json!({"ssh-privatekey": "key"})))
            .try_create(&administrator)
            .await,
        &needs("needs the key addresses"),
    );
    refused(
        scene
            .write(secret(&json!({"addresses": "", "password": "pass"})))
            .try_create(&administrator)
            .await,
        &needs("needs the key addresses"),
    );
    refused(
        scene
            .write(secret(&json!({"addresses": "192.0.2.1"})))
            .try_create(&administrator)
            .await,
        &needs("ssh-privatekey or password"),
    );
    let opaque = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"}, "stringData": {"anything": "goes"}});
    accepted(scene.write(opaque).try_create(&administrator).await);
}
