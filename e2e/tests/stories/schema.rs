//! Every rule of the schemas, asked of the API server, the only true evaluator: one accept and one reject each, and none left out.

mod changes;
mod jobs;
mod parameters;
mod policies;
mod runs;

use std::collections::BTreeSet;

use crds::v1alpha1;
use e2e::{Cluster, Manifest, TestNamespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Value, json};

/// One rule: what it accepts and what it rejects, both written over the least spec of the kind; null takes a field away.
struct Case {
    kind: &'static str,
    accept: Value,
    reject: Value,
    message: &'static str,
}

fn least(kind: &str) -> Value {
    match kind {
        "Host" => {
            json!({"type": "VirtualMachine", "address": "192.0.2.1", "credentialsRef": {"name": "key"}, "hostKeyPolicy": "TrustOnFirstUse"})
        }
        "Script" => json!({"content": "true"}),
        "Job" => {
            json!({"targets": {"hosts": {"names": ["a"]}}, "steps": [{"name": "one", "inline": {"content": "true"}}]})
        }
        "JobRun" => json!({"jobRef": {"name": "job"}}),
        "Parameter" => json!({"value": "1"}),
        "ChangeCalendar" => json!({"default": "Closed", "timeZone": "UTC"}),
        "RunAction" => json!({"runRef": {"name": "run"}, "action": "Cancel"}),
        "ChangeAction" => json!({"ticketRef": {"name": "ticket"}, "action": "Start"}),
        "BreakGlass" => json!({"reason": "r", "incident": "i"}),
        "ChangeTicket" => {
            json!({"title": "t", "type": "Regular", "level": "D", "plan": {"guide": "g"}, "implementers": {"users": ["i"]}, "review": [{"name": "l", "users": ["r"]}],
                "window": {"start": "2027-01-01T00:00:00Z", "end": "2027-01-01T02:00:00Z"}})
        }
        "ChangeSolution" => {
            json!({"title": "t", "plan": {"guide": "g"}, "review": [{"name": "l", "users": ["r"]}]})
        }
        "CommandPolicy" => {
            json!({"rules": [{"name": "r", "match": {"commands": ["c"]}, "action": "Deny", "why": "w"}]})
        }
        "ProtectionPolicy" => {
            json!({"rules": [{"resources": ["pods"]}], "require": {"nobody": {}}, "reason": "r"})
        }
        "Approval" => {
            json!({"subject": {"kind": "Script", "name": "script"}, "digest": format!("sha256:{}", "0".repeat(64)), "decision": "Approve"})
        }
        "ScheduledTask" => {
            json!({"schedule": {"cron": "0 15 3 ? * *", "timeZone": "UTC"}, "jobRef": {"name": "job"}})
        }
        other => panic!("no least spec of {other}"),
    }
}

fn host_cases() -> Vec<Case> {
    vec![Case {
        kind: "Host",
        accept: json!({"hostKeyPolicy": null, "hostKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"]}),
        reject: json!({"hostKeyPolicy": null}),
        message: "pin hostKeys, or set hostKeyPolicy to TrustOnFirstUse and give none",
    }]
}

fn cases() -> Vec<Case> {
    [
        host_cases(),
        parameters::cases(),
        jobs::cases(),
        runs::cases(),
        changes::cases(),
        policies::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Rules that look at the old object, too; `what_is_said_once_never_changes` asks them.
const OF_CHANGES: [&str; 6] = [
    "a JobRun is immutable; create another one, or control it with a RunAction",
    "a RunAction is immutable; create another one",
    "an Approval is immutable; create another one",
    "a ChangeAction is immutable; create another one",
    "a BreakGlass does not change, but for closed, which becomes true by whoever has created it; create another one, or end it by an Approval that rejects it",
    "ttlAfterFinished is given when the ticket is created, and stays as it is",
];

#[tokio::test]
async fn every_rule_accepts_what_is_right_and_rejects_what_is_not() {
    let cluster = Cluster::connect().await;
    let namespace = TestNamespace::create(&cluster, "schema").await;
    let client = cluster.client();
    for case in cases() {
        for (kind, accept, reject) in written(&case) {
            let answer = Manifest::of(kind, "asked", &accept)
                .within(namespace.name())
                .try_create(&client)
                .await;
            assert!(answer.is_ok(), "{kind}, {:?}: {answer:?}", case.message);
            let refusal = Manifest::of(kind, "asked", &reject)
                .within(namespace.name())
                .try_create(&client)
                .await;
            let refusal = refusal.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(
                refusal.contains(case.message),
                "{kind}, {:?}: {refusal:?}",
                case.message
            );
        }
    }
}

#[tokio::test]
async fn what_is_said_once_never_changes() {
    let cluster = Cluster::connect().await;
    let namespace = TestNamespace::create(&cluster, "immutable").await;
    let client = cluster.client();
    let changes = [
        ("JobRun", json!({"parameters": {"a": "1"}})),
        ("RunAction", json!({"reason": "another"})),
        ("Approval", json!({"reason": "another"})),
        ("ChangeAction", json!({"reason": "another"})),
        ("BreakGlass", json!({"reason": "another"})),
        ("ChangeTicket", json!({"ttlAfterFinished": "1h"})),
    ];
    for ((kind, change), message) in changes.into_iter().zip(OF_CHANGES) {
        let kept = Manifest::of(kind, "asked", &least(kind)).within(namespace.name());
        kept.create(&client)
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
        kept.apply(&client)
            .await
            .unwrap_or_else(|error| panic!("{kind} applied as it is: {error}"));
        let mut spec = least(kind);
        merge(&mut spec, &change);
        let refusal = Manifest::of(kind, "asked", &spec)
            .within(namespace.name())
            .apply(&client)
            .await;
        let refusal = refusal
            .expect_err("an immutable object changed")
            .to_string();
        assert!(refusal.contains(message), "{kind}: {refusal}");
    }
}

#[test]
fn no_rule_is_left_out() {
    let asked: BTreeSet<_> = cases()
        .iter()
        .map(|case| case.message)
        .chain(OF_CHANGES)
        .collect();
    let mut written = BTreeSet::new();
    for crd in v1alpha1::all() {
        let schema = crd.spec.versions[0]
            .schema
            .as_ref()
            .and_then(|s| s.open_api_v3_schema.as_ref());
        collect(schema.expect("every kind has a schema"), &mut written);
    }
    let written: BTreeSet<_> = written.iter().map(String::as_str).collect();
    assert_eq!(asked, written);
}

fn collect(schema: &JSONSchemaProps, found: &mut BTreeSet<String>) {
    found.extend(
        schema
            .x_kubernetes_validations
            .iter()
            .flatten()
            .filter_map(|rule| rule.message.clone()),
    );
    schema
        .properties
        .iter()
        .flat_map(|properties| properties.values())
        .for_each(|property| collect(property, found));
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        collect(item, found);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        collect(value, found);
    }
}

/// The specs of a case: a job's are also asked where a run carries the job in itself.
fn written(case: &Case) -> Vec<(&'static str, Value, Value)> {
    let over = |change: &Value| {
        let mut spec = least(case.kind);
        merge(&mut spec, change);
        spec
    };
    let (accept, reject) = (over(&case.accept), over(&case.reject));
    let mut all = vec![(case.kind, accept.clone(), reject.clone())];
    if case.kind == "Job" {
        all.push(("JobRun", json!({"job": accept}), json!({"job": reject})));
    }
    all
}

/// A JSON merge patch.
fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().expect("made one above");
    for (name, value) in change {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}
