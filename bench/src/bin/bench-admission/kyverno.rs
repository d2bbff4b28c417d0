//! Kyverno's admission controller, with a policy of the same meaning: a child of this process, asked straight as the webhook is.

use std::{path::PathBuf, time::Duration};

use bench::stage::put;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{
    Result,
    door::{self, ASKED},
    load::{self, Door},
    subject,
};

const SYSTEM: &str = "kyverno";
/// Where it is asked, by the API server, too.
const ADDRESS: &str = "172.31.250.1:9444";
const PORT: &str = "9444";
const PATIENCE: Duration = Duration::from_mins(3);

/// Without these it does not start; its settings may be empty.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("KYVERNO_NAMESPACE", SYSTEM),
    ("KYVERNO_SERVICEACCOUNT_NAME", "kyverno"),
    ("KYVERNO_DEPLOYMENT", "kyverno"),
    ("KYVERNO_SVC", "kyverno-svc"),
    ("KYVERNO_POD_NAME", "kyverno-0"),
    ("INIT_CONFIG", "kyverno"),
    ("METRICS_CONFIG", "kyverno-metrics"),
];
const AUTHORITY: &str = "kyverno-ca";

/// Its program.
pub struct Kyverno(PathBuf);

impl Kyverno {
    /// Where the environment names it.
    pub fn of_environment() -> Option<Self> {
        std::env::var_os("PILOTHOUSE_BENCH_KYVERNO").map(|program| Self(program.into()))
    }

    /// Answers a second to as many callers as ask the webhook, with nothing refused but what has to be.
    pub async fn rate(&self, client: &Client, forbidden: &str) -> Result<f64> {
        put::<Namespace>(
            &Api::all(client.clone()),
            json!({"metadata": {"name": SYSTEM}}),
        )
        .await?;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), SYSTEM);
        for name in ["kyverno", "kyverno-metrics"] {
            put(&maps, json!({"metadata": {"name": name}})).await?;
        }
        let child = self.start()?;
        let bundle = timeout(PATIENCE, bundle(client)).await??;
        timeout(PATIENCE, forbid(client)).await??;
        let door = Door {
            url: format!("https://{ADDRESS}/validate/fail"),
            bundle,
        };
        let callers = load::callers(&door, forbidden).await?;
        let rate = load::unpaced(&callers, &door::review(4)).await?;
        let resident = subject::resident(&child)?;
        println!("Kyverno: {rate:.0} answers a second, {resident:.0} MiB resident");
        Ok(rate)
    }

    /// Outside the cluster, without reports, metrics and a line of its log for each request, which nobody reads here. It ends with its handle.
    fn start(&self) -> Result<Child> {
        let kubeconfig = std::env::var("KUBECONFIG")?;
        let mut kyverno = Command::new(&self.0);
        kyverno
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg(format!("--serverIP={ADDRESS}"))
            .arg(format!("--servicePort={PORT}"))
            .arg(format!("--webhookServerPort={PORT}"))
            .arg(format!("--caSecretName={AUTHORITY}"))
            .args(["--tlsSecretName=kyverno-tls", "--tlsKeyAlgorithm=ECDSA"])
            .args([
                "--v=1",
                "--disableMetrics=true",
                "--controllerRuntimeMetricsAddress=0",
            ])
            .args([
                "--admissionReports=false",
                "--omitEvents=PolicyApplied,PolicySkipped,PolicyViolation",
            ])
            .envs(ENVIRONMENT);
        Ok(kyverno.kill_on_drop(true).spawn()?)
    }
}

/// The authority that it makes itself.
async fn bundle(client: &Client) -> Result<String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    loop {
        let secret = secrets.get_opt(AUTHORITY).await?;
        if let Some(bundle) = secret.and_then(|secret| secret.data?.remove("tls.crt")) {
            return Ok(String::from_utf8(bundle.0)?);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// What the policy forbids that the webhook is asked about, in the way that costs Kyverno least: one rule with all names. It does not read what a script starts.
async fn forbid(client: &Client) -> Result<()> {
    let kind = GroupVersionKind::gvk("kyverno.io", "v1", "ClusterPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "clusterpolicies");
    let policies: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let policy = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "bench-0"}, "spec": {
        "validationFailureAction": "Enforce", "background": false, "failurePolicy": "Fail", "rules": [rule()]}});
    let policy = serde_json::from_value(policy)?;
    loop {
        match policies.create(&PostParams::default(), &policy).await {
            // It looks at policies itself, and for a moment is not there to do so.
            Err(kube::Error::Api(refusal)) if refusal.code >= 500 => {
                sleep(Duration::from_millis(500)).await;
            }
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => return Ok(()),
            created => return Ok(created.map(drop)?),
        }
    }
}

fn rule() -> Value {
    json!({"name": "no-tools",
        "match": {"any": [{"resources": {"kinds": ["Deployment"], "namespaces": [ASKED]}}]},
        "validate": {"message": "it changes what the configuration management keeps", "deny": {"conditions": {"any": [
            {"key": "{{ request.object.spec.template.spec.containers[].command[] || `[]` }}", "operator": "AnyIn", "value": door::tools(0)}]}}}})
}
