//! What a story plays on: a namespace whose runner may work on the two hosts, and ways to start runs and see what became of them.

use std::{error::Error, fs, path::PathBuf, pin::pin, time::Duration};

use crds::v1alpha1::{JobRun, condition_is_true, find_condition};
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

use crate::{Cluster, Manifest, TestNamespace, eventually, rights, wait_for};

/// Long enough for a run that has to wait for the runs of other stories.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// The namespace of Pilothouse itself.
pub const SYSTEM: &str = "pilothouse-system";

/// A namespace ready for runs.
pub struct Stage {
    pub cluster: Cluster,
    pub client: Client,
    pub namespace: TestNamespace,
}

impl Stage {
    /// A namespace with the runner's rights, credentials, and the hosts `vm1` and `pm1`.
    pub async fn set(story: &str) -> Self {
        let cluster = Cluster::connect().await;
        let namespace = TestNamespace::create(&cluster, story).await;
        Self::within(cluster, namespace).await
    }

    /// The same in a namespace that is there.
    pub async fn within(cluster: Cluster, namespace: TestNamespace) -> Self {
        let client = cluster.client();
        let stage = Self {
            cluster,
            client,
            namespace,
        };
        stage.apply(RIGHTS).await;
        stage
            .secret(
                "fleet-key",
                "pilothouse.dev/ssh",
                &[("ssh-privatekey", &key()), ("addresses", "172.31.250.0/24")],
            )
            .await;
        stage.apply(HOSTS).await;
        stage
    }

    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// Another person of the story, with one of the chart's ClusterRoles here; `may` is a verb and a resource that tell when it holds.
    pub async fn person(&self, name: &str, role: &str, may: (&str, &str)) -> Client {
        let role = json!({"kind": "ClusterRole", "name": role});
        rights::bind(&self.client, self.name(), name, &role).await;
        let client = self.cluster.as_user(name, &["testers"]);
        rights::hold(&client, self.name(), may, None, true).await;
        client
    }

    /// Applies every document, in this namespace.
    pub async fn apply(&self, yaml: &str) {
        let yaml = yaml.replace("NAMESPACE", self.name());
        for manifest in Manifest::read(&yaml) {
            let manifest = manifest.within(self.name());
            let applied = manifest.apply(&self.client).await;
            applied.unwrap_or_else(|error| panic!("{} was refused: {error}", manifest.title()));
        }
    }

    /// A Secret with these texts.
    pub async fn secret(&self, name: &str, type_: &str, texts: &[(&str, &str)]) {
        let data: serde_json::Map<_, _> = texts
            .iter()
            .map(|(k, v)| ((*k).to_owned(), json!(v)))
            .collect();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": type_, "stringData": data});
        Manifest::from_json(secret)
            .within(self.name())
            .apply(&self.client)
            .await
            .expect("a Secret is accepted");
    }

    /// Waits until both hosts were seen.
    pub async fn hosts_seen(&self) {
        for host in ["vm1", "pm1"] {
            self.reachable(host).await;
        }
    }

    /// Waits until a host was seen.
    pub async fn reachable(&self, name: &str) {
        let api: Api<crds::v1alpha1::Host> = Api::namespaced(self.client.clone(), self.name());
        let seen = |host: Option<&crds::v1alpha1::Host>| {
            host.and_then(|h| h.status.as_ref())
                .is_some_and(|s| condition_is_true(&s.conditions, "Reachable"))
        };
        wait_for(api, name, "Reachable=True", PATIENCE, seen).await;
    }

    /// A pod with a shell, running until the story ends.
    pub async fn shell(&self, name: &str) -> Pod {
        self.apply(&SHELL.replace("SHELL", name)).await;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.name());
        wait_for(pods, name, "Running", PATIENCE, |pod: Option<&Pod>| {
            pod.is_some_and(is_running)
        })
        .await
    }

    pub fn runs(&self) -> Api<JobRun> {
        Api::namespaced(self.client.clone(), self.name())
    }

    /// Creates a run with a job of its own.
    pub async fn run(&self, name: &str, job: &str) {
        let job: Value = serde_saphyr::from_str(job).expect("a literal job");
        let run = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "JobRun", "metadata": {"name": name}, "spec": {"job": job}});
        Manifest::from_json(run)
            .within(self.name())
            .create(&self.client)
            .await
            .unwrap_or_else(|error| panic!("JobRun {name} was refused: {error}"));
    }

    /// Name of the run that a step of this run has started.
    pub async fn part(&self, of: &str) -> String {
        let of = self.runs().get(of).await.expect("the run is there");
        let uid = of.uid().expect("what is stored has a UID");
        let labelled = ListParams::default().labels(&format!("pilothouse.dev/run-uid={uid}"));
        eventually("the run of its step", PATIENCE, || async {
            let runs = self.runs().list(&labelled).await.ok()?;
            runs.items.first().map(JobRun::name_any)
        })
        .await
    }

    /// What somebody does to a run.
    pub async fn act(&self, run: &str, action: &str) {
        let action = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "RunAction", "metadata": {"generateName": format!("{run}-")},
            "spec": {"runRef": {"name": run}, "action": action}});
        Manifest::from_json(action)
            .within(self.name())
            .create(&self.client)
            .await
            .expect("an administrator may act");
    }

    /// Waits until the run's summary is one of these.
    pub async fn becomes(&self, run: &str, words: &[&str]) -> JobRun {
        let is = |r: Option<&JobRun>| {
            r.and_then(|r| r.status.as_ref()?.summary.as_deref())
                .is_some_and(|s| words.contains(&s))
        };
        let seen = wait_for(self.runs(), run, &words.join(" or "), PATIENCE, is).await;
        println!(
            "{run}: {}",
            serde_json::to_string(&seen.status).expect("status")
        );
        seen
    }

    /// Waits until the run says that it waits for this reason; the sentence in which it does.
    pub async fn waits(&self, run: &str, reason: &str) -> String {
        let says = |r: Option<&JobRun>| {
            r.and_then(|r| r.status.as_ref()).is_some_and(|status| {
                let running = find_condition(&status.conditions, "Running");
                running.is_some_and(|c| c.status == "False" && c.reason == reason)
            })
        };
        let seen = wait_for(self.runs(), run, reason, PATIENCE, says).await;
        seen.status.and_then(|s| s.message).unwrap_or_default()
    }

    /// Waits for the run's end, whichever it is.
    pub async fn ends(&self, run: &str) -> JobRun {
        self.becomes(
            run,
            &["Succeeded", "Skipped", "Failed", "Cancelled", "Refused"],
        )
        .await
    }

    /// Waits until a run that was deleted is gone.
    pub async fn gone(&self, run: &str) {
        let runs = self.runs();
        eventually("its end", PATIENCE, || async {
            runs.get_opt(run).await.ok()?.is_none().then_some(())
        })
        .await;
    }

    /// Rows of a run in records.
    pub async fn executions(&self, run: &str) -> Vec<Value> {
        let of_run = ListParams::default().labels(&format!("pilothouse.dev/run={run}"));
        let rows = self.records("Execution", &of_run).await.into_iter();
        rows.map(|row| row.data["execution"].clone()).collect()
    }

    /// Objects of this kind in the archive.
    pub async fn archives(&self, kind: &str) -> Vec<DynamicObject> {
        let of_kind = ListParams::default().fields(&format!("kind={kind}"));
        self.records("Archive", &of_kind).await
    }

    async fn records(&self, kind: &str, chosen: &ListParams) -> Vec<DynamicObject> {
        let any = json!({"apiVersion": "records.pilothouse.dev/v1alpha1", "kind": kind, "metadata": {"name": "any"}});
        let api = Manifest::from_json(any).within(self.name());
        let api = api.api(&self.client).await.expect("records are served");
        api.list(chosen).await.expect("records are listed").items
    }

    /// Waits until the archive has an object of this kind whose name begins so, and which ended so.
    pub async fn archived(&self, kind: &str, name: &str, outcome: &str) -> DynamicObject {
        let wanted = |archive: &DynamicObject| {
            let of = archive.data["object"]["metadata"]["name"].as_str();
            of.is_some_and(|of| of.starts_with(name)) && archive.data["outcome"] == outcome
        };
        eventually("a place in the archive", PATIENCE, || async {
            self.archives(kind).await.into_iter().find(wanted)
        })
        .await
    }

    /// Output of one execution.
    pub async fn log(&self, run: &str, step: &str, target: &str) -> Vec<u8> {
        let name = [run, step, target, "1"]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(".");
        let path = format!(
            "/apis/records.pilothouse.dev/v1alpha1/namespaces/{}/executions/{name}/log",
            self.name()
        );
        let log = self.bytes(&path).await;
        log.unwrap_or_else(|error| panic!("no log of {run}/{step}/{target}: {error}"))
    }

    /// What the API server answers on a path, byte by byte.
    async fn bytes(&self, path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let request = http::Request::get(path).body(Vec::new())?;
        let mut answer = Vec::new();
        pin!(self.client.request_stream(request).await?)
            .read_to_end(&mut answer)
            .await?;
        Ok(answer)
    }
}

/// One target's row; what is done once names no target.
pub fn row<'a>(rows: &'a [Value], step: &str, target: &str) -> &'a Value {
    let is_of =
        |row: &&Value| row["step"] == step && row["target"].as_str().unwrap_or_default() == target;
    let found = rows.iter().find(is_of);
    found.unwrap_or_else(|| panic!("no row of {step} on {target:?} in {rows:#?}"))
}

/// Its state.
pub fn state<'a>(rows: &'a [Value], step: &str, target: &str) -> &'a str {
    let state = row(rows, step, target)["state"].as_str();
    state.expect("a row has a state")
}

/// The reason of a run's Failed condition.
pub fn refusal(run: &JobRun) -> (String, String) {
    let failed = run
        .status
        .as_ref()
        .and_then(|s| s.conditions.iter().find(|c| c.type_ == "Failed"));
    let failed = failed.unwrap_or_else(|| panic!("{} has not failed", run.name_any()));
    (failed.reason.clone(), failed.message.clone())
}

pub fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    phase == Some("Running")
}

/// State of the local cluster.
pub fn state_folder() -> PathBuf {
    std::env::var_os("PILOTHOUSE_E2E_STATE")
        .map(PathBuf::from)
        .expect("PILOTHOUSE_E2E_STATE names the local cluster's folder; `cargo xtask test` sets it")
}

/// Name of the local cluster's network namespace.
pub fn netns() -> String {
    let name = fs::read_to_string(state_folder().join("netns"));
    let name = name.expect("the local cluster has a network namespace");
    name.trim().to_owned()
}

fn key() -> String {
    fs::read_to_string(state_folder().join("ssh-key")).expect("the local cluster has a key")
}

/// Names of all Secrets' values, to prove that none is left over.
pub async fn secrets(client: &Client, namespace: &str) -> Vec<Secret> {
    Api::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await
        .expect("an administrator reads Secrets")
        .items
}

const SHELL: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: SHELL}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
  containers:
  - {name: main, image: "local/busybox:1", command: [/bin/sh, -c, "while true; do sleep 1; done"], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
"#;

const RIGHTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: pilothouse-runner}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pilothouse-runner}
rules:
- {apiGroups: [pilothouse.dev], resources: [hosts], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [secrets], verbs: [get]}
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch, create, delete, patch, update]}
- {apiGroups: [""], resources: [pods/log], verbs: [get]}
- {apiGroups: [""], resources: [pods/exec], verbs: [get, create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pilothouse-runner}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pilothouse-runner}
subjects: [{kind: ServiceAccount, name: pilothouse-runner, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pilothouse-operator-acts-as-runner}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pilothouse-impersonate-runner}
subjects: [{kind: ServiceAccount, name: pilothouse-operator, namespace: pilothouse-system}]
"#;

const HOSTS: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: vm1, labels: {fleet: both}}
spec: {type: VirtualMachine, address: 172.31.250.21, credentialsRef: {name: fleet-key}, hostKeyPolicy: TrustOnFirstUse}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: pm1, labels: {fleet: both}}
spec: {type: PhysicalMachine, address: 172.31.250.22, credentialsRef: {name: fleet-key}, hostKeyPolicy: TrustOnFirstUse}
";
