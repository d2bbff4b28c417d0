//! A namespace of the bench, whose runner may use hosts of the light server, and what is done in it.

use std::{collections::HashSet, pin::pin, time::Duration};

use bench::stage;
use futures::{AsyncReadExt as _, StreamExt as _};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, PostParams},
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
    /// Makes the namespace with these hosts, and waits until each was looked at.
    pub async fn with_hosts(
        namespace: &'static str,
        fixture: &Fixture,
        port: u16,
        hosts: impl Iterator<Item = usize> + Clone,
    ) -> Result<Self> {
        let client = Client::try_default().await?;
        let rules = json!([
            {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        ]);
        stage::set(&client, namespace, rules).await?;
        let team = Self { client, namespace };
        team.create("", key(fixture)).await?;
        let written = hosts
            .clone()
            .map(|n| team.create("pilothouse.dev", host(fixture, port, n)));
        stage::all(written).await?;
        team.until("Host", hosts.map(host_name), &["Reachable"])
            .await?;
        Ok(team)
    }

    /// Has `true` run on all hosts of the team, beside other such runs.
    pub async fn run(&self, name: &str, at_once: usize) -> Result<()> {
        let job = json!({"targets": {"hosts": {"selector": {"matchLabels": {"app": "web"}}}}, "sharing": "Shared",
            "strategy": {"maxParallel": at_once}, "steps": [{"name": "one", "inline": {"content": "true"}}]});
        let run = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "JobRun", "metadata": {"name": name}, "spec": {"job": job}});
        self.create("pilothouse.dev", run).await
    }

    /// Waits until a run has ended, however it did.
    pub async fn ended(&self, run: &str) -> Result<()> {
        let ends = ["Complete", "Failed"];
        self.until("JobRun", [run.to_owned()].into_iter(), &ends)
            .await
    }

    /// How many of these runs have not ended.
    pub async fn going_on(&self) -> Result<usize> {
        let runs: Api<DynamicObject> = self.api("pilothouse.dev", "JobRun");
        let runs = runs.list(&kube::api::ListParams::default()).await?;
        let ended = |run: &&DynamicObject| !is_true(run, "Complete") && !is_true(run, "Failed");
        Ok(runs.iter().filter(ended).count())
    }

    /// How many records of a run say that it succeeded.
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

    /// Follows the objects of a kind until each of these names has one of the conditions.
    async fn until(
        &self,
        kind: &str,
        names: impl Iterator<Item = String>,
        conditions: &[&str],
    ) -> Result<()> {
        let mut names: HashSet<String> = names.collect();
        let changes = watcher(self.api("pilothouse.dev", kind), watcher::Config::default());
        let mut changes = pin!(changes.default_backoff().applied_objects());
        let all = async {
            while !names.is_empty() {
                let object = changes.next().await.ok_or("the watch ended")??;
                if conditions.iter().any(|c| is_true(&object, c)) {
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

    async fn create(&self, group: &str, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let kind = &object.types.as_ref().ok_or("an object has types")?.kind;
        let api = self.api(group, kind);
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    fn api(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        let version = if group.is_empty() { "v1" } else { "v1alpha1" };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), self.namespace, &resource)
    }
}

fn is_true(object: &DynamicObject, condition: &str) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == condition && c["status"] == "True")
}

fn key(fixture: &Fixture) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "pilothouse.dev/ssh",
        "stringData": {"ssh-privatekey": fixture.user_key, "addresses": "127.0.0.0/8"}})
}

fn host_name(n: usize) -> String {
    format!("host-{n:03}")
}

fn host(fixture: &Fixture, port: u16, n: usize) -> Value {
    json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "Host", "metadata": {"name": host_name(n), "labels": {"app": "web"}},
        "spec": {"type": "VirtualMachine", "address": Fixture::host(n), "port": port, "credentialsRef": {"name": "key"},
            "hostKeys": [fixture.host_key.trim()]}})
}
