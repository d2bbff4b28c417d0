//! What a Job is made of, and what a run may carry in itself.

use serde_json::{Value, json};

use super::{Case, merge};

pub fn cases() -> Vec<Case> {
    [step_cases(), job_cases(), flow_cases(), asking_cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// The least job with one step written over.
fn step(over: &Value) -> Value {
    let mut one = json!({"name": "one", "inline": {"content": "true"}});
    merge(&mut one, over);
    json!({"steps": [one]})
}

fn targets(targets: &Value) -> Value {
    json!({"targets": targets})
}

fn step_cases() -> Vec<Case> {
    let kind = "Job";
    vec![
        Case {
            kind,
            accept: step(&json!({"inline": null, "script": {"name": "restart"}})),
            reject: step(&json!({"script": {"name": "restart"}})),
            message: "a step has exactly one body: script, inline, file, exec, pod, http, wait, pause, approval, action or job",
        },
        Case {
            kind,
            accept: step(&json!({"inline": null, "pod": {"image": "local/busybox:1"}})),
            reject: step(
                &json!({"inline": null, "pod": {"image": "local/busybox:1"}, "targets": {"none": {}}}),
            ),
            message: "a pod, job or approval step is taken once and takes no targets",
        },
        Case {
            kind,
            accept: step(&json!({"inline": null, "job": {"name": "other"}})),
            reject: step(
                &json!({"inline": null, "job": {"name": "other"}, "targets": {"none": {}}}),
            ),
            message: "a pod, job or approval step is taken once and takes no targets",
        },
        Case {
            kind,
            accept: json!({"steps": [{"name": "one", "inline": {"content": "true"}}, {"name": "two", "needs": ["one"], "inline": {"content": "true"}}]}),
            reject: step(&json!({"needs": ["one"]})),
            message: "a step cannot need itself",
        },
        Case {
            kind,
            accept: step(&json!({"inline": null, "exec": {"command": ["true"]}})),
            reject: step(&json!({"inline": null, "exec": {"command": ["true"]}, "retries": 1})),
            message: "exec happens at most once and takes no retries",
        },
        Case {
            kind,
            accept: step(&json!({"inline": null, "file": {"path": "/etc/a", "content": ""}})),
            reject: step(
                &json!({"inline": null, "file": {"path": "/etc/a", "content": "", "secret": {"name": "a", "key": "b"}}}),
            ),
            message: "a file comes from exactly one of content, configMap, secret, url and oci",
        },
        Case {
            kind,
            accept: step(&json!({"runAs": "deploy"})),
            reject: step(
                &json!({"inline": null, "exec": {"command": ["true"]}, "runAs": "deploy"}),
            ),
            message: "runAs is for script, inline and file",
        },
    ]
}

/// How steps depend on each other, and the bodies that ask and act.
fn flow_cases() -> Vec<Case> {
    let kind = "Job";
    let two =
        |second: &Value| json!({"steps": [{"name": "one", "inline": {"content": "true"}}, second]});
    let http = |http: &Value| step(&json!({"inline": null, "http": http}));
    vec![
        Case {
            kind,
            accept: two(
                &json!({"name": "two", "needs": ["one"], "runOn": "Failure", "inline": {"content": "true"}}),
            ),
            reject: two(&json!({"name": "two", "runOn": "Failure", "inline": {"content": "true"}})),
            message: "runOn is about the steps that this one needs; name them",
        },
        Case {
            kind,
            accept: step(&json!({"outputs": [{"name": "version"}]})),
            reject: step(
                &json!({"inline": null, "exec": {"command": ["true"]}, "outputs": [{"name": "version"}]}),
            ),
            message: "outputs come from script, inline, pod and job",
        },
        Case {
            kind,
            accept: step(&json!({"outputs": [{"name": "token", "sensitive": true}]})),
            reject: step(
                &json!({"outputs": [{"name": "token", "sensitive": true, "default": "x"}]}),
            ),
            message: "a sensitive output has no default",
        },
        Case {
            kind,
            accept: step(&json!({"forEach": ["a"]})),
            reject: step(&json!({"forEach": ["a"], "outputs": [{"name": "version"}]})),
            message: "a step of forEach has no outputs; there would be several of each",
        },
        Case {
            kind,
            accept: http(&json!({"url": "http://example.org/", "method": "Post", "body": "x"})),
            reject: http(&json!({"url": "http://example.org/", "body": "x"})),
            message: "Get and Head send no body",
        },
        Case {
            kind,
            accept: step(&json!({"inline": null, "action": {"reboot": {}}})),
            reject: step(&json!({"inline": null, "action": {"reboot": {}, "drain": {}}})),
            message: "an action is exactly one operation",
        },
        Case {
            kind,
            accept: json!({"onFailure": [{"name": "undo", "inline": {"content": "true"}}]}),
            reject: json!({"onFailure": [{"name": "undo", "needs": ["one"], "inline": {"content": "true"}}]}),
            message: "a step of onFailure has a name of its own and no needs or runOn; they go one after the other",
        },
    ]
}

/// A step that waits for people.
fn asking_cases() -> Vec<Case> {
    let kind = "Job";
    let asks = |approval: Value, more: Value| {
        let mut over = json!({"inline": null, "approval": approval});
        merge(&mut over, &more);
        let mut job = step(&over);
        // A body without targets.
        job["targets"] = Value::Null;
        job
    };
    let once = "an approval is asked for once: it takes no retries and no forEach, and no continueOnFailure, which would leave out what people decide; see onExpiry";
    let wrong = |more: Value| Case {
        kind,
        accept: asks(json!({}), json!({})),
        reject: asks(json!({}), more),
        message: once,
    };
    vec![
        wrong(json!({"retries": 1})),
        wrong(json!({"forEach": ["a"]})),
        wrong(json!({"continueOnFailure": true})),
        Case {
            kind,
            accept: asks(json!({}), json!({})),
            reject: asks(json!({}), json!({"targets": {"none": {}}})),
            message: "a pod, job or approval step is taken once and takes no targets",
        },
        Case {
            kind,
            accept: asks(
                json!({"approvals": 2, "users": ["a"], "groups": ["g"]}),
                json!({}),
            ),
            reject: asks(json!({"approvals": 2, "users": ["a"]}), json!({})),
            message: "users names fewer people than approvals asks for",
        },
    ]
}

fn job_cases() -> Vec<Case> {
    let kind = "Job";
    vec![
        Case {
            kind,
            accept: json!({}),
            reject: step(&json!({"needs": ["two"]})),
            message: "needs names a step that this job does not have",
        },
        Case {
            kind,
            accept: json!({"targets": null, "steps": [{"name": "one", "inline": {"content": "true"}, "targets": {"hosts": {"names": ["a"]}}}]}),
            reject: json!({"targets": null}),
            message: "a step with this body needs targets, its own or the job's",
        },
        Case {
            kind,
            accept: targets(&json!({"hosts": null, "pods": {"names": ["web-0"]}})),
            reject: targets(&json!({"pods": {"names": ["web-0"]}})),
            message: "targets is exactly one of hosts, pods, workloads, nodes and none",
        },
        Case {
            kind,
            accept: targets(
                &json!({"hosts": {"names": null, "selector": {"matchLabels": {"app": "shop"}}}}),
            ),
            reject: targets(&json!({"hosts": {"selector": {"matchLabels": {"app": "shop"}}}})),
            message: "give either names or a selector",
        },
        Case {
            kind,
            accept: targets(
                &json!({"hosts": {"names": null, "selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}}),
            ),
            reject: targets(
                &json!({"hosts": {"names": null, "selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}}}),
            ),
            message: "In and NotIn take values; Exists and DoesNotExist take none",
        },
    ]
}
