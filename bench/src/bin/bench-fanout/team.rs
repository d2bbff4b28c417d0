//! A team: a namespace with hosts, and an account that may work on them.

use std::{
    collections::HashSet,
    ops::Range,
    pin::pin,
    time::{Duration, Instant},
};

use futures::{AsyncReadExt as _, StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{Result, fixture::Fixture};

/// Longest wait for any of the steps.
const PATIENCE: Duration = Duration::from_mins(5);

pub struct Team {
    client: Client,
    namespace: &'static str,
}

impl Team {
    /// Sets it up, with these of the fixture's hosts, which the operator has reached by then.
    pub async fn set(
        fixture: &Fixture,
        port: u16,
        namespace: &'static str,
        hosts: Range<usize>,
    ) -> Result<Self> {
        let client = Client::try_default().await?;
        let team = Self { client, namespace };
        for object in team.stage(fixture) {
            team.apply(object).await?;
        }
        let made = hosts.clone().map(|n| team.apply(host(fixture, port, n)));
        let _made: Vec<()> = stream::iter(made)
            .buffer_unordered(16)
            .try_collect()
            .await?;
        team.until("Host", hosts.map(host_name).collect(), &["Reachable"])
            .await?;
        Ok(team)
    }

    /// Starts a run of `true` on all of the team's hosts.
    pub async fn start(&self, name: &str) -> Result<()> {
        let run = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "JobRun", "metadata": {"name": name}, "spec": {"job": {
            "sharing": "Shared",
            "targets": {"hosts": {"selector": {"matchLabels": {"app": "web"}}}},
            "strategy": {"maxParallel": crate::FEW},
            "steps": [{"name": "one", "inline": {"content": "true"}}]}}});
        let (api, run) = self.placed(run)?;
        api.create(&PostParams::default(), &run).await?;
        Ok(())
    }

    /// From the creation of a run until it has ended.
    pub async fn carry_out(&self, name: &str) -> Result<Duration> {
        let began = Instant::now();
        self.start(name).await?;
        self.until("JobRun", [name.into()].into(), &["Complete", "Failed"])
            .await?;
        Ok(began.elapsed())
    }

    /// Rows of the run that say Succeeded.
    pub async fn succeeded(&self, run: &str) -> Result<usize> {
        let path = format!(
            "/apis/records.pilothouse.dev/v1alpha1/namespaces/{}/executions?labelSelector=pilothouse.dev/run={run}&limit=1000",
            self.namespace
        );
        let request = http::Request::get(path).body(Vec::new())?;
        let mut answer = Vec::new();
        pin!(self.client.request_stream(request).await?)
            .read_to_end(&mut answer)
            .await?;
        let list: Value = serde_json::from_slice(&answer)?;
        let rows = list["items"].as_array().into_iter().flatten();
        let succeeded = rows.filter(|row| row["execution"]["state"] == "Succeeded");
        Ok(succeeded.count())
    }

    /// How many of the team's runs have not ended.
    pub async fn live_runs(&self) -> Result<usize> {
        let runs = self.api("pilothouse.dev", "JobRun");
        let all = runs.list(&kube::api::ListParams::default()).await?;
        let live = |run: &&DynamicObject| !is_any(run, &["Complete", "Failed"]);
        Ok(all.items.iter().filter(live).count())
    }

    /// Follows the objects of a kind until each of these names has one of the conditions.
    async fn until(
        &self,
        kind: &str,
        mut names: HashSet<String>,
        conditions: &[&str],
    ) -> Result<()> {
        let changes = watcher(self.api("pilothouse.dev", kind), watcher::Config::default());
        let mut changes = pin!(changes.default_backoff().applied_objects());
        let all = async {
            while !names.is_empty() {
                let object = changes.next().await.ok_or("the watch ended")??;
                if is_any(&object, conditions) {
                    names.remove(&object.name_any());
                }
            }
            Ok(())
        };
        let waited = timeout(PATIENCE, all).await;
        waited.unwrap_or_else(|_| {
            Err(format!("{} of {kind} are not {conditions:?}", names.len()).into())
        })
    }

    /// A namespace whose runner may work on its hosts.
    fn stage(&self, fixture: &Fixture) -> Vec<Value> {
        let rbac = "rbac.authorization.k8s.io/v1";
        let bind = |name: &str, kind: &str, role: &str, account: &str, namespace: &str| {
            json!({"apiVersion": rbac, "kind": "RoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]})
        };
        let runner = "pilothouse-runner";
        vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": runner}}),
            json!({"apiVersion": rbac, "kind": "Role", "metadata": {"name": "runner"}, "rules": [
                {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "verbs": ["get", "list"]},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}),
            bind("runner", "Role", "runner", runner, self.namespace),
            bind(
                "operator",
                "ClusterRole",
                "pilothouse-impersonate-runner",
                "pilothouse-operator",
                "pilothouse-system",
            ),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "pilothouse.dev/ssh",
                "stringData": {"ssh-privatekey": fixture.user_key, "addresses": "127.0.0.0/8"}}),
        ]
    }

    async fn apply(&self, object: Value) -> Result<()> {
        let (api, object) = self.placed(object)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        let params = PatchParams::apply("bench").force();
        api.patch(&name, &params, &Patch::Apply(&object)).await?;
        Ok(())
    }

    fn placed(&self, object: Value) -> Result<(Api<DynamicObject>, DynamicObject)> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.as_ref().ok_or("an object has types")?;
        let group = types
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        Ok((self.api(group, &types.kind), object))
    }

    fn api(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        let version = match group {
            "pilothouse.dev" => "v1alpha1",
            _ => "v1",
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        if kind == "Namespace" {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), self.namespace, &resource)
        }
    }
}

fn host_name(n: usize) -> String {
    format!("host-{n:03}")
}

fn host(fixture: &Fixture, port: u16, n: usize) -> Value {
    json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "Host", "metadata": {"name": host_name(n), "labels": {"app": "web"}},
        "spec": {"type": "VirtualMachine", "address": Fixture::host(n), "port": port, "credentialsRef": {"name": "key"},
            "hostKeys": [fixture.host_key.trim()]}})
}

/// Whether one of the conditions is true.
fn is_any(object: &DynamicObject, conditions: &[&str]) -> bool {
    let there = object.data["status"]["conditions"].as_array();
    let mut there = there.into_iter().flatten();
    there.any(|c| c["status"] == "True" && conditions.iter().any(|wanted| c["type"] == *wanted))
}
