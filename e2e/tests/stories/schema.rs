//! Every rule of the schemas, asked of the API server, the only true evaluator: one accept and one reject each, and none left out.

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

/// The least job with one step written over.
fn step(over: &Value) -> Value {
    let mut one = json!({"name": "one", "inline": {"content": "true"}});
    merge(&mut one, over);
    json!({"steps": [one]})
}

fn targets(targets: &Value) -> Value {
    json!({"targets": targets})
}

fn parameter(over: &Value) -> Value {
    let mut one = json!({"name": "unit"});
    merge(&mut one, over);
    json!({"parameters": [one]})
}

fn host_cases() -> Vec<Case> {
    vec![Case {
        kind: "Host",
        accept: json!({"hostKeyPolicy": null, "hostKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"]}),
        reject: json!({"hostKeyPolicy": null}),
        message: "pin hostKeys, or set hostKeyPolicy to TrustOnFirstUse and give none",
    }]
}

fn parameter_cases(kind: &'static str) -> Vec<Case> {
    vec![
        Case {
            kind,
            accept: parameter(&json!({"required": true})),
            reject: parameter(&json!({"required": true, "default": "web"})),
            message: "a required parameter has no default",
        },
        Case {
            kind,
            accept: parameter(&json!({"sensitive": true})),
            reject: parameter(&json!({"sensitive": true, "default": "web"})),
            message: "a sensitive parameter has no default; its value comes from a Secret",
        },
        Case {
            kind,
            accept: parameter(&json!({"allowed": ["web", "db"], "default": "web"})),
            reject: parameter(&json!({"allowed": ["web", "db"], "default": "mail"})),
            message: "default must be one of allowed",
        },
    ]
}

/// Where a declared parameter gets its value from.
fn origin_cases() -> Vec<Case> {
    let from = |over: Value| {
        let mut one = json!({"from": {"name": "p"}});
        merge(&mut one, &over);
        parameter(&one)
    };
    vec![
        Case {
            kind: "Job",
            accept: from(json!({"sensitive": true})),
            reject: from(json!({"default": "web"})),
            message: "a parameter that comes from a Parameter has no default and is not required",
        },
        Case {
            kind: "Script",
            accept: parameter(&json!({})),
            reject: from(json!({})),
            message: "a Script's parameter has no from; its step gives the value, as a parameter of the Job may that comes from a Parameter",
        },
    ]
}

fn value_cases() -> Vec<Case> {
    let kind = "Parameter";
    let case = |accept: Value, reject: Value, message| Case {
        kind,
        accept,
        reject,
        message,
    };
    let secret = json!({"name": "s", "key": "k"});
    vec![
        case(
            json!({"value": null, "secretRef": secret}),
            json!({"secretRef": secret}),
            "give either value or secretRef",
        ),
        case(
            json!({"pattern": "1"}),
            json!({"value": null, "secretRef": secret, "pattern": "1"}),
            "type, pattern and allowed are of a plain value; what a Secret holds is read by runs alone",
        ),
        case(
            json!({"type": "Integer", "value": "-12"}),
            json!({"type": "Integer", "value": "1.5"}),
            "value is no whole number of at most 15 digits, which type Integer asks for",
        ),
        case(
            json!({"type": "Number", "value": "-1.5"}),
            json!({"type": "Number", "value": "1e9"}),
            "value is no decimal number, such as -1.5, which type Number asks for",
        ),
        case(
            json!({"type": "Boolean", "value": "true"}),
            json!({"type": "Boolean", "value": "True"}),
            "value is neither true nor false, which type Boolean asks for",
        ),
        case(
            json!({"type": "Number", "minimum": 1}),
            json!({"maximum": 1}),
            "minimum and maximum are of type Integer or Number",
        ),
        case(
            json!({"type": "Integer", "minimum": 1}),
            json!({"type": "Integer", "minimum": 2}),
            "value is below minimum",
        ),
        case(
            json!({"type": "Integer", "maximum": 1}),
            json!({"type": "Number", "value": "1.5", "maximum": 1}),
            "value is above maximum",
        ),
        case(
            json!({"allowed": ["1", "2"]}),
            json!({"allowed": ["2"]}),
            "value is not one of allowed",
        ),
        case(
            json!({"pattern": "1|2"}),
            json!({"value": "12", "pattern": "1|2"}),
            "value does not match pattern",
        ),
    ]
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

fn run_cases() -> Vec<Case> {
    let kind = "JobRun";
    let ad_hoc = json!({"jobRef": null, "job": least("Job")});
    let mut signed = ad_hoc.clone();
    signed["job"]["requestedBy"] = json!({"user": "somebody"});
    let revision = format!("sha256:{}", "0".repeat(64));
    let mut pinned = ad_hoc.clone();
    pinned["jobRevision"] = json!(revision);
    vec![
        Case {
            kind,
            accept: ad_hoc.clone(),
            reject: json!({"job": least("Job")}),
            message: "give either jobRef or job",
        },
        Case {
            kind,
            accept: json!({"jobRevision": revision}),
            reject: pinned,
            message: "jobRevision is of the Job in jobRef",
        },
        Case {
            kind,
            accept: ad_hoc,
            reject: signed,
            message: "a job written in a run has no requestedBy of its own",
        },
        Case {
            kind,
            accept: json!({"parameters": {"a": "1"}, "secretParameters": {"b": {"name": "s", "key": "k"}}}),
            reject: json!({"parameters": {"a": "1"}, "parameterRefs": {"a": {"name": "p"}}}),
            message: "a parameter is given in one of parameters, secretParameters and parameterRefs",
        },
    ]
}

fn action_cases() -> Vec<Case> {
    let kind = "RunAction";
    vec![
        Case {
            kind,
            accept: json!({"action": "Skip", "step": "a"}),
            reject: json!({"action": "ResumeFrom"}),
            message: "step is for Skip and ResumeFrom, and they need it",
        },
        Case {
            kind,
            accept: json!({"action": "SetMaxParallel", "maxParallel": 2}),
            reject: json!({"maxParallel": 2}),
            message: "maxParallel is for SetMaxParallel, which needs it",
        },
    ]
}

fn approval_cases() -> Vec<Case> {
    let kind = "Approval";
    vec![
        Case {
            kind,
            accept: json!({"decision": "Reject", "reason": "not today"}),
            reject: json!({"decision": "Reject"}),
            message: "whoever rejects says why; give reason",
        },
        Case {
            kind,
            accept: json!({"subject": {"kind": "JobRun", "step": "sign-off"}}),
            reject: json!({"subject": {"step": "sign-off"}}),
            message: "step is of a JobRun",
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

fn command_cases() -> Vec<Case> {
    let kind = "CommandPolicy";
    let matching = |over: Value| json!({"rules": [{"name": "r", "match": over, "action": "Deny", "why": "w"}]});
    let of = |over: Value| {
        let mut command = json!({"commands": ["c"]});
        merge(&mut command, &over);
        matching(command)
    };
    vec![
        Case {
            kind,
            accept: json!({"builtIn": {"exclude": ["a"], "actions": [{"name": "b", "action": "Warn"}]}}),
            reject: json!({"builtIn": {"exclude": ["a"], "actions": [{"name": "a", "action": "Warn"}]}}),
            message: "a rule is either excluded or given another action",
        },
        Case {
            kind,
            accept: json!({"rules": [{"name": "unknowable", "match": {"commands": ["c"]}, "action": "Deny", "why": "w"}]}),
            reject: json!({"rules": [{"name": "unknown", "match": {"commands": ["c"]}, "action": "Deny", "why": "w"}]}),
            message: "unknown is the name under which onUnknown is told; give the rule another",
        },
        Case {
            kind,
            accept: matching(json!({"redirectTo": ["/a"]})),
            reject: matching(json!({"args": {"any": ["a"]}})),
            message: "a rule names at least one of commands, redirectTo, assigns, sql and shapes",
        },
        Case {
            kind,
            accept: of(json!({"subcommand": ["a"]})),
            reject: matching(json!({"assigns": ["A"], "subcommand": ["a"]})),
            message: "subcommand is of a command: give commands",
        },
        Case {
            kind,
            accept: of(json!({"flags": {"anyOf": ["-a"]}})),
            reject: of(json!({"flags": {}})),
            message: "give anyOf or allOf",
        },
        Case {
            kind,
            accept: of(json!({"args": {"anyPath": ["/a"]}})),
            reject: of(json!({"args": {}})),
            message: "give any, anyPath or lastPath",
        },
        Case {
            kind,
            accept: of(json!({"unless": {"flags": ["-n"]}})),
            reject: of(json!({"unless": {}})),
            message: "give flags or args",
        },
    ]
}

fn protection_cases() -> Vec<Case> {
    let kind = "ProtectionPolicy";
    let calendars = json!([{"namespace": "a", "name": "c"}]);
    let chosen = |operations: Value| {
        let selector = json!({"matchLabels": {"a": "b"}});
        json!({"rules": [{"resources": ["pods"], "selector": selector, "operations": operations}]})
    };
    let entered =
        json!({"rules": [{"resources": ["pods"], "selector": {"matchLabels": {"a": "b"}}}]});
    let weighing = |risk: Value| json!({"require": {"nobody": null, "ticket": {"risk": risk}}});
    let labels = "what is scaled, evicted or entered shows no labels here: list operations without Scale, Evict, Exec, Attach and PortForward, and protect against these by names or namespaces";
    vec![
        Case {
            kind,
            accept: chosen(json!(["Create", "Update", "Delete", "EphemeralContainers"])),
            reject: chosen(json!(["Delete", "Exec"])),
            message: labels,
        },
        Case {
            kind,
            accept: chosen(json!(["Delete"])),
            reject: entered,
            message: labels,
        },
        Case {
            kind,
            accept: json!({"require": {"nobody": null, "openCalendars": calendars}}),
            reject: json!({"require": {"openCalendars": calendars}}),
            message: "require is exactly one of openCalendars, nobody and ticket",
        },
        Case {
            kind,
            accept: weighing(json!({"personnel": {"firstTime": 1}})),
            reject: weighing(json!({"blockAt": 50})),
            message: "nothing is weighed; give rules or personnel",
        },
        Case {
            kind,
            accept: weighing(json!({"personnel": {"recentFailures": {"score": 1}}})),
            reject: weighing(json!({"personnel": {}})),
            message: "personnel is at least one of firstTime, outOfHours and recentFailures",
        },
    ]
}

fn schedule_cases() -> Vec<Case> {
    let kind = "ScheduledTask";
    let schedule = |of: Value| json!({"schedule": of});
    vec![
        Case {
            kind,
            accept: schedule(json!({"cron": null, "at": "2027-01-01T00:00:00Z"})),
            reject: schedule(json!({"at": "2027-01-01T00:00:00Z"})),
            message: "a schedule has exactly one of at, cron and every",
        },
        Case {
            kind,
            accept: schedule(json!({"timeZone": "Asia/Shanghai"})),
            reject: schedule(json!({"timeZone": null})),
            message: "cron needs timeZone, such as Asia/Shanghai or UTC",
        },
        Case {
            kind,
            accept: schedule(json!({"cron": null, "every": "6h", "from": "2027-01-01T00:00:00Z"})),
            reject: schedule(json!({"from": "2027-01-01T00:00:00Z"})),
            message: "from is for every",
        },
        Case {
            kind,
            accept: schedule(json!({"cron": null, "every": "1s"})),
            reject: schedule(json!({"cron": null, "every": "999ms"})),
            message: "every is at least 1s",
        },
        Case {
            kind,
            accept: json!({"calendars": {"exclude": [{"from": "2027-01-01"}]}}),
            reject: json!({"schedule": {"cron": null, "timeZone": null, "every": "6h"}, "calendars": {}}),
            message: "calendars are dates of a zone; give schedule.timeZone",
        },
        Case {
            kind,
            accept: json!({"calendars": {"include": [{"from": "2027-01-01", "to": "2027-01-01"}]}}),
            reject: json!({"calendars": {"include": [{"from": "2027-01-02", "to": "2027-01-01"}]}}),
            message: "to is before from",
        },
        Case {
            kind,
            accept: json!({"misfire": {"deadline": "24h"}}),
            reject: json!({"misfire": {"deadline": "24h1s"}}),
            message: "deadline is at most 24h",
        },
        Case {
            kind,
            accept: json!({"parameters": {"a": "1"}, "secretParameters": {"b": {"name": "s", "key": "k"}}}),
            reject: json!({"parameters": {"a": "1"}, "parameterRefs": {"a": {"name": "p"}}}),
            message: "a parameter is given in one of parameters, secretParameters and parameterRefs",
        },
    ]
}

/// A rule of an event: what is written over a freeze of two hours.
fn event(accept: Value, reject: Value, message: &'static str) -> Case {
    let of = |over: Value| {
        let mut one = json!({"name": "one", "effect": "Freeze", "start": "2027-01-01T10:00", "end": "2027-01-01T12:00"});
        merge(&mut one, &over);
        json!({"events": [one]})
    };
    let (accept, reject) = (of(accept), of(reject));
    Case {
        kind: "ChangeCalendar",
        accept,
        reject,
        message,
    }
}

fn calendar_cases() -> Vec<Case> {
    let window = json!({"name": "one", "effect": "Window", "start": "2027-01-01"});
    vec![
        Case {
            kind: "ChangeCalendar",
            accept: json!({"events": [window]}),
            reject: json!({"default": "Open", "events": [window]}),
            message: "a Window opens what is closed; say default: Closed",
        },
        event(
            json!({"end": null, "duration": "2h"}),
            json!({"duration": "2h"}),
            "an event has end or duration, not both",
        ),
        event(
            json!({"start": "2027-01-01", "end": null}),
            json!({"end": null}),
            "an event that starts at a time of day has end or duration",
        ),
        event(
            json!({"start": "2027-01-01T10:00Z", "end": "2027-01-01T12:00:00Z"}),
            json!({"start": "2027-01-01"}),
            "start and end are written alike: both are dates, local times or times that end in Z",
        ),
        event(
            json!({"start": "2027-01-01", "end": "2027-01-01"}),
            json!({"end": "2027-01-01T10:00"}),
            "end is not after start",
        ),
        event(
            json!({"end": null, "duration": "8784h"}),
            json!({"end": null, "duration": "8784h1s"}),
            "duration is more than 0s and at most 8784h, which are 366 days",
        ),
        event(
            json!({"rrule": "FREQ=DAILY", "exdates": ["2027-01-02"]}),
            json!({"exdates": ["2027-01-02"]}),
            "exdates are for rrule",
        ),
    ]
}

fn change_cases() -> Vec<Case> {
    let ticket = |accept, reject, message| Case {
        kind: "ChangeTicket",
        accept,
        reject,
        message,
    };
    let action = |accept, reject, message| Case {
        kind: "ChangeAction",
        accept,
        reject,
        message,
    };
    let job = |over: Value| {
        let mut job = json!({"jobRef": {"name": "j"}, "parameters": {"a": "1"}});
        merge(&mut job, &over);
        json!({"plan": {"guide": null, "job": job}})
    };
    let merged = |mut base: Value, over: &Value| {
        merge(&mut base, over);
        base
    };
    let regions = |over: Value| {
        let window = json!({"start": "2027-01-01T00:00:00Z", "end": "2027-01-01T01:00:00Z"});
        json!({"regions": [merged(json!({"window": window}), &over)]})
    };
    let part_of = json!({"name": "t", "uid": "u", "digest": format!("sha256:{}", "0".repeat(64)), "region": "eu"});
    let secret = json!({"name": "s", "key": "k"});
    let report = |result: Value| json!({"action": "Complete", "result": result});
    vec![
        ticket(
            json!({"window": {"end": "2027-01-01T00:00:01Z"}}),
            json!({"window": {"end": "2027-01-01T00:00:00Z"}}),
            "window.end is not after window.start",
        ),
        ticket(
            json!({"window": {"reserve": "119m"}}),
            json!({"window": {"reserve": "2h"}}),
            "window.reserve leaves no time of the window",
        ),
        ticket(
            job(json!({})),
            json!({"plan": {"job": {"jobRef": {"name": "j"}}}}),
            "a plan is exactly one of job, guide and solution",
        ),
        ticket(
            json!({"plan": {"guide": null, "solution": {"name": "s"}}}),
            json!({"plan": {"solution": {"name": "s"}}}),
            "a plan is exactly one of job, guide and solution",
        ),
        ticket(
            job(json!({"secretParameters": {"b": secret}})),
            job(json!({"secretParameters": {"a": secret}})),
            "a parameter is given in one of parameters and secretParameters",
        ),
        ticket(
            json!({"implementers": {"users": null, "groups": ["g"]}}),
            json!({"implementers": {"users": []}}),
            "somebody has to carry the change out; name users or groups in implementers",
        ),
        ticket(
            json!({"review": [{"name": "l", "groups": ["g"]}]}),
            json!({"review": [{"name": "l"}]}),
            "a level without people agrees to nothing; name users or groups in review",
        ),
        ticket(
            regions(json!({"name": "eu"})),
            regions(json!({"name": "eu", "window": {"end": "2027-01-01T02:00:01Z"}})),
            "the window of a region is not within window",
        ),
        ticket(
            merged(
                job(json!({})),
                &regions(json!({"name": "eu", "parameters": {"a": "2"}})),
            ),
            regions(json!({"name": "eu", "parameters": {"a": "2"}})),
            "parameters of a region are for a plan with a job",
        ),
        ticket(
            regions(json!({"name": "eu"})),
            merged(regions(json!({"name": "eu"})), &json!({"partOf": part_of})),
            "a part of a change has no regions of its own",
        ),
        action(
            report(json!({"outcome": "Failed", "note": "n"})),
            json!({"action": "Complete"}),
            "result is for Complete, which needs it",
        ),
        action(
            report(json!({"outcome": "Success", "verified": "NotVerifiable"})),
            report(json!({"outcome": "Success", "note": "n"})),
            "a Success says how it was verified, and a Failed what went wrong in its note",
        ),
    ]
}

fn solution_cases() -> Vec<Case> {
    let case = |accept, reject, message| Case {
        kind: "ChangeSolution",
        accept,
        reject,
        message,
    };
    let open = |name: &str| {
        let job = json!({"jobRef": {"name": "j"}, "secretParameters": {"key": {"name": "s", "key": "k"}}});
        json!({"plan": {"guide": null, "job": job}, "openParameters": [name]})
    };
    vec![
        case(
            json!({"plan": {"guide": null, "job": {"jobRef": {"name": "j"}}}}),
            json!({"plan": {"job": {"jobRef": {"name": "j"}}}}),
            "the plan of a solution is exactly one of job and guide",
        ),
        case(
            open("unit"),
            json!({"openParameters": ["unit"]}),
            "openParameters are of a Job; a guide has none",
        ),
        case(
            open("unit"),
            open("key"),
            "a parameter whose value is kept in a Secret is not open; take it out of openParameters or of plan.job.secretParameters",
        ),
    ]
}

fn glass_cases() -> Vec<Case> {
    vec![Case {
        kind: "BreakGlass",
        accept: json!({"expiresAfter": "4h"}),
        reject: json!({"expiresAfter": "4h1s"}),
        message: "expiresAfter is from 1s to 4h",
    }]
}

fn cases() -> Vec<Case> {
    let jobs = step_cases()
        .into_iter()
        .chain(job_cases())
        .chain(flow_cases())
        .chain(asking_cases())
        .chain(parameter_cases("Job"));
    host_cases()
        .into_iter()
        .chain(parameter_cases("Script"))
        .chain(origin_cases())
        .chain(value_cases())
        .chain(jobs)
        .chain(run_cases())
        .chain(action_cases())
        .chain(approval_cases())
        .chain(change_cases())
        .chain(solution_cases())
        .chain(glass_cases())
        .chain(command_cases())
        .chain(protection_cases())
        .chain(schedule_cases())
        .chain(calendar_cases())
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
