//! Story: a run of 200 targets stays small in etcd.

use std::collections::BTreeMap;

use crds::v1alpha1::Host;
use e2e::{
    Manifest, Stage,
    etcd::{self, Written},
    eventually,
    stage::PATIENCE,
};
use kube::{Api, api::ListParams};
use serde_json::json;

/// What etcd wrote for a namespace between two revisions, every version of every key; etcd's own figure of its size also has the hosts' looks, leases and other namespaces in it.
fn growth(namespace: &str, after: u64, until: u64) -> usize {
    let of_the_run =
        |key: &str| key.contains(&format!("/{namespace}/")) && !key.contains("/hosts/");
    let mut sizes: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for Written { key, value } in etcd::written(after, until) {
        if of_the_run(&key) {
            let bytes = key.len() + value.len();
            let (versions, sum) = sizes.entry(key).or_default();
            (*versions, *sum) = (*versions + 1, *sum + bytes);
        }
    }
    for (key, (versions, sum)) in &sizes {
        println!("{key}: {versions} versions, {sum} bytes");
    }
    for kind in ["jobruns", "controllerrevisions"] {
        assert!(
            sizes.keys().any(|key| key.contains(kind)),
            "{kind} are kept in etcd"
        );
    }
    sizes.values().map(|(_, sum)| sum).sum()
}

#[tokio::test]
async fn a_run_of_two_hundred_targets_is_small() {
    let stage = Stage::set("footprint").await;
    for i in 0..200 {
        let host = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "Host", "metadata": {"name": format!("web-{i:03}"), "labels": {"app": "web"}},
            "spec": {"type": "VirtualMachine", "address": format!("127.8.0.{i}"), "credentialsRef": {"name": "fleet-key"}, "hostKeyPolicy": "TrustOnFirstUse"}});
        Manifest::from_json(host)
            .within(stage.name())
            .create(&stage.client)
            .await
            .expect("a host is accepted");
    }
    // What is told of hosts that do not answer is not the run's.
    let hosts: Api<Host> = Api::namespaced(stage.client.clone(), stage.name());
    eventually("a look at every host", PATIENCE, || async {
        let all = hosts.list(&ListParams::default()).await.ok()?;
        let tried = |host: &&Host| host.status.as_ref().is_some_and(|s| s.last_tried.is_some());
        (all.items.iter().filter(tried).count() == 202).then_some(())
    })
    .await;
    let job = "targets: {hosts: {selector: {matchLabels: {app: web}}}}\nstrategy: {maxFailures: 100%, maxParallel: 200}\nsteps: [{name: a, deliveryTimeout: 1s, inline: {content: 'true'}}]";
    let before = etcd::revision();
    stage.run("wide", job).await;
    let ended = stage.ends("wide").await;
    let after = etcd::revision();
    let status = ended.status.clone().expect("status");
    assert_eq!(
        status.targets.map(|t| (t.total, t.failed)),
        Some((200, 200))
    );
    let size = serde_json::to_vec(&ended).expect("data").len();
    assert!(size < 64 << 10, "the object has {size} bytes");
    let growth = growth(stage.name(), before, after);
    println!("the object has {size} bytes, etcd grew by {growth}");
    assert!(growth < 100 << 10, "etcd grew by {growth} bytes");
    assert_eq!(stage.executions("wide").await.len(), 200);
}
