//! What CommandPolicies make of a script, asked before anybody applies it: the same judgement as at a run's start, with the policies that are there now.

use std::{collections::BTreeMap, fs, io};

use crds::v1alpha1::{CommandAction, CommandPolicy, Interpreter, RiskLevel, ScriptSpec};
use decide::{
    command::{Finding, Rulebook},
    gate,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;

use crate::{
    args::CheckArgs,
    cluster::Cluster,
    error::{Error, REFUSED, Result, doing},
    output::{self, Format},
    table::table,
};

/// Columns for people.
const HEAD: [&str; 7] = [
    "AT", "EFFECT", "SEVERITY", "RULE", "COMMAND", "REASON", "INSTEAD",
];

pub async fn check(cluster: &Cluster, asked: &CheckArgs, format: Option<Format>) -> Result<u8> {
    let content = read(asked)?;
    let books = books(cluster).await?;
    let script = script(content, asked.interpreter.into());
    let findings = gate::of_script(&script, &books);
    let (name, shown) = (asked.file.display().to_string(), gate::shown(&findings));
    output::result(&json!({"findings": shown}), format, &name, |_| {
        told(&findings, books.len())
    })?;
    let held = findings.iter().any(|f| f.effect > CommandAction::Warn);
    Ok(if held { REFUSED } else { 0 })
}

fn read(asked: &CheckArgs) -> Result<String> {
    let content = if asked.file.as_os_str() == "-" {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(&asked.file)
    };
    content.map_err(|source| Error::Read {
        path: asked.file.display().to_string(),
        source,
    })
}

/// The rules that hold in the namespace.
async fn books(cluster: &Cluster) -> Result<Vec<Rulebook>> {
    let policies: Api<CommandPolicy> = Api::all(cluster.client.clone());
    let policies = policies.list(&ListParams::default()).await;
    let policies = policies.map_err(doing("read the CommandPolicies"))?;
    let labels = if policies.iter().any(|p| p.spec.namespace_selector.is_some()) {
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        let namespace = namespaces.get(&cluster.namespace).await;
        let reading = doing(format!("read namespace {}", cluster.namespace));
        namespace.map_err(reading)?.labels().clone()
    } else {
        BTreeMap::new()
    };
    gate::books(&policies.items, &labels).map_err(Error::Refused)
}

fn script(content: String, interpreter: Interpreter) -> ScriptSpec {
    ScriptSpec {
        interpreter,
        content,
        description: None,
        parameters: Vec::new(),
        risk_level: RiskLevel::default(),
        requested_by: None,
    }
}

fn told(findings: &[Finding], policies: usize) -> String {
    if findings.is_empty() {
        return format!("nothing found by {policies} CommandPolicies\n");
    }
    let row = |finding: &Finding| {
        vec![
            format!("{}:{}", finding.at.line, finding.at.column),
            format!("{:?}", finding.effect),
            format!("{:?}", finding.severity),
            format!("{}/{}", finding.policy, finding.rule),
            finding.command.clone(),
            finding.reason.clone(),
            finding.safer.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = findings.iter().map(row).collect();
    table(&HEAD, &rows)
}
