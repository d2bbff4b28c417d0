//! Story: the power goes off. A host is gone in the middle of its step, then a node with a step's pod; each effect happened once, and each run ends and says
//! what is not known.

use std::time::Duration;

use e2e::{
    Guest, Part, Replica, Stage, eventually,
    guest::HOSTS,
    stage::{PATIENCE, state},
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, Client, api::ListParams};
use tokio::sync::Mutex;

/// What befalls a machine befalls the whole cluster, so one story has it at a time.
static MACHINES: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn a_host_that_loses_power_in_mid_step_has_done_it_once_and_its_end_is_unknown() {
    let _alone = MACHINES.lock().await;
    let stage = Stage::set("power").await;
    stage.hosts_seen().await;
    let run = stage.name().to_owned();
    let job = format!(
        "targets: {{hosts: {{names: [vm1, pm1]}}}}
steps:
- {{name: once, timeout: 1m, retries: 2, inline: {{content: 'echo once >> /var/tmp/{run}; sync; sleep 15; echo done'}}}}"
    );
    stage.run(&run, &job).await;
    let begun = format!("cat /var/tmp/{run} 2>/dev/null; true");
    for host in HOSTS {
        eventually("the effect", PATIENCE, || async {
            host.sh(&begun).contains("once").then_some(())
        })
        .await;
    }
    Part("guest-vm1").cut_off().await;
    Part::all_started();
    let status = stage.ends(&run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Failed"), "{status:#?}");
    let rows = stage.executions(&run).await;
    assert_eq!(
        rows.len(),
        HOSTS.len(),
        "not known is not repeated: {rows:#?}"
    );
    assert_eq!(state(&rows, "once", "vm1"), "Unknown");
    assert_eq!(state(&rows, "once", "pm1"), "Succeeded");
    for host in HOSTS {
        assert_eq!(host.sh(&begun), "once\n", "{}", host.0);
    }
}

#[tokio::test]
async fn a_node_that_loses_power_under_a_steps_pod_ends_its_run_and_nothing_is_repeated() {
    let _alone = MACHINES.lock().await;
    let stage = Stage::set("node").await;
    let job = "
steps:
- {name: long, timeout: 2m, retries: 2, pod: {image: 'local/busybox:1', command: [/bin/sh, -c, 'echo begun; sleep 60; echo done']}}";
    stage.run("in-a-pod", job).await;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), stage.name());
    let node = eventually("the step's pod", PATIENCE, || async {
        let pod = pods.list(&ListParams::default()).await.ok()?.items.pop()?;
        let runs = pod.status.as_ref()?.phase.as_deref() == Some("Running");
        pod.spec?.node_name.filter(|_| runs)
    })
    .await;
    let node = match node.as_str() {
        "node1" => Part("guest-node1"),
        _ => Part("guest-node2"),
    };
    node.cut_off().await;
    Part::all_started();
    let status = stage.ends("in-a-pod").await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Failed"), "{status:#?}");
    let rows = stage.executions("in-a-pod").await;
    assert_eq!(rows.len(), 1, "not known is not repeated: {rows:#?}");
    all_is_well(&stage.client).await;
}

/// Waits until the other stories find what they need.
async fn all_is_well(client: &Client) {
    let deployments: Api<Deployment> = Api::all(client.clone());
    let soon = Duration::from_mins(3);
    eventually("all deployments available", soon, || async {
        let all = deployments.list(&ListParams::default()).await.ok()?;
        let available = |deployment: &Deployment| {
            let ready = deployment
                .status
                .as_ref()
                .and_then(|s| s.available_replicas);
            deployment.spec.as_ref().and_then(|s| s.replicas) == ready
        };
        all.items.iter().all(available).then_some(())
    })
    .await;
    Replica::leader(client).await;
    Replica::store(client).await;
    Guest("vm1").sh("true");
}
