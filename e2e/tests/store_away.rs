//! Story: the store of records is gone for a while. The rest of the cluster does not notice, runs wait and say so, and nothing is lost.

use std::time::Duration;

use e2e::{
    Cluster, Stage, TestNamespace, eventually,
    stage::{PATIENCE, state},
};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

const SYSTEM: &str = "pilothouse-system";
/// An unrelated namespace is gone well within this, store or no store.
const GONE: Duration = Duration::from_secs(30);

/// The store, away until this is dropped.
struct Away(Cluster);

impl Away {
    async fn sent(stage: &Stage) -> Self {
        let away = Self(stage.cluster.clone());
        let gone = scale(stage.client.clone(), 0).await;
        gone.expect("an administrator scales");
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), SYSTEM);
        let stores = ListParams::default().labels("app.kubernetes.io/component=server");
        eventually("end of the store", PATIENCE, || async {
            let left = pods.list(&stores).await.ok()?;
            left.items.is_empty().then_some(())
        })
        .await;
        away
    }
}

async fn scale(client: Client, replicas: i32) -> kube::Result<()> {
    let stores: Api<StatefulSet> = Api::namespaced(client, SYSTEM);
    let wanted = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let params = PatchParams::default();
    let scaled = stores.patch("pilothouse-server", &params, &wanted).await;
    scaled.map(drop)
}

impl Drop for Away {
    fn drop(&mut self) {
        let back = |client| scale(client, 1);
        self.0.finally("the store's return", back);
    }
}

#[tokio::test]
async fn the_cluster_does_not_notice_and_runs_wait() {
    let stage = Stage::set("away").await;
    stage.hosts_seen().await;
    let away = Away::sent(&stage).await;

    let unrelated = TestNamespace::create(&stage.cluster, "unrelated").await;
    unrelated.removed(GONE).await;

    let groups = stage
        .client
        .list_api_group_resources("records.pilothouse.dev/v1alpha1");
    let served = groups.await.expect("what is served is told by a front");
    assert_eq!(served.resources[0].name, "executions");

    let job = "targets: {hosts: {names: [vm1]}}\nsteps: [{name: a, inline: {content: echo done}}]";
    stage.run("patient", job).await;
    stage.waits("patient", "WaitingForRecords").await;
    drop(away);
    let ended = stage.ends("patient").await.status.expect("status");
    assert_eq!(ended.summary.as_deref(), Some("Succeeded"), "{ended:#?}");
    let rows = stage.executions("patient").await;
    assert_eq!(state(&rows, "a", "vm1"), "Succeeded");
    assert_eq!(stage.log("patient", "a", "vm1").await, b"done\n");
}
