//! Story: what people start in containers is judged at the door of the API server, however it comes there, and what runs do that were judged when they began passes.

use crds::v1alpha1::{CommandPolicy, find_condition};
use e2e::{
    Manifest, OfTheCluster, Stage, Terminal, accepted, eventually, refused, rights,
    stage::{PATIENCE, is_running},
    wait_for,
};
use http::Request;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

/// For the namespace of the story alone.
const POLICY: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: CommandPolicy
metadata: {name: NAMESPACE}
spec:
  applyTo: [PodExec, Workloads, Scripts]
  failurePolicy: Fail
  breakGlass: {groups: [night-shift]}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  rules:
  - {name: no-knock, match: {commands: [knock]}, action: RequireApproval, why: somebody may be asleep}
  - {name: no-beep, match: {commands: [beep]}, action: Deny, why: it wakes the night shift, safer: write to the log}
";

/// What a run does in a pod, which a person may not.
const KNOCK: &str = r"{targets: {pods: {names: [db-0]}}, steps: [{name: knock, exec: {command: [sh, -c, 'beep || echo done']}}]}";

/// A namespace with a pod, and a policy about it.
pub struct Scene {
    pub stage: Stage,
    _policy: OfTheCluster,
    /// May edit what is in the namespace.
    pub bob: Terminal,
    pub administrator: Terminal,
}

impl Scene {
    /// A pod, and then the policy, as soon as the API server asks about it.
    pub async fn set(story: &str) -> Self {
        let stage = Stage::set(story).await;
        let role = json!({"kind": "ClusterRole", "name": "edit"});
        rights::bind(&stage.client, stage.name(), "bob", &role).await;
        stage.shell("db-0").await;
        stage.apply(&workload("before", "sleep 3000; beep")).await;
        available(&stage, "before").await;
        let scene = Self {
            _policy: OfTheCluster::applied(&stage, POLICY).await,
            bob: Terminal::of("bob", stage.name()),
            administrator: Terminal::of_the_administrator(stage.name()),
            stage,
        };
        scene.asked().await;
        scene
    }

    async fn asked(&self) {
        let policies: Api<CommandPolicy> = Api::all(self.stage.client.clone());
        let asked = |policy: Option<&CommandPolicy>| {
            let status = policy.and_then(|policy| policy.status.as_ref());
            let told = status.and_then(|s| find_condition(&s.conditions, "Admitting"));
            told.is_some_and(|told| told.status == "True")
        };
        wait_for(
            policies,
            self.stage.name(),
            "Admitting=True",
            PATIENCE,
            asked,
        )
        .await;
        self.until("403").await;
    }

    /// Waits until the API server answers a knock at the door like that.
    pub async fn until(&self, code: &str) {
        eventually("the API server to ask", PATIENCE, || async {
            (self.knock("beep").await == code).then_some(())
        })
        .await;
    }

    /// What a POST is answered that goes no further than the door: 403, or 400 for want of an upgrade.
    pub async fn knock(&self, command: &str) -> String {
        let path = format!(
            "/api/v1/namespaces/{}/pods/db-0/exec?command={command}&stdout=true",
            self.stage.name()
        );
        let request = Request::post(path).body(Vec::new()).expect("a request");
        match self.stage.client.request_text(request).await {
            Err(kube::Error::Api(status)) => {
                println!("{command}: {}", status.message);
                status.code.to_string()
            }
            answer => format!("{answer:?}"),
        }
    }

    /// Bob's words are refused, and he is told these.
    async fn refuses(&self, words: &[&str], told: &[&str]) {
        let said = self.bob.kubectl(words).await;
        assert_ne!(said.code, Some(0), "{words:?}");
        for told in told {
            assert!(said.err.contains(told), "no {told:?} in {}", said.err);
        }
    }

    async fn lets(&self, words: &[&str]) {
        let said = self.bob.kubectl(words).await;
        assert_eq!(said.code, Some(0), "{words:?}: {}", said.err);
    }
}

fn workload(name: &str, command: &str) -> String {
    format!(
        r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {{runAsNonRoot: true, runAsUser: 65534, seccompProfile: {{type: RuntimeDefault}}}}
      containers: [{{name: main, image: '{IMAGE}', command: [sh, -c, '{command}'], securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}}}]
"
    )
}

const IMAGE: &str = "local/busybox:1";

async fn available(stage: &Stage, name: &str) {
    let all: Api<Deployment> = Api::namespaced(stage.client.clone(), stage.name());
    let up = |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|d| d.status.as_ref());
        status.and_then(|s| s.available_replicas) > Some(0)
    };
    wait_for(all, name, "an available replica", PATIENCE, up).await;
}

#[tokio::test]
async fn a_command_in_a_container_is_judged_however_it_is_asked_for() {
    let scene = Scene::set("exec").await;
    scene.lets(&["exec", "db-0", "--", "true"]).await;
    scene
        .refuses(
            &["exec", "db-0", "--", "sh", "-c", "curl x | bash"],
            &[
                "rule download-and-run of CommandPolicy",
                "instead: Download it",
            ],
        )
        .await;
    scene
        .refuses(
            &["exec", "db-0", "--", "knock"],
            &["rule no-knock", "approved its run"],
        )
        .await;
    let denied = [
        "rule no-beep",
        "it wakes the night shift",
        "write to the log",
    ];
    scene
        .refuses(&["exec", "db-0", "--", "env", "beep"], &denied)
        .await;
    // kubectl asks by websocket; older ones, and others, by POST.
    assert_eq!(scene.knock("beep").await, "403");
    assert_eq!(scene.knock("true").await, "400");
    for words in [
        &["exec", "-i", "db-0", "--", "sh"][..],
        &["exec", "-it", "db-0", "--", "true"],
        &["attach", "-i", "db-0"],
        &["cp", "/etc/hostname", "db-0:/tmp/x"],
    ] {
        scene.refuses(words, &["rule unknown"]).await;
    }
    let words = [
        "debug",
        "db-0",
        "-i",
        "--profile=restricted",
        "--image",
        IMAGE,
        "--",
        "sh",
    ];
    let said = scene.administrator.kubectl(&words).await;
    assert!(said.err.contains("rule unknown"), "{}", said.err);
    whoever_breaks_the_glass_passes(&scene).await;
    what_a_run_does_was_judged_when_it_began(&scene).await;
    a_kubelet_asks_nobody(&scene).await;
}

/// The one way into a container that nothing guards but the right to it, as docs/coverage.md says.
async fn a_kubelet_asks_nobody(scene: &Scene) {
    let pods: Api<Pod> = Api::namespaced(scene.stage.client.clone(), scene.stage.name());
    let pod = pods.get("db-0").await.expect("the pod is there");
    let node = pod.spec.and_then(|spec| spec.node_name).expect("a node");
    let path = format!(
        "/api/v1/nodes/{node}/proxy/run/{}/db-0/main?cmd=sh%20-c%20beep",
        scene.stage.name()
    );
    let request = Request::post(path).body(Vec::new()).expect("a request");
    let said = scene.stage.client.request_text(request).await;
    let said = format!("{said:?}");
    assert!(said.contains("beep: not found"), "it was run: {said}");
}

async fn whoever_breaks_the_glass_passes(scene: &Scene) {
    let namespace = scene.stage.name();
    let role = json!({"kind": "ClusterRole", "name": "edit"});
    rights::bind(&scene.stage.client, namespace, "carol", &role).await;
    let carol = async |group: &str| {
        let words = [
            "--as",
            "carol",
            "--as-group",
            group,
            "exec",
            "-i",
            "db-0",
            "--",
            "cat",
        ];
        scene.administrator.kubectl(&words).await
    };
    let refused = carol("day-shift").await;
    assert!(refused.err.contains("rule unknown"), "{}", refused.err);
    assert_eq!(carol("night-shift").await.code, Some(0));
}

/// The policy is about what is asked at the door; that of a run is asked when it begins, by policies that apply to runs.
async fn what_a_run_does_was_judged_when_it_began(scene: &Scene) {
    scene.stage.run("knocks", KNOCK).await;
    let ended = scene.stage.ends("knocks").await;
    let summary = ended.status.and_then(|status| status.summary);
    assert_eq!(summary.as_deref(), Some("Succeeded"));
    // Nobody else may say that of themselves.
    let asked = [
        "auth",
        "can-i",
        "impersonate",
        "userextras.authentication.k8s.io/at-start",
        "--subresource=pilothouse.dev/judged",
    ];
    let said = scene.bob.kubectl(&asked).await;
    assert_eq!(said.out.trim(), "no", "{}", said.err);
}

#[tokio::test]
async fn containers_are_judged_when_they_are_written_and_what_was_there_lives_on() {
    let scene = Scene::set("workloads").await;
    let (client, namespace) = (&scene.stage.client, scene.stage.name());
    let write = async |yaml: &str| {
        Manifest::read(yaml)
            .remove(0)
            .within(namespace)
            .apply(client)
            .await
    };
    refused(
        write(&workload("after", "beep")).await,
        &["rule no-beep", "container main"],
    );
    accepted(write(&workload("after", "sleep 3000")).await);
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": IMAGE, "command": ["sh", "-c", "knock"]}]}}}}}});
    let cron = Manifest::from_json(cron).within(namespace);
    refused(
        cron.apply(client).await,
        &["container main", "an exception"],
    );

    // What was there before the policy is scaled, and replaced when it dies.
    scene
        .lets(&["scale", "deployment/before", "--replicas=2"])
        .await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let ours = ListParams::default().labels("app=before");
    let first = pods
        .list(&ours)
        .await
        .expect("pods are listed")
        .items
        .remove(0);
    let first = first.metadata.name.expect("a name");
    pods.delete(&first, &DeleteParams::default())
        .await
        .expect("a pod dies");
    eventually("two others", PATIENCE, || async {
        let all = pods.list(&ours).await.ok()?;
        let others = all
            .iter()
            .filter(|pod| pod.metadata.name.as_ref() != Some(&first));
        (others.filter(|pod| is_running(pod)).count() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_script_is_written_with_a_warning_of_what_will_become_of_it() {
    let scene = Scene::set("warned").await;
    let script = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "Script", "metadata": {"name": "night"}, "spec": {"content": "true\nbeep"}});
    let file = std::env::temp_dir().join(format!("{}.json", scene.stage.name()));
    std::fs::write(&file, script.to_string()).expect("a file is written");
    let path = file.to_string_lossy();
    let said = scene.administrator.kubectl(&["apply", "-f", &path]).await;
    std::fs::remove_file(&file).expect("it is there");
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.err
            .contains("Warning: 2:1: no run may use it: rule no-beep"),
        "{}",
        said.err
    );
}
