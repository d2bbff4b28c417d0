//! Story: the node that carries the acting leader is drained and rebooted by a run. The leader goes with its node, another one takes the run up, and each step has happened once.

use crds::v1alpha1::Host;
use e2e::{
    Part, Stage, eventually,
    nodes::{Drains, node_of},
    stage::{PATIENCE, SYSTEM},
    wait_for,
};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};

/// Name of the operator's pod that leads.
async fn leader(stage: &Stage) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), SYSTEM);
    let lease = leases.get("pilothouse-operator").await.ok()?;
    lease
        .spec?
        .holder_identity
        .filter(|holder| !holder.is_empty())
}

/// Has the leader be on another node than the records, whose volume cannot move. Then: the leader, and its node.
async fn leader_apart(stage: &Stage) -> (String, String) {
    let records = node_of(stage, "server", None)
        .await
        .expect("the store is on a node");
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), SYSTEM);
    eventually(
        "a leader on another node than the records",
        PATIENCE,
        || async {
            let leader = leader(stage).await?;
            let node = node_of(stage, "operator", Some(&leader)).await?;
            if node != records {
                return Some((leader, node));
            }
            let all = pods.list(&ListParams::default()).await.ok()?;
            let pod = all
                .into_iter()
                .find(|pod| leader.starts_with(&pod.name_any()))?;
            let _ = pods.delete(&pod.name_any(), &DeleteParams::default()).await;
            None
        },
    )
    .await
}

#[tokio::test]
async fn the_node_of_the_leader_is_drained_and_rebooted_and_the_run_ends_right() {
    let stage = Stage::set("drains").await;
    let _drains = Drains::allowed(&stage).await;
    let (before, node) = leader_apart(&stage).await;
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let boot = |node: &Node| {
        node.status
            .as_ref()?
            .node_info
            .as_ref()
            .map(|info| info.boot_id.clone())
    };
    let found = nodes.get(&node).await.expect("it is there");
    let first = boot(&found);
    let address = found.status.and_then(|status| {
        let mut all = status.addresses?.into_iter();
        all.find(|address| address.type_ == "InternalIP")
            .map(|address| address.address)
    });
    let address = address.expect("a node has an address");
    stage
        .apply(&format!("apiVersion: pilothouse.dev/v1alpha1\nkind: Host\nmetadata: {{name: machine}}\nspec: {{type: VirtualMachine, address: {address}, nodeName: {node}, credentialsRef: {{name: fleet-key}}, hostKeyPolicy: TrustOnFirstUse}}"))
        .await;
    stage.reachable("machine").await;
    let job = "
targets: {hosts: {names: [machine]}}
steps:
- {name: empty, action: {drain: {force: true, deleteEmptyDirData: true, gracePeriod: 5s}}, timeout: 3m}
- {name: again, needs: [empty], action: {reboot: {}}, timeout: 3m}
- {name: back, needs: [again], runOn: Always, action: {uncordon: {}}}
- {name: ready, needs: [back], targets: {none: {}}, wait: {object: {apiVersion: v1, kind: Node, name: NODE}, until: \"object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')\"}, timeout: 3m}";
    stage.run("night", &job.replace("NODE", &node)).await;
    // A guest that reboots ends, and is started again as a machine would by itself.
    let guest = if node == "node1" {
        Part("guest-node1")
    } else {
        Part("guest-node2")
    };
    guest.ended(PATIENCE).await;
    Part::all_started();
    let status = stage.ends("night").await.status.expect("status");
    let rows = stage.executions("night").await;
    assert_eq!(
        status.summary.as_deref(),
        Some("Succeeded"),
        "{status:#?}\n{rows:#?}"
    );
    assert_eq!(rows.len(), 4, "each once: {rows:#?}");
    assert!(
        rows.iter().all(|row| row["state"] == "Succeeded"),
        "{rows:#?}"
    );
    assert_ne!(leader(&stage).await, Some(before), "it went with its node");
    let other = |node: Option<&Node>| {
        node.is_some_and(|node| {
            boot(node) != first
                && node
                    .spec
                    .as_ref()
                    .is_some_and(|s| s.unschedulable != Some(true))
        })
    };
    wait_for(
        nodes,
        &node,
        "another boot, and open to pods",
        PATIENCE,
        other,
    )
    .await;
    let gone = DeleteParams::default();
    let _ = Api::<Host>::namespaced(stage.client.clone(), stage.name())
        .delete("machine", &gone)
        .await;
}
