//! Story: the store of records is gone for a while. The rest of the cluster does not notice, runs wait and say so, and nothing is lost.

use std::time::Duration;

use e2e::{
    Cluster, Stage, TestNamespace, eventually,
    stage::{PATIENCE, state},
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
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
        scale(&stage.client, 0).await;
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

async fn scale(client: &Client, replicas: i32) {
    let stores: Api<StatefulSet> = Api::namespaced(client.clone(), SYSTEM);
    let wanted = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let scaled = stores
        .patch("pilothouse-server", &PatchParams::default(), &wanted)
        .await;
    scaled.expect("an administrator scales");
}

impl Drop for Away {
    /// On a thread and a runtime of its own, with a connection of its own, because the test's runtime cannot be waited on from here.
    fn drop(&mut self) {
        let cluster = self.0.clone();
        let back = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async { scale(&cluster.client(), 1).await });
        });
        if back.join().is_err() {
            eprintln!("the store is left away");
        }
    }
}

#[tokio::test]
async fn the_cluster_does_not_notice_and_runs_wait() {
    let stage = Stage::set("away").await;
    stage.hosts_seen().await;
    let away = Away::sent(&stage).await;

    let unrelated = TestNamespace::create(&stage.cluster, "unrelated").await;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let removed = namespaces
        .delete(unrelated.name(), &DeleteParams::default())
        .await;
    removed.expect("an administrator deletes");
    eventually("end of an unrelated namespace", GONE, || async {
        let left = namespaces.get_opt(unrelated.name()).await.ok()?;
        left.is_none().then_some(())
    })
    .await;

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
