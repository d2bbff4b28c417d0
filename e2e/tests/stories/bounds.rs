//! Every bound of the schemas: specs that use every field are accepted, and each bound of each field, broken by one, is rejected where it stands.

use std::collections::BTreeSet;

use crds::v1alpha1;
use e2e::{Cluster, Manifest, TestNamespace};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Value, json};

/// Specs that together use every field that people write.
const FULL: [(&str, &str); 31] = [
    (
        "Host",
        r"{type: PhysicalMachine, address: 192.0.2.1, port: 22, user: root, escalation: Sudo, credentialsRef: {name: key},
            serviceAccountName: pilothouse-runner, hostKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA], hostKeyPolicy: Pinned,
            jumpHostRef: {name: gate}, nodeName: node1, transport: Plain, requestedBy: {user: a, groups: [b]}}",
    ),
    (
        "Script",
        r#"{interpreter: Bash, content: "true", description: d, riskLevel: High, requestedBy: {user: a, groups: [b]},
            parameters: [{name: unit, description: d, default: a, required: false, pattern: "^a$", allowed: [a], sensitive: false}]}"#,
    ),
    (
        "Job",
        r#"{description: d, sharing: Shared, requestedBy: {user: a, groups: [b]}, targets: {hosts: {names: [a]}},
            parameters: [{name: unit, description: d, default: a, required: false, pattern: "^a$", allowed: [a], sensitive: false}],
            strategy: {batches: ["1", 100%], maxParallel: 5, pauseBetween: 1s, maxFailures: 1, onThreshold: Pause},
            steps: [{name: one, runAs: deploy, timeout: 1m, deliveryTimeout: 1m, retries: 1, backoff: 1s,
              inline: {interpreter: Python, content: pass, env: {A: b}}},
              {name: two, needs: [one], script: {name: s, parameters: {A: b}}}]}"#,
    ),
    (
        "Job",
        r"{steps: [{name: one, pod: {image: i, command: [c], args: [a], env: {A: b}, runAsUser: 1000,
            resources: {requests: {cpu: 10m}, limits: {memory: 1Gi}}}}]}",
    ),
    (
        "Job",
        r"{parameters: [{name: unit, from: {name: p, version: 1}}], steps: [{name: one, pause: {duration: 1s}}]}",
    ),
    (
        "Parameter",
        r#"{description: d, value: "1", type: Integer, pattern: "[0-9]+", allowed: ["1"], minimum: 1, maximum: 2, versionsKept: 5,
            consistentWith: [{namespace: other, name: p}], requestedBy: {user: a, groups: [b]}}"#,
    ),
    ("Parameter", r"{secretRef: {name: s, key: k, uid: u}}"),
    (
        "ChangeCalendar",
        r#"{description: d, default: Closed, timeZone: UTC, requestedBy: {user: a, groups: [b]},
            events: [{name: e, effect: Window, reason: r, start: "2027-01-01T10:00", end: "2027-01-01T12:00", rrule: FREQ=DAILY, exdates: ["2027-01-02"]}],
            ics: {effect: Freeze, text: "BEGIN:VCALENDAR"}}"#,
    ),
    (
        "ChangeCalendar",
        r#"{default: Open, timeZone: UTC, events: [{name: e, effect: Freeze, start: "2027-01-01T10:00Z", duration: 8h}]}"#,
    ),
    (
        "JobRun",
        r"{jobRef: {name: j}, jobRevision: 'sha256:0000000000000000000000000000000000000000000000000000000000000000', serviceAccountName: a, startDeadline: 1m, ttlAfterFinished: 1h, onlyFailedOf: {name: r}, ticket: t, parameters: {a: b}, secretParameters: {c: {name: s, key: k, uid: u}}, parameterRefs: {d: {name: p, version: 1}}, requestedBy: {user: a, groups: [b]}}",
    ),
    (
        "JobRun",
        r#"{job: {steps: [{name: one, inline: {content: "true"}, targets: {hosts: {names: [a]}}}]}}"#,
    ),
    (
        "RunAction",
        r"{runRef: {name: r}, action: Cancel, reason: because, requestedBy: {user: a, groups: [b]}}",
    ),
    ("RunAction", r"{runRef: {name: r}, action: Skip, step: a}"),
    (
        "RunAction",
        r"{runRef: {name: r}, action: SetMaxParallel, maxParallel: 2}",
    ),
    (
        "Approval",
        r"{subject: {kind: Script, name: s}, digest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000', decision: Reject, reason: because,
            expires: '2027-01-01T00:00:00Z', requestedBy: {user: a, groups: [b]}}",
    ),
    (
        "Approval",
        r"{subject: {kind: JobRun, name: r, step: s}, digest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000', decision: Approve}",
    ),
    (
        "CommandPolicy",
        r"{mode: Audit, applyTo: [Scripts, Runs, PodExec, Workloads], failurePolicy: Fail, breakGlass: {groups: [g], record: Required}, onUnknown: Warn, requestedBy: {user: a, groups: [b]},
            namespaceSelector: {matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v]}]},
            builtIn: {packs: [Files], exclude: [a], actions: [{name: b, action: Warn}]},
            rules: [{name: r, action: Deny, severity: High, why: w, safer: s, match: {commands: [c], subcommand: [s], flags: {anyOf: [-a], allOf: [-b]},
              args: {any: [a], anyPath: [/a], lastPath: [/a]}, unless: {flags: [-n], args: [a]}, redirectTo: [/a], assigns: [A], sql: [Truncate], shapes: [ForkBomb]}}]}",
    ),
    (
        "ProtectionPolicy",
        r"{mode: Audit, reason: r, requestedBy: {user: a, groups: [b]}, namespaces: [ns], breakGlass: {groups: [g], record: Required},
            namespaceSelector: {matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v]}]},
            rules: [{groups: [apps], resources: [deployments], names: ['a-*'], operations: [Update],
              selector: {matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v]}]}}],
            require: {openCalendars: [{namespace: ns, name: c}]}}",
    ),
    (
        "ProtectionPolicy",
        r"{reason: r, rules: [{resources: ['*']}], require: {nobody: {}}}",
    ),
    (
        "ProtectionPolicy",
        r"{reason: r, rules: [{resources: ['*']}], require: {ticket: {onConflict: {submit: Block, start: Warn},
            risk: {rules: [{name: r, sort: Business, when: 'true', score: 1, why: w}], review: [{score: 1, levels: 1}], blockAt: 1,
              personnel: {firstTime: 1, outOfHours: {score: 1, calendar: {namespace: ns, name: c}}, recentFailures: {score: 1, within: 1h}}}}}}",
    ),
    (
        "ChangeTicket",
        r#"{title: t, description: d, type: Urgent, level: A, scope: {hosts: [h], objects: [{group: apps, resource: deployments, name: web}]}, start: Manual, submit: true, ttlAfterFinished: 1h, calendarRefs: [{name: c}], requestedBy: {user: a, groups: [b]},
            window: {start: "2027-01-01T00:00:00Z", end: "2027-01-01T02:00:00Z", onClose: Abort, reserve: 10m},
            plan: {job: {jobRef: {name: j}, serviceAccountName: a, parameters: {a: b}, secretParameters: {c: {name: s, key: k, uid: u}}}},
            implementers: {users: [u], groups: [g]}, review: [{name: l, users: [u], groups: [g], rule: All}],
            regions: [{name: eu, window: {start: "2027-01-01T00:00:00Z", end: "2027-01-01T01:00:00Z", onClose: Pause, reserve: 5m}, implementers: {users: [u], groups: [g]},
                coordinators: {users: [u], groups: [g]}, hosts: [h], parameters: {a: b}}],
            allow: [{groups: [apps], resources: [deployments], names: ["web-*"], operations: [Scale, Update]}]}"#,
    ),
    (
        "ChangeTicket",
        r#"{title: t, type: Regular, level: D, window: {start: "2027-01-01T00:00:00Z", end: "2027-01-01T02:00:00Z"}, plan: {guide: g}, implementers: {users: [u]}, review: [{name: l, groups: [g]}]}"#,
    ),
    (
        "ChangeTicket",
        r#"{title: t, type: Regular, level: D, window: {start: "2027-01-01T00:00:00Z", end: "2027-01-01T02:00:00Z"}, plan: {solution: {name: s, parameters: {a: b}}}, implementers: {users: [u]}, review: [{name: l, groups: [g]}]}"#,
    ),
    (
        "ChangeSolution",
        r"{title: t, description: d, openParameters: [a], submit: true, requestedBy: {user: a, groups: [b]},
            plan: {job: {jobRef: {name: j}, serviceAccountName: a, parameters: {a: b}, secretParameters: {c: {name: s, key: k, uid: u}}}},
            review: [{name: l, users: [u], groups: [g], rule: All}]}",
    ),
    (
        "ChangeSolution",
        r"{title: t, plan: {guide: g}, review: [{name: l, groups: [g]}]}",
    ),
    (
        "ChangeAction",
        r"{ticketRef: {name: t}, action: Complete, reason: because, result: {outcome: Success, verified: InWindow, note: nn}, requestedBy: {user: a, groups: [b]}}",
    ),
    ("ChangeAction", r"{ticketRef: {name: t}, action: Start}"),
    (
        "BreakGlass",
        r"{reason: because, incident: i, expiresAfter: 1h, policies: [p], closed: false, requestedBy: {user: a, groups: [b]}}",
    ),
    (
        "ScheduledTask",
        r#"{description: d, schedule: {cron: "0 0 3 ? * *", timeZone: UTC}, calendars: {exclude: [{from: "2027-01-01", to: "2027-01-02", name: nn}], include: [{from: "2027-01-01", to: "2027-01-02", name: nn}]}, calendarRefs: [{name: c}],
            dst: Skip, misfire: {policy: RunAll, deadline: 1h}, concurrency: Replace, maxRuns: 3, expires: "2027-12-31T00:00:00Z", jitter: 1m, suspend: true, jobRef: {name: j},
            serviceAccountName: a, parameters: {a: b}, secretParameters: {c: {name: s, key: k, uid: u}}, parameterRefs: {d: {name: p, version: 1}}, history: {succeeded: 1, failed: 1}, requestedBy: {user: a, groups: [b]}}"#,
    ),
    (
        "ScheduledTask",
        r#"{schedule: {every: 6h, from: "2027-01-01T00:00:00Z"}, jobRef: {name: j}}"#,
    ),
    (
        "ScheduledTask",
        r#"{schedule: {at: "2027-01-01T00:00:00Z"}, jobRef: {name: j}}"#,
    ),
];

/// What a step can be besides, each with all that it takes.
const STEPS: [&str; 26] = [
    "{runOn: Success, when: 'true', continueOnFailure: true, forEach: [a], inline: {content: c}}",
    "{outputs: [{name: a, pattern: b, default: c}, {name: d, sensitive: true}], inline: {content: c}}",
    "{http: {url: 'http://a', method: Post, headers: {A: b}, body: c, caBundle: d, expect: {status: [200], body: e, headers: {F: g}}}}",
    "{wait: {object: {apiVersion: v1, kind: Pod, name: a}, until: 'true', every: 1s}}",
    "{pause: {duration: 1s}}",
    "{approval: {approvals: 1, groups: [a], users: [b], message: c, expiresAfter: 1h, onExpiry: Continue}}",
    "{job: {name: a, parameters: {b: c}}}",
    "{file: {path: /a, content: c, owner: 'a:b', mode: '0600', backups: 1}}",
    "{file: {path: /a, configMap: {name: c, key: k}}}",
    "{file: {path: /a, secret: {name: s, key: k, uid: u}}}",
    "{file: {path: /a, oci: {repository: 'a.b/c', sha256: '0000000000000000000000000000000000000000000000000000000000000000', maxBytes: 1, pullSecret: s, plainHTTP: true}}}",
    "{file: {path: /a, url: {from: 'http://a', sha256: '0000000000000000000000000000000000000000000000000000000000000000', maxBytes: 1}}}",
    "{action: {scale: {replicas: 1, wait: false}}}",
    "{action: {rolloutRestart: {wait: false}}}",
    "{action: {rolloutUndo: {wait: false}}}",
    "{action: {deletePod: {}}}",
    "{action: {evict: {}}}",
    "{action: {cordon: {}}}",
    "{action: {uncordon: {}}}",
    "{action: {drain: {gracePeriod: 1s, deleteEmptyDirData: true, force: true}}}",
    "{action: {label: {set: {a: b}}}}",
    "{action: {annotate: {set: {a: b}}}}",
    "{action: {patch: {merge: {a: b}}}}",
    "{action: {service: {unit: a, state: Started}}}",
    "{action: {reboot: {}}}",
    "{action: {packageHold: {packages: [a], held: true}}}",
];

/// Everything that targets can be, of a job and of a step.
const TARGETS: [&str; 9] = [
    "{none: {}}",
    "{hosts: {names: [a]}}",
    "{pods: {names: [a]}}",
    "{hosts: {selector: {matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v]}]}}}",
    "{pods: {selector: {matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v]}]}}}",
    "{nodes: {names: [a]}}",
    "{nodes: {selector: {matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v]}]}}}",
    "{workloads: {kind: Deployment, names: [a]}}",
    "{workloads: {kind: DaemonSet, selector: {matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v]}]}}}",
];

/// A value that breaks one bound of one field.
struct Breach {
    /// Where, as a JSON pointer into the spec.
    pointer: String,
    /// The value; none takes the field away.
    value: Option<Value>,
    /// Where, as the API server words it.
    field: String,
    says: &'static str,
}

#[tokio::test]
async fn full_specs_are_accepted() {
    let cluster = Cluster::connect().await;
    let namespace = TestNamespace::create(&cluster, "full").await;
    for (kind, spec) in full() {
        let answer = Manifest::of(kind, "asked", &spec)
            .within(namespace.name())
            .try_create(&cluster.client())
            .await;
        answer.unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[tokio::test]
async fn every_bound_broken_by_one_is_rejected() {
    let cluster = Cluster::connect().await;
    let namespace = TestNamespace::create(&cluster, "bounds").await;
    let client = cluster.client();
    let breaches: Vec<_> = full()
        .into_iter()
        .flat_map(|(kind, spec)| breaches(kind, &spec))
        .collect();
    assert!(
        breaches.len() > 150,
        "only {} breaches were made",
        breaches.len()
    );
    let asked = stream::iter(breaches).map(|(kind, spec, breach)| {
        let (client, manifest) = (
            client.clone(),
            Manifest::of(kind, "asked", &spec).within(namespace.name()),
        );
        async move {
            let refusal = manifest
                .try_create(&client)
                .await
                .map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
            let told = refusal.contains(&breach.field) && refusal.contains(breach.says);
            if told {
                Ok(())
            } else {
                Err(format!(
                    "{kind} {}: wanted {:?}, got {}",
                    breach.field,
                    breach.says,
                    v1alpha1::clip(&refusal, 600)
                ))
            }
        }
    });
    let outcome: Result<Vec<()>, String> = asked.buffer_unordered(8).try_collect().await;
    outcome.unwrap_or_else(|complaint| panic!("{complaint}"));
}

#[test]
fn full_specs_use_every_field() {
    let mut unused = BTreeSet::new();
    for crd in v1alpha1::all() {
        let kind = crd.spec.names.kind.clone();
        paths(&spec_schema(&kind), "", &mut |path| {
            unused.insert(format!("{kind} {path}"));
        });
    }
    for (kind, spec) in full() {
        used(&spec_schema(kind), &spec, "", &mut |path| {
            unused.remove(&format!("{kind} {path}"));
            // A run carries the very job that a Job is, and a step of onFailure is what any step is.
            let last = path.replacen("steps", "onFailure", 1);
            let run = if kind == "Job" { "JobRun job." } else { kind };
            unused.remove(&format!("{kind} {last}"));
            unused.remove(&format!("{run}{path}"));
            unused.remove(&format!("{run}{last}"));
        });
    }
    // No person writes it; the policies' own tests do.
    unused.retain(|path| !path.contains("onBehalfOf") && !path.contains("partOf"));
    // A rule keeps it out of Scripts.
    unused.retain(|path| !path.starts_with("Script parameters.from"));
    assert!(unused.is_empty(), "no full spec uses {unused:#?}");
}

fn full() -> Vec<(&'static str, Value)> {
    let read =
        |yaml: &str| serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
    let targeted = TARGETS.map(|yaml| {
        let targets: Value = read(yaml);
        ("Job", json!({"targets": targets, "steps": [{"name": "one", "exec": {"command": ["c"], "container": "c"}, "targets": targets}]}))
    });
    let steps = STEPS.map(|yaml| {
        let mut step: Value = read(yaml);
        step["name"] = json!("one");
        (
            "Job",
            json!({"targets": {"hosts": {"names": ["a"]}}, "steps": [step]}),
        )
    });
    let last = json!({"name": "two", "inline": {"content": "c"}});
    let failing = json!({"targets": {"hosts": {"names": ["a"]}}, "steps": [{"name": "one", "inline": {"content": "c"}}], "onFailure": [last]});
    FULL.map(|(kind, yaml)| (kind, read(yaml)))
        .into_iter()
        .chain(targeted)
        .chain(steps)
        .chain([("Job", failing)])
        .collect()
}

fn spec_schema(kind: &str) -> JSONSchemaProps {
    let crd = v1alpha1::all()
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind)
        .expect("a kind of this API");
    let schema = crd
        .spec
        .versions
        .into_iter()
        .next()
        .and_then(|version| version.schema)
        .and_then(|s| s.open_api_v3_schema);
    schema
        .and_then(|schema| schema.properties)
        .and_then(|mut properties| properties.remove("spec"))
        .expect("every kind has a spec")
}

/// Every breach of a full spec, each with the spec that has it.
fn breaches(kind: &'static str, spec: &Value) -> Vec<(&'static str, Value, Breach)> {
    let mut found = Vec::new();
    search(&spec_schema(kind), spec, "", "spec", &mut found);
    // The API server writes over this field whatever it says.
    found.retain(|breach| !breach.field.starts_with("spec.requestedBy"));
    found
        .into_iter()
        .map(|breach| (kind, broken(spec, &breach), breach))
        .collect()
}

fn broken(spec: &Value, breach: &Breach) -> Value {
    let mut spec = spec.clone();
    if let Some(value) = &breach.value {
        *spec.pointer_mut(&breach.pointer).expect("found there") = value.clone();
    } else {
        let (parent, name) = breach
            .pointer
            .rsplit_once('/')
            .expect("a pointer has a slash");
        spec.pointer_mut(parent)
            .and_then(Value::as_object_mut)
            .expect("found there")
            .remove(name);
    }
    spec
}

fn search(
    schema: &JSONSchemaProps,
    value: &Value,
    pointer: &str,
    field: &str,
    found: &mut Vec<Breach>,
) {
    for (broken, says) in of_value(schema, value) {
        found.push(Breach {
            pointer: pointer.into(),
            value: Some(broken),
            field: field.into(),
            says,
        });
    }
    match value {
        // A piece of an object of any kind has no bounds of ours.
        Value::Object(_) if schema.x_kubernetes_preserve_unknown_fields == Some(true) => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                let (pointer, field) = (format!("{pointer}/{name}"), format!("{field}.{name}"));
                let inner = schema
                    .properties
                    .as_ref()
                    .and_then(|properties| properties.get(name))
                    .or(entry(schema));
                search(
                    inner.expect("a full spec has no unknown field"),
                    value,
                    &pointer,
                    &field,
                    found,
                );
                if schema
                    .required
                    .iter()
                    .flatten()
                    .any(|required| required == name)
                {
                    found.push(Breach {
                        pointer,
                        value: None,
                        field,
                        says: "Required value",
                    });
                }
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                search(
                    item(schema).expect("a list has items"),
                    value,
                    &format!("{pointer}/{index}"),
                    &format!("{field}[{index}]"),
                    found,
                );
            }
        }
        _ => {}
    }
}

/// Values that break the bounds of one field by one, and what the API server says of each.
fn of_value(schema: &JSONSchemaProps, value: &Value) -> Vec<(Value, &'static str)> {
    let count = |bound: i64| usize::try_from(bound).expect("a bound is no negative number");
    let mut broken = Vec::new();
    let mut add = |value: Option<Value>, says| broken.extend(value.map(|value| (value, says)));
    if value.is_string() {
        add(
            schema
                .max_length
                .map(|max| json!("a".repeat(count(max) + 1))),
            "Too long",
        );
        add(
            schema
                .min_length
                .filter(|min| *min > 0)
                .map(|min| json!("a".repeat(count(min) - 1))),
            "should be at least",
        );
        add(
            schema.pattern.as_ref().map(|_| json!("\n!")),
            "should match",
        );
        add(
            schema.enum_.as_ref().map(|_| json!("Nonsense")),
            "Unsupported value",
        );
    }
    #[allow(clippy::cast_possible_truncation)]
    // The bounds are whole numbers; the schema's type has no other.
    if value.is_i64() {
        add(
            schema.maximum.map(|max| json!(max as i64 + 1)),
            "should be less than or equal to",
        );
        add(
            schema.minimum.map(|min| json!(min as i64 - 1)),
            "should be greater than or equal to",
        );
    }
    if let Some(items) = value.as_array() {
        add(
            schema
                .max_items
                .map(|max| json!(vec![items[0].clone(); count(max) + 1])),
            "must have at most",
        );
        add(
            schema.min_items.filter(|min| *min > 0).map(|_| json!([])),
            "should have at least",
        );
    }
    if let Some(entry) = value.as_object().and_then(|fields| fields.values().next()) {
        let many = |max: i64| {
            (0..=max)
                .map(|i| (format!("k{i}"), entry.clone()))
                .collect::<serde_json::Map<_, _>>()
        };
        add(
            schema.max_properties.map(|max| Value::Object(many(max))),
            "must have at most",
        );
    }
    broken
}

fn paths(schema: &JSONSchemaProps, path: &str, tell: &mut impl FnMut(&str)) {
    for (name, property) in schema.properties.iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        tell(&path);
        paths(property, &path, tell);
    }
    for inner in item(schema).into_iter().chain(entry(schema)) {
        paths(inner, path, tell);
    }
}

fn used(schema: &JSONSchemaProps, value: &Value, path: &str, tell: &mut impl FnMut(&str)) {
    for value in value.as_array().into_iter().flatten() {
        used(item(schema).expect("a list has items"), value, path, tell);
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        if let Some(property) = schema
            .properties
            .as_ref()
            .and_then(|properties| properties.get(name))
        {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            tell(&path);
            used(property, value, &path, tell);
        } else if let Some(inner) = entry(schema) {
            used(inner, value, path, tell);
        }
    }
}

fn item(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(item) => Some(item),
        JSONSchemaPropsOrArray::Schemas(items) => items.first(),
    }
}

fn entry(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.additional_properties.as_ref()? {
        JSONSchemaPropsOrBool::Schema(entry) => Some(entry),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}
