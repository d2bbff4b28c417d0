//! Story: what a step can do besides scripts, and when it does. On real hosts and workloads, with the rights of the run's account and no others.

use e2e::{
    Guest, Stage, eventually,
    stage::{PATIENCE, refusal, row, state},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Pod,
};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::Value;

/// What the runner may do beyond the stage's own rights.
const WORKLOADS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: workloads}
rules:
- {apiGroups: [apps], resources: [deployments, replicasets, statefulsets, controllerrevisions], verbs: [get, list, patch]}
- {apiGroups: [apps], resources: [deployments/scale], verbs: [patch]}
- {apiGroups: [''], resources: [pods/eviction], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: workloads}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: workloads}
subjects: [{kind: ServiceAccount, name: pilothouse-runner, namespace: NAMESPACE}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 0
      containers:
      - {name: web, image: 'local/busybox:1', command: [/bin/sh, -c, 'while true; do sleep 1; done'], env: [{name: V, value: '1'}], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
";

/// A server of HTTP in what the smallest Python has. It says which token it was shown, and keeps what is posted.
const SERVER: &str = r"
import socket
door = socket.create_server(('', 18080))
while True:
    peer, _ = door.accept()
    try:
        peer.settimeout(5)
        text = b''
        while b'\r\n\r\n' not in text:
            piece = peer.recv(65536)
            if not piece: break
            text += piece
        head, _, body = text.partition(b'\r\n\r\n')
        lines = head.decode().split('\r\n')
        if len(lines[0].split()) != 3: continue
        method, path, _ = lines[0].split()
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(':') for line in lines[1:])}
        while len(body) < int(fields.get('content-length', 0)): body += peer.recv(65536)
        if method == 'POST': open('/var/tmp/18080-posts', 'ab').write(body + b'\n')
        status = '302 Found' if path == '/moved' else '200 OK'
        said = ('status UP ' + path).encode()
        seen = fields.get('x-token')
        peer.sendall(f'HTTP/1.1 {status}\r\nLocation: http://127.0.0.1/\r\nX-Seen: {seen}\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n'.encode() + said)
    except OSError: pass
    finally: peer.close()
";

async fn succeeds(stage: &Stage, run: &str) -> Vec<Value> {
    let ended = stage.ends(run).await;
    let rows = stage.executions(run).await;
    let status = ended.status.expect("status");
    assert_eq!(
        status.summary.as_deref(),
        Some("Succeeded"),
        "{status:#?}\n{rows:#?}"
    );
    rows
}

#[tokio::test]
async fn a_value_is_read_on_each_host_decided_upon_and_handed_on() {
    let stage = Stage::set("outputs").await;
    stage.hosts_seen().await;
    let job = r#"
sharing: Shared
targets: {hosts: {names: [vm1, pm1]}}
parameters: [{name: wanted, default: vm1}]
steps:
- {name: look, outputs: [{name: who, pattern: '[a-z0-9]+'}, {name: none, default: nobody}], inline: {content: 'echo "::output-0000::who=root"; echo "$PILOTHOUSE_OUTPUT who=$(hostname)"; echo after'}}
- {name: act, needs: [look], when: "outputs.who == params.wanted", inline: {content: 'echo "$WHO and $NONE"', env: {WHO: "{{ outputs.who }}", NONE: "{{ outputs.none }}"}}}
- {name: each, needs: [act], forEach: [one, "{{ params.wanted }}"], inline: {content: 'echo "item $ITEM"', env: {ITEM: "{{ item }}"}}}
- {name: once, needs: [each], targets: {none: {}}, pause: {duration: 1s}}
- {name: bad, needs: [once], continueOnFailure: true, outputs: [{name: digits, pattern: '[0-9]+'}], inline: {content: 'echo "$PILOTHOUSE_OUTPUT digits=\$(id)"'}}
"#;
    stage.run("reads", job).await;
    let rows = succeeds(&stage, "reads").await;
    assert_eq!(row(&rows, "look", "pm1")["outputs"]["who"], "pm1");
    assert_eq!(stage.log("reads", "act", "vm1").await, b"vm1 and nobody\n");
    assert!(
        !rows
            .iter()
            .any(|r| r["step"] == "act" && r["target"] == "pm1"),
        "left out: {rows:#?}"
    );
    for (step, said) in [("each.0", "item one\n"), ("each.1", "item vm1\n")] {
        assert_eq!(stage.log("reads", step, "pm1").await, said.as_bytes());
    }
    assert_eq!(state(&rows, "once", ""), "Succeeded");
    assert_eq!(row(&rows, "bad", "vm1")["reason"], "BadOutput");
}

#[tokio::test]
async fn what_failed_is_handled_where_it_failed_and_the_run_is_rolled_back() {
    let stage = Stage::set("handlers").await;
    stage.hosts_seen().await;
    let job = r#"
sharing: Shared
targets: {hosts: {names: [vm1, pm1]}}
steps:
- {name: change, inline: {content: 'test "$(hostname)" = vm1'}}
- {name: mend, needs: [change], runOn: Failure, inline: {content: 'echo mended'}}
- {name: tell, needs: [change], runOn: Always, inline: {content: 'echo told'}}
onFailure:
- {name: back, inline: {content: 'echo "$(hostname) is back"'}}
- {name: report, targets: {none: {}}, pause: {duration: 1s}}
"#;
    stage.run("fails", job).await;
    let ended = stage.ends("fails").await;
    assert_eq!(refusal(&ended).0, "StepsFailed");
    let rows = stage.executions("fails").await;
    let of = |step: &str| {
        let mut targets: Vec<_> = rows
            .iter()
            .filter(|r| r["step"] == step)
            .map(|r| r["target"].as_str().unwrap_or(""))
            .collect();
        targets.sort_unstable();
        targets
    };
    assert_eq!(of("mend"), ["pm1"], "{rows:#?}");
    assert_eq!(of("tell"), ["pm1", "vm1"]);
    assert_eq!(of("back"), ["pm1", "vm1"]);
    assert_eq!(of("report"), [""]);
    assert_eq!(stage.log("fails", "back", "pm1").await, b"pm1 is back\n");
}

#[tokio::test]
async fn a_url_is_asked_and_what_is_off_limits_is_not() {
    let stage = Stage::set("http").await;
    stage.hosts_seen().await;
    Guest("vm1").sh(&format!(
        "rm -f /var/tmp/18080-posts; cat > /var/tmp/story-http.py <<'EOF'\n{SERVER}EOF\nsystemctl stop story-http 2>/dev/null; systemd-run --quiet --collect --unit story-http python3 /var/tmp/story-http.py; for i in $(seq 50); do python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 18080))' 2>/dev/null && exit 0; sleep 0.2; done; exit 1"
    ));
    stage
        .secret("token", "Opaque", &[("value", "hidden-4711-token")])
        .await;
    let job = r#"
sharing: Shared
targets: {hosts: {names: [vm1]}}
parameters: [{name: token, sensitive: true}]
strategy: {maxFailures: 100%}
steps:
- {name: get, http: {url: "http://{{ target.address }}:18080/healthz", headers: {X-Token: "{{ params.token }}"}, expect: {status: [200], body: 'UP /health', headers: {x-seen: .}}}}
- {name: post, needs: [get], http: {url: "http://{{ target.address }}:18080/", method: Post, body: "from {{ run.name }}"}}
- {name: moved, needs: [post], http: {url: "http://{{ target.address }}:18080/moved"}}
- {name: closed, needs: [post], retries: 1, backoff: 1s, http: {url: "http://{{ target.address }}:18081/"}}
- {name: self, targets: {none: {}}, needs: [post], http: {url: "http://127.0.0.1:8080/"}}
- {name: meta, targets: {none: {}}, needs: [post], http: {url: "http://169.254.169.254/"}}
- {name: service, targets: {none: {}}, needs: [post], http: {url: "https://kubernetes.default.svc.cluster.local/"}}
- {name: node, targets: {none: {}}, needs: [post], http: {url: "https://172.31.250.11:10250/"}}
"#;
    let job: Value = serde_saphyr::from_str(job).expect("a literal job");
    let spec = serde_json::json!({"job": job, "secretParameters": {"token": {"name": "token", "key": "value"}}});
    let run = e2e::Manifest::of("JobRun", "asks", &spec).within(stage.name());
    run.create(&stage.client).await.expect("a run is accepted");
    stage.ends("asks").await;
    let rows = stage.executions("asks").await;
    let log = String::from_utf8(stage.log("asks", "get", "vm1").await).expect("text");
    assert!(
        log.starts_with("HTTP 200\n") && log.contains("status UP /healthz"),
        "{log}"
    );
    assert!(
        log.contains("x-seen: ***") && !log.contains("4711"),
        "{log}"
    );
    assert_eq!(Guest("vm1").sh("cat /var/tmp/18080-posts"), "from asks\n");
    for (step, target, wanted) in [
        ("get", "vm1", "Succeeded"),
        ("post", "vm1", "Succeeded"),
        ("moved", "vm1", "Failed"),
        ("self", "", "Undeliverable"),
        ("meta", "", "Undeliverable"),
        ("service", "", "Undeliverable"),
        ("node", "", "Undeliverable"),
    ] {
        assert_eq!(
            state(&rows, step, target),
            wanted,
            "{:#?}",
            row(&rows, step, target)
        );
    }
    for step in ["self", "meta", "service", "node"] {
        assert_eq!(row(&rows, step, "")["reason"], "AddressOffLimits", "{step}");
    }
    let closed: Vec<_> = rows.iter().filter(|r| r["step"] == "closed").collect();
    assert_eq!(closed.len(), 2, "it is tried again: {closed:#?}");
    assert_eq!(closed[0]["reason"], "ConnectFailed");
    Guest("vm1").sh("systemctl stop story-http");
}

#[tokio::test]
async fn a_workload_is_scaled_restarted_changed_and_taken_back() {
    let stage = Stage::set("workload").await;
    stage.apply(WORKLOADS).await;
    let job = r#"
targets: {workloads: {kind: Deployment, names: [web]}}
steps:
- {name: scale, action: {scale: {replicas: 2}}, timeout: 2m}
- {name: change, needs: [scale], action: {patch: {merge: {spec: {template: {spec: {containers: [{name: web, image: 'local/busybox:1', command: [/bin/sh, -c, 'while true; do sleep 1; done'], env: [{name: V, value: "{{ run.name }}"}], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}}}}}}
- {name: undo, needs: [change], action: {rolloutUndo: {}}, timeout: 2m}
- {name: restart, needs: [undo], action: {rolloutRestart: {}}, timeout: 2m}
- {name: mark, needs: [restart], action: {label: {set: {by: "{{ run.name }}"}}}}
- {name: seen, needs: [mark], targets: {none: {}}, wait: {object: {apiVersion: apps/v1, kind: Deployment, name: web}, until: "object.metadata.labels.by == 'works' && object.status.readyReplicas == 2"}, timeout: 1m}
- {name: never, needs: [seen], targets: {none: {}}, continueOnFailure: true, wait: {object: {apiVersion: v1, kind: ConfigMap, name: there-is-none}, until: "true"}, timeout: 30s}
"#;
    stage.run("works", job).await;
    let rows = succeeds(&stage, "works").await;
    let never = row(&rows, "never", "");
    // ConfigMaps are nothing that the account may read.
    assert_eq!(never["reason"], "Forbidden", "{never:#?}");
    let deployments: Api<Deployment> = Api::namespaced(stage.client.clone(), stage.name());
    let web = deployments.get("web").await.expect("it is there");
    assert_eq!(web.labels()["by"], "works");
    let spec = web.spec.expect("spec");
    assert_eq!(spec.replicas, Some(2));
    let template = spec.template;
    let env = template.spec.expect("spec").containers[0]
        .env
        .clone()
        .expect("env");
    assert_eq!(
        env[0].value.as_deref(),
        Some("1"),
        "the change was taken back"
    );
    let restarted = template
        .metadata
        .and_then(|m| m.annotations)
        .expect("annotations");
    assert_eq!(restarted.len(), 1, "restarted once: {restarted:?}");
}

const STATEFUL: &str = r"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 0
      containers:
      - {name: db, image: 'local/busybox:1', command: [/bin/sh, -c, 'while true; do sleep 1; done'], env: [{name: V, value: VALUE}], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
";

#[tokio::test]
async fn a_workload_that_keeps_its_templates_otherwise_is_taken_back_too() {
    let stage = Stage::set("stateful").await;
    stage.apply(WORKLOADS).await;
    stage.apply(&STATEFUL.replace("VALUE", "first")).await;
    let sets: Api<StatefulSet> = Api::namespaced(stage.client.clone(), stage.name());
    eventually("its first revision", PATIENCE, || async {
        let status = sets.get("db").await.ok()?.status?;
        (status.ready_replicas == Some(1)).then_some(())
    })
    .await;
    let job = r"
targets: {workloads: {kind: StatefulSet, names: [db]}}
steps:
- {name: undo, action: {rolloutUndo: {}}, timeout: 2m}
";
    stage.run("none", job).await;
    stage.ends("none").await;
    let rows = stage.executions("none").await;
    assert_eq!(row(&rows, "undo", "db")["reason"], "NoRevision");
    // Undone at once: what its controller has not seen yet is waited for.
    stage.apply(&STATEFUL.replace("VALUE", "second")).await;
    stage.run("undo", job).await;
    succeeds(&stage, "undo").await;
    let spec = sets
        .get("db")
        .await
        .expect("it is there")
        .spec
        .expect("spec");
    let pod = spec.template.spec.expect("spec");
    let env = pod.containers[0].env.clone().expect("env");
    assert_eq!(env[0].value.as_deref(), Some("first"));
}

#[tokio::test]
async fn pods_go_as_their_disruption_budget_allows_and_nobody_else_does_more() {
    let stage = Stage::set("evict").await;
    stage.apply(WORKLOADS).await;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), stage.name());
    let of_web = ListParams::default().labels("app=web");
    let first = eventually("a pod of web", PATIENCE, || async {
        let pod = pods.list(&of_web).await.ok()?.items.pop()?;
        e2e::stage::is_running(&pod).then(|| pod.name_any())
    })
    .await;
    stage
        .apply("apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec: {minAvailable: 1, selector: {matchLabels: {app: web}}}")
        .await;
    let job = |operation: &str, timeout: &str| {
        format!(
            "targets: {{pods: {{names: [{first}]}}}}\nsteps:\n- {{name: go, action: {{{operation}}}, timeout: {timeout}}}"
        )
    };
    stage.run("held", &job("evict: {}", "5s")).await;
    stage.ends("held").await;
    let rows = stage.executions("held").await;
    let held = row(&rows, "go", &first);
    assert_eq!(held["state"], "TimedOut", "{held:#?}");
    assert!(
        held["message"]
            .as_str()
            .is_some_and(|m| m.contains("may not go yet")),
        "{held:#?}"
    );
    stage.run("gone", &job("deletePod: {}", "1m")).await;
    succeeds(&stage, "gone").await;
    assert!(pods.get_opt(&first).await.expect("an answer").is_none());
    let node = "targets: {nodes: {names: [node1]}}\nsteps:\n- {name: go, action: {cordon: {}}}";
    stage.run("node", node).await;
    let reason = stage.waits("node", "AccountForbidden").await;
    assert!(reason.contains("nodes"), "{reason}");
    stage.act("node", "Cancel").await;
    stage.ends("node").await;
}
