//! Story: a command in running pods, and a pod of the step's own.

use e2e::{
    Stage, eventually,
    stage::{PATIENCE, is_running, state},
    wait_for,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

const BARE: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: bare}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
  containers:
  - {name: main, image: "local/distroless:1", securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
"#;

const TOGETHER: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: together}
rules: [{apiGroups: [''], resources: [pods], verbs: [deletecollection]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: together}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: together}
subjects: [{kind: ServiceAccount, name: pilothouse-runner, namespace: NAMESPACE}]
";

#[tokio::test]
async fn exec_reports_each_pod_and_names_a_missing_shell() {
    let stage = Stage::set("pods").await;
    stage.apply(BARE).await;
    stage.shell("shell").await;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), stage.name());
    let running = |pod: Option<&Pod>| pod.is_some_and(is_running);
    wait_for(pods, "bare", "Running", PATIENCE, running).await;
    let job = r#"
targets: {pods: {names: [shell, bare]}}
strategy: {maxFailures: 100%}
steps:
- {name: hello, exec: {command: [/bin/sh, -c, "echo hello from {{ target.name }}"]}}
"#;
    stage.run("exec", job).await;
    stage.ends("exec").await;
    let rows = stage.executions("exec").await;
    assert_eq!(state(&rows, "hello", "shell"), "Succeeded");
    assert_eq!(
        String::from_utf8_lossy(&stage.log("exec", "hello", "shell").await).trim(),
        "hello from shell"
    );
    let bare = rows.iter().find(|r| r["target"] == "bare").expect("a row");
    assert_eq!(bare["reason"], "CommandNotFound", "{bare:#}");
    stage.run("code", "targets: {pods: {names: [shell]}}\nsteps: [{name: s, exec: {command: [/bin/sh, -c, exit 7]}}]").await;
    stage.ends("code").await;
    assert_eq!(stage.executions("code").await[0]["exitCode"], 7);
}

#[tokio::test]
async fn a_pod_step_runs_once_and_leaves_its_log_in_records() {
    let stage = Stage::set("pod-step").await;
    let job = r#"
steps:
- {name: work, pod: {image: "local/busybox:1", command: [/bin/sh, -c], args: ["id -u; echo $WHO"], env: {WHO: "{{ run.name }}"}}}
"#;
    stage.run("pod", job).await;
    assert_eq!(
        stage
            .ends("pod")
            .await
            .status
            .and_then(|s| s.summary)
            .as_deref(),
        Some("Succeeded")
    );
    assert_eq!(
        String::from_utf8_lossy(&stage.log("pod", "work", "").await).trim(),
        "65534\npod"
    );
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), stage.name());
    let removed = async || {
        eventually("the pod's removal", PATIENCE, || async {
            pods.list(&ListParams::default())
                .await
                .ok()?
                .items
                .is_empty()
                .then_some(())
        })
        .await;
    };
    removed().await;
    // The same in one request, where the account may.
    stage.apply(TOGETHER).await;
    stage
        .run(
            "together",
            &job.replace("name: work", "name: work, forEach: [a, b]"),
        )
        .await;
    stage.ends("together").await;
    removed().await;
    let missing = r#"
steps: [{name: work, deliveryTimeout: 20s, pod: {image: "local/nothing:1"}}]
"#;
    stage.run("missing", missing).await;
    stage.ends("missing").await;
    let rows = stage.executions("missing").await;
    assert_eq!(rows[0]["state"], "DeliveryTimedOut", "{rows:#?}");
    assert!(rows[0].to_string().contains("Image"), "{rows:#?}");
}
