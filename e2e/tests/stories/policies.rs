//! The policies at the door: who asked is true, nobody borrows rights, and status is the operator's. Each with one accept and one reject.

mod accounts;
mod hosts;
mod operator;
mod stamp;
mod verbs;

use std::time::Duration;

use e2e::{Cluster, wait_for};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

const API: &str = "pilothouse.dev/v1alpha1";
const SOON: Duration = Duration::from_secs(20);

fn run(account: &str) -> Value {
    json!({"apiVersion": API, "kind": "JobRun", "metadata": {"name": "run"},
            "spec": {"jobRef": {"name": "no-such-job"}, "serviceAccountName": account}})
}

fn schedule(account: &str) -> Value {
    json!({"apiVersion": API, "kind": "ScheduledTask", "metadata": {"name": "task"}, "spec": {
        "schedule": {"every": "1h"}, "jobRef": {"name": "no-such-job"}, "serviceAccountName": account}})
}

fn ticket(plan: &Value) -> Value {
    json!({"apiVersion": API, "kind": "ChangeTicket", "metadata": {"name": "ticket"}, "spec": {
        "title": "t", "type": "Regular", "level": "D", "plan": plan, "implementers": {"users": ["i"]}, "review": [{"name": "l", "users": ["r"]}],
        "window": {"start": "2027-01-01T00:00:00Z", "end": "2027-01-01T02:00:00Z"}}})
}

fn planned(account: &str) -> Value {
    ticket(&json!({"job": {"jobRef": {"name": "no-such-job"}, "serviceAccountName": account}}))
}

fn solution(account: &str) -> Value {
    json!({"apiVersion": API, "kind": "ChangeSolution", "metadata": {"name": "solution"}, "spec": {
        "title": "t", "plan": {"job": {"jobRef": {"name": "no-such-job"}, "serviceAccountName": account}}, "review": [{"name": "l", "users": ["r"]}]}})
}

fn change_action(action: &str) -> Value {
    let mut object = json!({"apiVersion": API, "kind": "ChangeAction", "metadata": {"name": "action"},
            "spec": {"ticketRef": {"name": "ticket"}, "action": action}});
    if action == "Complete" {
        object["spec"]["result"] = json!({"outcome": "Failed", "note": "n"});
    }
    object
}

fn host(spec: &Value) -> Value {
    let mut object = json!({"apiVersion": API, "kind": "Host", "metadata": {"name": "host"}, "spec": {
        "type": "VirtualMachine", "address": "192.0.2.1", "credentialsRef": {"name": "key"}, "hostKeyPolicy": "TrustOnFirstUse",
    }});
    object["spec"]
        .as_object_mut()
        .expect("an object")
        .extend(spec.as_object().expect("an object").clone());
    object
}

fn job(on_hosts: &Value, of_the_step: &Value) -> Value {
    let mut object = json!({"apiVersion": API, "kind": "Job", "metadata": {"name": "job"}, "spec": {
        "targets": {"hosts": on_hosts}, "steps": [{"name": "one", "inline": {"content": "true"}}, {"name": "two", "inline": {"content": "true"}}],
    }});
    if !of_the_step.is_null() {
        object["spec"]["steps"][1]["targets"] = json!({"hosts": of_the_step});
    }
    object
}

fn action(action: &str) -> Value {
    json!({"apiVersion": API, "kind": "RunAction", "metadata": {"name": "action"},
            "spec": {"runRef": {"name": "run"}, "action": action}})
}

fn script(content: &str) -> Value {
    json!({"apiVersion": API, "kind": "Script", "metadata": {"name": "script"}, "spec": {"content": content}})
}

fn writer() -> Value {
    json!({"apiGroups": ["pilothouse.dev"], "resources": ["*"], "verbs": ["get", "create", "patch", "update"]})
}

fn requester(object: &DynamicObject) -> (&str, Vec<&str>) {
    let written = &object.data["spec"]["requestedBy"];
    let groups = written["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    (written["user"].as_str().expect("a stamp"), groups)
}

#[tokio::test]
async fn every_policy_compiles_against_the_types_it_is_for() {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(Cluster::connect().await.client());
    let all = policies.list(&ListParams::default()).await;
    let names = all.expect("an administrator lists policies").into_iter();
    let ours: Vec<_> = names
        .map(|policy| policy.name_any())
        .filter(|name| name.starts_with("pilothouse-"))
        .collect();
    assert!(ours.len() >= 9, "only {ours:?}");
    for name in ours {
        let checked = |policy: Option<&ValidatingAdmissionPolicy>| {
            policy.is_some_and(|policy| {
                let status = policy.status.as_ref();
                status.and_then(|s| s.observed_generation) == policy.metadata.generation
            })
        };
        let policy = wait_for(policies.clone(), &name, "type checking", SOON, checked).await;
        let checking = policy.status.and_then(|status| status.type_checking);
        let warnings = checking.and_then(|checking| checking.expression_warnings);
        assert_eq!(warnings.unwrap_or_default(), [], "{name}");
    }
}
