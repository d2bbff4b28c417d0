//! Story: Pilothouse is taken out of the cluster while it works. What ran is ended, and nothing of it holds up a deletion. Runs last, since the others need it.

use std::{process::Command, time::Duration};

use e2e::{
    Guest, Stage, Terminal,
    cluster::kubeconfig_path,
    eventually,
    stage::{PATIENCE, state_folder},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};

/// A namespace is gone, with all that is in it, well within this.
const GONE: Duration = Duration::from_mins(1);

const GOING: &str = "
targets: {hosts: {names: [vm1]}}
steps: [{name: a, timeout: 2h, inline: {content: 'sleep 6177'}}]";
const IN_A_POD: &str = "
steps: [{name: a, timeout: 2h, pod: {image: 'local/busybox:1', command: [sleep, '6177']}}]";

async fn of_the_cluster(client: &Client, group: &str, kind: &str) -> Vec<String> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let all = api.list(&ListParams::default()).await;
    let names = all.expect("an administrator lists").into_iter();
    names
        .map(|object| object.name_any())
        .filter(|name| name.contains("pilothouse"))
        .collect()
}

#[tokio::test]
async fn what_runs_is_ended_and_nothing_is_stuck() {
    let stage = Stage::set("uninstall").await;
    stage.hosts_seen().await;
    stage.run("going", GOING).await;
    stage.run("in-a-pod", IN_A_POD).await;
    for run in ["going", "in-a-pod"] {
        eventually("a start", PATIENCE, || async {
            (!stage.executions(run).await.is_empty()).then_some(())
        })
        .await;
    }
    let terminal = Terminal::of_the_administrator(stage.name());
    let said = terminal.pilothouse(&["uninstall"]).await;
    assert!(said.out.contains("runs that have not ended"), "{said:#?}");
    let said = terminal.pilothouse(&["uninstall", "--yes"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    for run in ["going", "in-a-pod"] {
        let run = stage.runs().get(run).await.expect("kinds are kept");
        assert!(run.finalizers().is_empty(), "{run:#?}");
        let summary = run.status.and_then(|status| status.summary);
        assert_eq!(summary.as_deref(), Some("Cancelled"));
    }
    Guest("vm1").sh("! pgrep -f 'sleep 617[7]'");
    helm_uninstall();
    for (group, kind) in [
        ("apiregistration.k8s.io", "APIService"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
    ] {
        let mut left = of_the_cluster(&stage.client, group, kind).await;
        // The group of the kinds themselves stays with them.
        left.retain(|name| name != "v1alpha1.pilothouse.dev");
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
    stage.namespace.removed(GONE).await;
    let pods: Api<Pod> = Api::all(stage.client.clone());
    let ours = ListParams::default().labels("pilothouse.dev/run-uid");
    let left = pods.list(&ours).await.expect("an administrator lists");
    assert!(left.items.is_empty(), "{left:#?}");
}

fn helm_uninstall() {
    let helm = Command::new(state_folder().join("bin/helm"))
        .args([
            "uninstall",
            "pilothouse",
            "--namespace",
            "pilothouse-system",
        ])
        .args(["--wait", "--timeout", "3m", "--kubeconfig"])
        .arg(kubeconfig_path())
        .output()
        .expect("helm starts");
    assert!(
        helm.status.success(),
        "{}",
        String::from_utf8_lossy(&helm.stderr)
    );
}
