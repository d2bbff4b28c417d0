//! What the webhook is asked about: policies with a thousand rules of their own, and reviews of a size.

use std::time::Duration;

use bench::stage::put;
use crds::v1alpha1::CommandPolicy;
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration,
    core::v1::{ConfigMap, Namespace},
};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{Result, load::Door};

pub const ADDRESS: &str = "172.31.250.1:9443";
/// Where the policy is asked.
const URL: &str = "https://pilothouse-webhook.pilothouse-system.svc:9443/commands/bench-0/workload";
/// Namespaces with all policies, with one, and with none.
pub const ASKED: &str = "bench-asked";
pub const ONE: &str = "bench-one";
pub const PLAIN: &str = "bench-plain";
const POLICIES: usize = 2;
const RULES: usize = 500;
const PATIENCE: Duration = Duration::from_mins(1);

/// What the rules of a policy forbid to start.
pub fn tools(policy: usize) -> Vec<String> {
    (0..RULES)
        .map(|rule| format!("tool-{policy}-{rule}"))
        .collect()
}

/// Policies, and namespaces.
pub async fn furnish(client: &Client) -> Result<()> {
    for name in [ASKED, ONE, PLAIN] {
        let namespace = json!({"metadata": {"name": name}});
        put::<Namespace>(&Api::all(client.clone()), namespace).await?;
    }
    for number in 0..POLICIES {
        let rule = |tool: &String| {
            json!({"name": format!("no-{tool}"), "match": {"commands": [tool], "args": {"anyPath": ["/etc/**"]}},
                "action": "Deny", "why": "it changes what the configuration management keeps"})
        };
        let rules: Vec<Value> = tools(number).iter().map(rule).collect();
        let namespaces = if number == 0 {
            vec![ASKED, ONE]
        } else {
            vec![ASKED]
        };
        let policy = json!({"metadata": {"name": format!("bench-{number}")}, "spec": {"applyTo": ["PodExec", "Workloads"], "failurePolicy": "Fail",
            "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}]}, "rules": rules}});
        put::<CommandPolicy>(&Api::all(client.clone()), policy).await?;
    }
    Ok(())
}

/// Where the webhook is asked, once the API server has been told to ask it.
pub async fn told(client: &Client) -> Result<Door> {
    let all: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "pilothouse-system");
    let told = async {
        loop {
            let found = all.get_opt("pilothouse-commands").await?;
            let webhooks = found.and_then(|found| found.webhooks).unwrap_or_default();
            let map = maps.get_opt("pilothouse-webhook-ca").await?;
            let bundle = map.and_then(|map| map.data?.remove("ca.crt"));
            let asks = |number| {
                let name = format!("workload.bench-{number}.commands.pilothouse.dev");
                webhooks.iter().any(|webhook| webhook.name == name)
            };
            if let Some(bundle) = bundle.filter(|_| (0..POLICIES).all(asks)) {
                return Ok::<_, kube::Error>(bundle);
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let bundle = timeout(PATIENCE, told).await??;
    Ok(Door {
        url: URL.to_owned(),
        bundle,
    })
}

/// A Deployment of so many KiB: a container with a script in every four, and the rest what tools leave in an object.
pub fn deployment(kib: usize) -> Value {
    let script = "set -eu\ncd /srv/app\nfor f in *.yaml; do cp \"$f\" /run/app/\"$f\"; done\ntest -r /run/app/main.yaml || exit 1\nexec /usr/bin/app --config /run/app/main.yaml --listen :8080\n";
    let container = |n: usize| {
        json!({"name": format!("app-{n}"), "image": "registry.example/app:1", "command": ["/bin/sh", "-c", script],
            "env": [{"name": "MODE", "value": "production"}], "livenessProbe": {"exec": {"command": ["/usr/bin/app", "--check"]}}})
    };
    let containers: Vec<Value> = (0..kib / 4).map(container).collect();
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "annotations": {}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "app"}},
            "template": {"metadata": {"labels": {"app": "app"}}, "spec": {"containers": containers}}}});
    let mut n = 0;
    while object.to_string().len() < kib * 1024 - 512 {
        let note = format!("{{\"f:spec\":{{\"f:key-{n}\":{{}}}}}}").repeat(8);
        object["metadata"]["annotations"][format!("tools.example/note-{n}")] = Value::from(note);
        n += 1;
    }
    object
}

/// A review of its creation.
pub fn review(kib: usize) -> String {
    review_of(&deployment(kib))
}

/// A review that has to be refused.
pub fn forbidden() -> String {
    let mut object = deployment(4);
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    container["command"] = json!(["tool-0-7", "/etc/app"]);
    review_of(&object)
}

fn review_of(object: &Value) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "name": "app", "namespace": ASKED, "operation": "CREATE", "userInfo": {"username": "ann", "groups": ["dev", "system:authenticated"]},
        "object": object, "oldObject": null, "dryRun": false}})
    .to_string()
}
