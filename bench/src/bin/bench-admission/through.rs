//! What a review adds to a request of the API server, beside a namespace without one and a policy in CEL of the same meaning.

use std::time::{Duration, Instant};

use bench::stage::put;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::Deployment,
    core::v1::Namespace,
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    Report, Result, Row,
    door::{ASKED, ONE, PLAIN, deployment},
    load::Times,
};

const CEL: &str = "bench-cel";
const BY_ONE: &str = "added to a create through the API server by a policy, p50";
const BY_TWO: &str = "added to a create through the API server by two policies, p50";
/// Requests for each namespace, in turn.
const REQUESTS: usize = 600;
const PATIENCE: Duration = Duration::from_mins(1);

pub async fn rows(client: &Client, report: &mut Report) -> Result<()> {
    written_in_cel(client).await?;
    let mut times = [PLAIN, ONE, ASKED, CEL].map(|namespace| (namespace, Vec::new()));
    let object: Deployment = serde_json::from_value(deployment(4))?;
    for turn in 0..REQUESTS + 50 {
        for (namespace, times) in &mut times {
            let took = created(client, namespace, &object).await?;
            if turn >= 50 {
                times.push(took);
            }
        }
    }
    let [plain, one, asked, cel] = times.map(|(namespace, times)| {
        let times = Times::of(times);
        println!("{namespace}: {times}");
        times.p50
    });
    for (metric, time) in [(BY_ONE, one), (BY_TWO, asked)] {
        report.push(Row::at_most(metric, "ms", time - plain, 1.0));
    }
    report.push(Row {
        metric: "a create through the API server, p50",
        unit: "ms",
        ours: asked,
        peer: Some("policy in CEL".to_owned()),
        peer_value: Some(cel),
        goal: "told".to_owned(),
        met: true,
    });
    Ok(())
}

/// How long it took to have the API server look at one.
pub async fn created(client: &Client, namespace: &str, object: &Deployment) -> Result<Duration> {
    let all: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let began = Instant::now();
    all.create(&dry, object).await?;
    Ok(began.elapsed())
}

/// No container starts one of a thousand tools.
async fn written_in_cel(client: &Client) -> Result<()> {
    let namespace = json!({"metadata": {"name": CEL}});
    put::<Namespace>(&Api::all(client.clone()), namespace).await?;
    let tools: Vec<String> = (0..1000).map(|n| format!("'tool-{n}'")).collect();
    let expression = format!(
        "object.spec.template.spec.containers.all(c, !has(c.command) || !c.command.exists(w, w in [{}]))",
        tools.join(", ")
    );
    let policy = json!({"metadata": {"name": CEL}, "spec": {"failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]},
        "validations": [
            {"expression": expression},
            {"expression": "object.metadata.name != 'no-such'", "message": "the policy holds"}]}});
    put::<ValidatingAdmissionPolicy>(&Api::all(client.clone()), policy).await?;
    let binding = json!({"metadata": {"name": CEL}, "spec": {"policyName": CEL, "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": CEL}}}}});
    put::<ValidatingAdmissionPolicyBinding>(&Api::all(client.clone()), binding).await?;
    let mut object: Deployment = serde_json::from_value(deployment(4))?;
    object.metadata.name = Some("no-such".to_owned());
    let holds = async {
        while created(client, CEL, &object).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, holds).await?;
    Ok(())
}
