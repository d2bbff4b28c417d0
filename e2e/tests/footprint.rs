//! Story: a run of 200 targets stays small in etcd.

use e2e::{Manifest, Stage};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, api::ListParams};
use serde_json::json;

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
    let job = "targets: {hosts: {selector: {matchLabels: {app: web}}}}\nstrategy: {maxFailures: 100%, maxParallel: 200}\nsteps: [{name: a, deliveryTimeout: 1s, inline: {content: 'true'}}]";
    stage.run("wide", job).await;
    let (mut written, mut version) = (0, String::new());
    let ended = loop {
        let run = stage.runs().get("wide").await.expect("the run is there");
        let now = run.metadata.resource_version.clone().unwrap_or_default();
        if now != version {
            written += serde_json::to_vec(&run).expect("data").len();
            version = now;
        }
        if run.is_finished() {
            break run;
        }
        tokio::task::yield_now().await;
    };
    let status = ended.status.clone().expect("status");
    assert_eq!(
        status.targets.map(|t| (t.total, t.failed)),
        Some((200, 200))
    );
    let size = serde_json::to_vec(&ended).expect("data").len();
    assert!(size < 64 << 10, "the object has {size} bytes");
    let revisions: Api<ControllerRevision> = Api::namespaced(stage.client.clone(), stage.name());
    let plans = revisions
        .list(&ListParams::default())
        .await
        .expect("revisions are listed");
    let plan: usize = plans
        .items
        .iter()
        .map(|r| serde_json::to_vec(r).expect("data").len())
        .sum();
    println!("object {size} bytes, plan {plan} bytes, all versions of the object {written} bytes");
    assert!(
        plan + written < 100 << 10,
        "the run wrote {} bytes",
        plan + written
    );
    assert_eq!(stage.executions("wide").await.len(), 200);
}
