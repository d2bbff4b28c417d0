//! The policies at the door: who asked is true, nobody borrows rights, and status is the operator's. Each with one accept and one reject.

use std::time::Duration;

use e2e::{
    Cluster, People, TestNamespace, accepted, cluster::demands_requester, eventually, refused,
    wait_for,
};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
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

fn secret(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "pilothouse.dev/ssh", "stringData": data})
}

fn script(content: &str) -> Value {
    json!({"apiVersion": API, "kind": "Script", "metadata": {"name": "script"}, "spec": {"content": content}})
}

fn forged_script(content: &str) -> Value {
    let mut object = script(content);
    object["spec"]["requestedBy"] = json!({"user": "system:admin", "groups": ["system:masters"]});
    object
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
async fn a_forged_requester_is_replaced_or_refused_on_create_and_on_change() {
    let scene = People::new("requester").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "scripts"))
        .await;
    let bob = scene
        .person("bob", "pilothouse-admin", ("create", "scripts"))
        .await;

    let forged = scene.write(forged_script("true")).unsigned();
    if demands_requester() {
        let message = ["Rule pilothouse-requester", "authenticated 'alice'"];
        refused(forged.try_create(&alice).await, &message);
    } else {
        let made = accepted(forged.try_create(&alice).await);
        assert_eq!(requester(&made).0, "alice");
    }
    let made = accepted(scene.write(forged_script("true")).create(&alice).await);
    assert_eq!(
        requester(&made),
        ("alice", vec!["testers", "system:authenticated"])
    );

    let changed = accepted(scene.write(forged_script("false")).apply(&bob).await);
    assert_eq!(
        requester(&changed).0,
        "bob",
        "whoever changes a spec answers for it"
    );

    let labelled = json!({"metadata": {"labels": {"team": "a"}}});
    let api = scene
        .write(script("false"))
        .api(&alice)
        .await
        .expect("scripts are served");
    let labelled = accepted(
        api.patch("script", &PatchParams::default(), &Patch::Merge(labelled))
            .await,
    );
    assert_eq!(
        requester(&labelled).0,
        "bob",
        "a label is no change of the spec"
    );
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

#[tokio::test]
async fn every_kind_is_stamped() {
    let scene = People::new("stamped").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let pods = json!({"apiVersion": API, "kind": "Job", "metadata": {"name": "job"}, "spec": {"steps": [{"name": "one", "pod": {"image": "local/busybox:1"}}]}});
    let all = [
        scene.write(script("true")),
        scene.write(pods),
        scene.write(run("pilothouse-runner")),
        scene.write(host(&json!({}))),
        scene.write(action("Cancel")),
        scene.write(schedule("pilothouse-runner")),
        scene.write(planned("pilothouse-runner")),
        scene.write(change_action("Cancel")),
        scene.write(solution("pilothouse-runner")),
    ];
    for manifest in all {
        assert_eq!(
            requester(&accepted(manifest.try_create(&alice).await)).0,
            "alice",
            "{}",
            manifest.title()
        );
    }
}

#[tokio::test]
async fn a_run_has_its_finalizer_from_the_start_where_the_api_server_can_put_it_there() {
    let scene = People::new("held").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let run = scene.write(run("pilothouse-runner"));
    let made = accepted(run.try_create(&alice).await);
    let held = made.finalizers().contains(&"pilothouse.dev/run".to_owned());
    assert_eq!(held, !demands_requester());
}

#[tokio::test]
async fn a_finalizer_of_the_operator_leaves_the_stamp_alone() {
    let scene = People::new("finalizer").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let run = scene.write(run("pilothouse-runner"));
    accepted(run.create(&alice).await);

    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    let api = run.api(&operator).await.expect("jobruns are served");
    let finalizer = json!({"metadata": {"finalizers": ["pilothouse.dev/run"]}});
    let kept = accepted(
        api.patch(
            "run",
            &PatchParams::default().dry_run(),
            &Patch::Merge(finalizer),
        )
        .await,
    );
    assert_eq!(requester(&kept).0, "alice");

    let edit = json!({"spec": {"serviceAccountName": "other"}});
    refused(
        api.patch(
            "run",
            &PatchParams::default().dry_run(),
            &Patch::Merge(edit),
        )
        .await,
        &["a JobRun is immutable"],
    );
}

#[tokio::test]
async fn work_is_done_only_as_an_account_that_its_writer_may_impersonate() {
    let scene = People::new("account").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let writer = scene
        .person_with("bob", json!([writer()]), ("create", "jobruns"), None)
        .await;

    accepted(
        scene
            .write(run("pilothouse-runner"))
            .try_create(&alice)
            .await,
    );
    accepted(scene.write(host(&json!({}))).try_create(&alice).await);
    let scheduled = scene.write(schedule("pilothouse-runner"));
    accepted(scheduled.try_create(&alice).await);
    let change = scene.write(planned("pilothouse-runner"));
    accepted(change.try_create(&alice).await);
    let solved = scene.write(solution("pilothouse-runner"));
    accepted(solved.try_create(&alice).await);
    let message = [
        "Rule pilothouse-account",
        "may not impersonate service account 'pilothouse-runner'",
        "Name an account that you may impersonate",
    ];
    refused(
        scene
            .write(run("pilothouse-runner"))
            .try_create(&writer)
            .await,
        &message,
    );
    refused(
        scene.write(host(&json!({}))).try_create(&writer).await,
        &message,
    );
    refused(scheduled.try_create(&writer).await, &message);
    refused(change.try_create(&writer).await, &message);
    refused(solved.try_create(&writer).await, &message);
    let by_hand = scene.write(ticket(&json!({"guide": "g"})));
    accepted(by_hand.try_create(&writer).await);
    refused(
        scene.write(run("cluster-admin")).try_create(&alice).await,
        &["service account 'cluster-admin'"],
    );
}

#[tokio::test]
async fn a_schedule_and_a_ticket_create_runs_only_for_those_who_may_create_them() {
    let scene = People::new("creates").await;
    let rules = json!([{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": ["pilothouse.dev"], "resources": ["scheduledtasks", "changetickets", "changesolutions"], "verbs": ["create"]}]);
    let bob = scene
        .person_with("bob", rules, ("impersonate", "serviceaccounts"), None)
        .await;
    let refusal = ["Rule pilothouse-account", "may not create jobruns"];
    let task = scene.write(schedule("pilothouse-runner"));
    refused(task.try_create(&bob).await, &refusal);
    let change = scene.write(planned("pilothouse-runner"));
    refused(change.try_create(&bob).await, &refusal);
    let uses = scene.write(ticket(&json!({"solution": {"name": "no-such-solution"}})));
    refused(uses.try_create(&bob).await, &refusal);
    let solved = scene.write(solution("pilothouse-runner"));
    refused(solved.try_create(&bob).await, &refusal);
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    accepted(task.try_create(&alice).await);
}

#[tokio::test]
async fn only_the_operator_says_for_whom_a_run_is() {
    let scene = People::new("behalf").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let mut run = run("pilothouse-runner");
    run["spec"]["onBehalfOf"] = json!([{"kind": "ScheduledTask", "name": "task", "uid": "1", "requestedBy": {"user": "root"}}]);
    let message = ["Rule pilothouse-account", "may not say for whom a run is"];
    refused(scene.write(run.clone()).try_create(&alice).await, &message);

    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    let unbound = ["Rule pilothouse-account", "may not impersonate"];
    refused(
        scene.write(run.clone()).try_create(&operator).await,
        &unbound,
    );
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pilothouse-impersonate-runner"},
        "subjects": [{"kind": "ServiceAccount", "name": "pilothouse-operator", "namespace": "pilothouse-system"}]});
    accepted(scene.write(binding).create(&scene.cluster.client()).await);
    let made = eventually("the operator's right", SOON, || async {
        scene.write(run.clone()).try_create(&operator).await.ok()
    })
    .await;
    assert_eq!(
        requester(&made).0,
        "system:serviceaccount:pilothouse-system:pilothouse-operator"
    );
}

#[tokio::test]
async fn only_the_operator_says_what_a_ticket_is_a_part_of() {
    let scene = People::new("parts-of").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "changetickets"))
        .await;
    let plain = ticket(&json!({"guide": "g"}));
    accepted(scene.write(plain.clone()).create(&alice).await);
    let mut part = plain.clone();
    part["spec"]["partOf"] = json!({"name": "whole", "uid": "1", "digest": format!("sha256:{}", "0".repeat(64)), "region": "eu"});
    let message = [
        "Rule pilothouse-account",
        "may not say what a ticket is a part of",
    ];
    refused(scene.write(part.clone()).try_apply(&alice).await, &message);
    part["metadata"]["name"] = "part".into();
    refused(scene.write(part.clone()).try_create(&alice).await, &message);

    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    accepted(scene.write(part.clone()).create(&operator).await);
    // Whoever may write tickets may change the rest of it, which nobody has agreed to then.
    part["spec"]["title"] = "u".into();
    accepted(scene.write(part.clone()).apply(&alice).await);
    part["spec"]["partOf"]["region"] = "us".into();
    refused(scene.write(part).try_apply(&alice).await, &message);
}

#[tokio::test]
async fn the_clusters_own_accounts_are_nobodys() {
    let cluster = Cluster::connect().await;
    let scene = People {
        namespace: TestNamespace::create(&cluster, "own").await,
        cluster,
    };
    let administrator = scene.cluster.client();
    for namespace in ["kube-system", "pilothouse-system"] {
        let answer = scene
            .write(run("pilothouse-runner"))
            .within(namespace)
            .try_create(&administrator)
            .await;
        refused(
            answer,
            &[
                "Rule pilothouse-account",
                "whose accounts are the cluster's own",
            ],
        );
    }
    accepted(
        scene
            .write(run("pilothouse-runner"))
            .try_create(&administrator)
            .await,
    );
}

#[tokio::test]
async fn a_node_and_a_jump_host_take_the_right_to_use_them() {
    let scene = People::new("node").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("use", "hosts"))
        .await;
    let rules = json!([writer(), {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}]);
    let writer = scene
        .person_with("bob", rules, ("impersonate", "serviceaccounts"), None)
        .await;

    refused(
        scene
            .write(host(&json!({"nodeName": "node1"})))
            .try_create(&alice)
            .await,
        &["Rule pilothouse-account", "may not use node 'node1'"],
    );
    accepted(
        scene
            .write(host(&json!({"nodeName": "node1"})))
            .try_create(&scene.cluster.client())
            .await,
    );
    let jump = json!({"jumpHostRef": {"name": "gate"}});
    refused(
        scene.write(host(&jump)).try_create(&writer).await,
        &["Rule pilothouse-account", "may not use host 'gate'"],
    );
    accepted(scene.write(host(&jump)).try_create(&alice).await);
}

#[tokio::test]
async fn work_is_written_only_for_hosts_that_its_writer_may_use() {
    let scene = People::new("use").await;
    let of_two = json!([writer(), {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "resourceNames": ["a", "b"], "verbs": ["use"]}]);
    let bob = scene
        .person_with("bob", of_two, ("use", "hosts"), Some("a"))
        .await;

    accepted(
        scene
            .write(job(&json!({"names": ["a"]}), &json!({"names": ["b", "a"]})))
            .try_create(&bob)
            .await,
    );
    let of_one = ["Rule pilothouse-use-hosts", "may not use host 'c'"];
    refused(
        scene
            .write(job(&json!({"names": ["a", "c"]}), &Value::Null))
            .try_create(&bob)
            .await,
        &of_one,
    );
    refused(
        scene
            .write(job(&json!({"names": ["a"]}), &json!({"names": ["c"]})))
            .try_create(&bob)
            .await,
        &of_one,
    );

    let mut inline = json!({"apiVersion": API, "kind": "JobRun", "metadata": {"name": "run"}, "spec": {"job": {
        "targets": {"hosts": {"names": ["a"]}}, "steps": [{"name": "one", "inline": {"content": "true"}}]}}});
    accepted(scene.write(inline.clone()).try_create(&bob).await);
    inline["spec"]["job"]["targets"]["hosts"]["names"] = json!(["c"]);
    refused(scene.write(inline).try_create(&bob).await, &of_one);
}

#[tokio::test]
async fn a_selector_and_many_hosts_take_the_right_to_use_every_host() {
    let scene = People::new("every").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("use", "hosts"))
        .await;
    let one = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "resourceNames": ["a"], "verbs": ["use"]}]);
    let bob = scene
        .person_with("bob", one, ("use", "hosts"), Some("a"))
        .await;

    let selector = json!({"selector": {"matchLabels": {"app": "shop"}}});
    refused(
        scene
            .write(job(&selector, &Value::Null))
            .try_create(&bob)
            .await,
        &["Rule pilothouse-use-hosts", "a selector may pick any"],
    );
    accepted(
        scene
            .write(job(&selector, &Value::Null))
            .try_create(&alice)
            .await,
    );

    let many: Vec<_> = (0..2000).map(|i| format!("host-{i}")).collect();
    let many = json!({"names": many});
    refused(
        scene.write(job(&many, &many)).try_create(&bob).await,
        &["Rule pilothouse-use-hosts", "4000 are named"],
    );
    accepted(scene.write(job(&many, &many)).try_create(&alice).await);
}

#[tokio::test]
async fn an_action_takes_the_verb_of_its_name_on_the_run() {
    let scene = People::new("action").await;
    let rules = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["jobruns"], "resourceNames": ["run"], "verbs": ["suspend"]}]);
    let bob = scene
        .person_with("bob", rules, ("suspend", "jobruns"), Some("run"))
        .await;

    accepted(scene.write(action("Suspend")).try_create(&bob).await);
    let of = |name: &str, of: Value| {
        let mut action = action(name);
        let spec = action["spec"].as_object_mut().expect("an object");
        spec.extend(of.as_object().expect("an object").clone());
        action
    };
    for (action, verb) in [
        (action("Cancel"), "cancel"),
        (action("Resume"), "resume"),
        (action("RetryFailed"), "retryfailed"),
        (of("Skip", json!({"step": "a"})), "skip"),
        (of("ResumeFrom", json!({"step": "a"})), "resumefrom"),
        (
            of("SetMaxParallel", json!({"maxParallel": 1})),
            "setmaxparallel",
        ),
    ] {
        refused(
            scene.write(action).try_create(&bob).await,
            &[
                "Rule pilothouse-run-action",
                &format!("may not {verb} run 'run'"),
            ],
        );
    }
}

#[tokio::test]
async fn an_approval_takes_the_verb_on_the_run_also_for_one_of_its_steps() {
    let scene = People::new("approval").await;
    let rules = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["jobruns"], "resourceNames": ["run"], "verbs": ["approve"]}]);
    let bob = scene
        .person_with("bob", rules, ("approve", "jobruns"), Some("run"))
        .await;
    let of = |run: &str, step: Option<&str>| {
        let mut subject = json!({"kind": "JobRun", "name": run});
        if let Some(step) = step {
            subject["step"] = json!(step);
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        scene.write(
            json!({"apiVersion": API, "kind": "Approval", "metadata": {"name": "approval"},
            "spec": {"subject": subject, "digest": digest, "decision": "Approve"}}),
        )
    };
    for step in [None, Some("sign-off")] {
        accepted(of("run", step).try_create(&bob).await);
        refused(
            of("other", step).try_create(&bob).await,
            &["Rule pilothouse-approval", "JobRun 'other'"],
        );
    }
    refused(
        of("other", Some("sign-off")).try_create(&bob).await,
        &["step 'sign-off' of JobRun 'other'"],
    );
}

#[tokio::test]
async fn an_action_on_a_change_takes_the_verb_of_its_name_on_the_ticket() {
    let scene = People::new("change-action").await;
    let rules = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["changetickets"], "resourceNames": ["ticket"], "verbs": ["start"]}]);
    let bob = scene
        .person_with("bob", rules, ("start", "changetickets"), Some("ticket"))
        .await;
    let start = scene.write(change_action("Start"));
    accepted(start.try_create(&bob).await);
    for (action, verb) in [("Cancel", "cancel"), ("Complete", "complete")] {
        refused(
            scene.write(change_action(action)).try_create(&bob).await,
            &[
                "Rule pilothouse-change-action",
                &format!("may not {verb} ticket 'ticket'"),
            ],
        );
    }
}

#[tokio::test]
async fn a_person_breaks_the_glass_and_nobody_takes_that_away_before_it_is_reviewed() {
    let scene = People::new("break-glass").await;
    let may = ("delete", "breakglasses");
    let eve = scene.person("eve", "pilothouse-breaker", may).await;
    let glass = scene.write(
        json!({"apiVersion": API, "kind": "BreakGlass", "metadata": {"name": "glass"},
        "spec": {"reason": "r", "incident": "i", "expiresAfter": "1s"}}),
    );
    let made = accepted(glass.create(&eve).await);
    assert_eq!(requester(&made).0, "eve");
    let api = glass.api(&eve).await.expect("breakglasses are served");
    let tried = api.delete("glass", &DeleteParams::default()).await;
    let error = tried.expect_err("nobody has reviewed it").to_string();
    assert!(error.contains("Rule pilothouse-break-glass"), "{error}");
}

#[tokio::test]
async fn status_is_written_by_the_operator_only() {
    let scene = People::new("status").await;
    let rules = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["scripts/status"], "verbs": ["patch"]}]);
    let bob = scene
        .person_with("bob", rules, ("patch", "scripts"), None)
        .await;
    let script = scene.write(script("true"));
    accepted(script.create(&bob).await);

    let status = json!({"status": {"revisionName": "forged"}});
    let parameters = PatchParams::default().dry_run();
    for client in [bob, scene.cluster.client()] {
        let api = script.api(&client).await.expect("scripts are served");
        let answer = api
            .patch_status("script", &parameters, &Patch::Merge(&status))
            .await;
        refused(
            answer,
            &[
                "Rule pilothouse-status",
                "may not write the status of Script 'script'",
            ],
        );
    }
    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    let api = script.api(&operator).await.expect("scripts are served");
    accepted(
        api.patch_status("script", &parameters, &Patch::Merge(&status))
            .await,
    );
}

#[tokio::test]
async fn a_viewer_looks_and_does_not_run() {
    let scene = People::new("viewer").await;
    let carol = scene
        .person("carol", "pilothouse-viewer", ("list", "jobruns"))
        .await;
    let writes = [
        scene.write(script("true")),
        scene.write(job(&json!({"names": ["host"]}), &Value::Null)),
        scene.write(run("pilothouse-runner")),
        scene.write(host(&json!({}))),
        scene.write(action("Cancel")),
    ];
    for manifest in writes {
        let api = manifest.api(&carol).await.expect("every kind is served");
        assert!(
            api.list(&ListParams::default()).await.is_ok(),
            "a viewer lists {}",
            manifest.title()
        );
        refused(
            manifest.try_create(&carol).await,
            &["carol", "cannot create resource"],
        );
    }
}

#[tokio::test]
async fn ssh_credentials_name_where_they_may_go() {
    let scene = People::new("secret").await;
    let administrator = scene.cluster.client();
    accepted(
        scene
            .write(secret(
                &json!({"addresses": "192.0.2.0/24", "ssh-privatekey": "key"}),
            ))
            .try_create(&administrator)
            .await,
    );
    accepted(
        scene
            .write(secret(
                &json!({"addresses": "192.0.2.1", "password": "pass"}),
            ))
            .try_create(&administrator)
            .await,
    );
    let needs = |what: &'static str| ["Rule pilothouse-ssh-secret", what];
    refused(
        scene
            .write(secret(&json!({"ssh-privatekey": "key"})))
            .try_create(&administrator)
            .await,
        &needs("needs the key addresses"),
    );
    refused(
        scene
            .write(secret(&json!({"addresses": "", "password": "pass"})))
            .try_create(&administrator)
            .await,
        &needs("needs the key addresses"),
    );
    refused(
        scene
            .write(secret(&json!({"addresses": "192.0.2.1"})))
            .try_create(&administrator)
            .await,
        &needs("ssh-privatekey or password"),
    );
    let opaque = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"}, "stringData": {"anything": "goes"}});
    accepted(scene.write(opaque).try_create(&administrator).await);
}

/// A revision of the form that holds a plan, where it is labelled as one.
fn revision(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": name, "labels": labels}, "data": {"steps": []}, "revision": 1})
}

#[tokio::test]
async fn only_the_operator_writes_plans_and_versions() {
    let scene = People::new("revision").await;
    let value = json!({"pilothouse.dev/parameter": "p"});
    let value = scene.write(revision("value", &value));
    let answer = value.try_create(&scene.cluster.client()).await;
    refused(answer, &["Rule pilothouse-revision", "'value'"]);
    let plan = scene.write(revision("plan", &json!({"pilothouse.dev/run": "r"})));
    refused(
        plan.try_create(&scene.cluster.client()).await,
        &["Rule pilothouse-revision", "'plan'"],
    );
    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    accepted(plan.try_create(&operator).await);
    let others = scene.write(revision("others", &json!({"app": "web"})));
    accepted(others.try_create(&scene.cluster.client()).await);
}

#[tokio::test]
async fn the_operator_takes_its_finalizer_off_a_pod_and_changes_nothing_else() {
    let scene = People::new("step-pod").await;
    let step = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "step", "finalizers": ["pilothouse.dev/result", "example.org/other"]},
        "spec": {"nodeName": "none", "securityContext": {"runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "image": "local/busybox:1",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}});
    let step = scene.write(step);
    let administrator = scene.cluster.client();
    // A new namespace has no account for pods for a moment.
    eventually("a pod in the namespace", SOON, || async {
        step.create(&administrator).await.ok()
    })
    .await;
    let operator = scene
        .cluster
        .as_account("pilothouse-system", "pilothouse-operator");
    let pods = step.api(&operator).await.expect("pods are served");
    let patch = |metadata: Value| Patch::Merge(json!({"metadata": metadata}));
    let parameters = PatchParams::default();
    for other in [
        json!({"labels": {"app": "web"}}),
        json!({"finalizers": ["pilothouse.dev/result"]}),
    ] {
        let answer = pods.patch("step", &parameters, &patch(other)).await;
        refused(answer, &["Rule pilothouse-step-pod", "'step'"]);
    }
    let released = json!({"finalizers": ["example.org/other"]});
    accepted(pods.patch("step", &parameters, &patch(released)).await);
    let pods = step.api(&administrator).await.expect("pods are served");
    let bare = json!({"finalizers": null});
    accepted(pods.patch("step", &parameters, &patch(bare)).await);
}
