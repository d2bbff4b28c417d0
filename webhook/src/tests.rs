//! The router as the API server meets it, and over TLS while its certificate changes.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use crds::v1alpha1::{BreakGlass, ChangeTicket, CommandPolicySpec, ProtectionPolicy};
use decide::{
    admission::Memory,
    change::conflict::{Diary, Kept as _},
    command::Rulebook,
};
use kube::Client;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::{
    answer::{Doors, router},
    audit::{Audit, tests::Kept},
    book::{Books, Ruled},
    glass::Glasses,
    metrics::Metrics,
};

fn doors(registry: &mut Registry) -> Router {
    told_to(registry, Kept::default(), Glasses::new())
}

fn doors_with(registry: &mut Registry, glasses: Glasses) -> Router {
    told_to(registry, Kept::default(), glasses)
}

fn telling(registry: &mut Registry, kept: Kept) -> Router {
    told_to(registry, kept, Glasses::new())
}

fn told_to(registry: &mut Registry, kept: Kept, glasses: Glasses) -> Router {
    router(behind(registry, kept, glasses))
}

fn behind(registry: &mut Registry, kept: Kept, glasses: Glasses) -> Doors {
    let spec = json!({"breakGlass": {"groups": ["testers"], "record": "Required"}, "applyTo": ["PodExec", "Workloads", "Scripts", "Runs"], "builtIn": {"packs": []},
        "rules": [{"name": "beep", "match": {"commands": ["beep"]}, "action": "Deny", "why": "w"},
            {"name": "ring", "match": {"commands": ["ring"]}, "action": "RequireTicket", "why": "w"}]});
    let spec: CommandPolicySpec = serde_json::from_value(spec).unwrap();
    let book = Ruled {
        memory: Memory::default(),
        rules: Rulebook::of("p", &spec).unwrap(),
        glass: spec.break_glass,
    };
    let wrong = Err("CommandPolicy wrong: no built-in rule is called x".to_owned());
    let books: Books = BTreeMap::from([
        ("p".to_owned(), Arc::new(Ok(book))),
        ("wrong".to_owned(), Arc::new(wrong)),
    ]);
    let (_, known) = watch::channel(Arc::new(books));
    let metrics = Metrics::new(registry);
    let (_, glasses) = watch::channel(Arc::new(glasses));
    Doors {
        known,
        glasses,
        permits: crate::permits::tests::known(),
        planned: planned(),
        client: stored(),
        audit: Arc::new(Audit::open(kept, "w-1", metrics.clone())),
        metrics,
    }
}

/// There are Job j, which runs Script s, and nothing else; whoever reads Job slow waits for ever.
fn stored() -> Client {
    let of = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    let service = tower::service_fn(move |request: Request<kube::client::Body>| async move {
        let found = match request.uri().path().rsplit_once("/namespaces/shop/") {
            Some((_, "jobs/j")) => Some(of("Job", "j", job(&json!({"script": {"name": "s"}})))),
            Some((_, "scripts/s")) => Some(of("Script", "s", json!({"content": "true; beep"}))),
            Some((_, "jobs/slow")) => std::future::pending().await,
            _ => None,
        };
        let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "", "reason": "NotFound", "code": 404});
        let code = if found.is_some() { 200 } else { 404 };
        let answer = axum::http::Response::builder().status(code);
        answer.body(Body::from(found.unwrap_or(gone).to_string()))
    });
    Client::new(service, "default")
}

/// A Job with a step that has this body.
fn job(body: &Value) -> Value {
    let mut step = json!({"name": "a"});
    let fields = step.as_object_mut().unwrap();
    fields.extend(body.as_object().unwrap().clone());
    json!({"targets": {"hosts": {"names": ["h"]}}, "steps": [step]})
}

/// Ticket move books host h1 for ever.
fn planned() -> Arc<RwLock<Diary>> {
    let mut diary = Diary::default();
    let mut ticket = ticket("move");
    ticket["status"] = json!({"conditions": [{"type": "Submitted", "status": "True", "reason": "Submitted", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let ticket: ChangeTicket = serde_json::from_value(ticket).unwrap();
    ticket.keep(&mut diary);
    Arc::new(RwLock::new(diary))
}

fn ticket(name: &str) -> Value {
    json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ChangeTicket", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"title": "t", "type": "Regular", "level": "C", "scope": {"hosts": ["h1"]}, "plan": {"guide": "g"},
            "window": {"start": "2026-01-01T00:00:00Z", "end": "2999-01-01T00:00:00Z"},
            "implementers": {"users": [name]}, "review": [{"name": "l", "users": ["bob"]}]}})
}

fn review(command: &[&str]) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "PodExecOptions"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "subResource": "exec", "name": "db-0", "namespace": "shop", "operation": "CONNECT", "userInfo": {"username": "bob", "groups": ["testers"]},
        "object": {"kind": "PodExecOptions", "apiVersion": "v1", "command": command, "container": "main"}, "oldObject": null, "dryRun": false, "options": null}})
}

async fn asked(router: Router, path: &str, body: &Value) -> (StatusCode, String) {
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Body::from(body.to_string())).unwrap();
    let answer = router.oneshot(request).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_review_is_answered_with_the_reason_and_a_copy_for_the_audit_log() {
    let mut registry = Registry::default();
    let kept = Kept::default();
    let doors = telling(&mut registry, kept.clone());
    let path = "/commands/p/exec";
    let mut tried = review(&["beep"]);
    tried["request"]["dryRun"] = json!(true);
    let (_, body) = asked(doors.clone(), path, &tried).await;
    assert!(
        !body.contains("denial"),
        "what is only tried is not written down: {body}"
    );
    let (status, body) = asked(doors.clone(), path, &review(&["beep"])).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_str(&body).unwrap();
    let id = answer["response"]["auditAnnotations"]["id"]
        .as_str()
        .unwrap();
    assert_eq!(
        answer,
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
            "uid": "u-1", "allowed": false,
            "status": {"code": 403, "reason": "Forbidden", "message": format!("rule beep of CommandPolicy p: w: beep; in an emergency a member of testers breaks the glass: kubectl pilothouse break-glass; kubectl pilothouse explain denial {id} -n shop")},
            "auditAnnotations": {"asked": "Deny", "decision": "Refused", "id": id, "policy": "p", "rules": "beep"}}})
    );
    let told = async || loop {
        if let Some(entry) = kept.0.lock().unwrap().first().cloned() {
            break entry;
        }
        tokio::task::yield_now().await;
    };
    let entry = told().await;
    assert_eq!((entry.id().as_str(), entry.number), (id, 1));
    let statement = &entry.statement;
    assert_eq!(
        (statement.actor.user.as_str(), statement.reason.as_str()),
        ("bob", "rule beep: w")
    );
    let (_, body) = asked(doors, path, &review(&["true"])).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true}));
    let mut told = String::new();
    encode(&mut told, &registry).unwrap();
    for line in [
        "pilothouse_webhook_requests_total{door=\"exec\",decision=\"Refused\"} 2",
        "pilothouse_webhook_requests_total{door=\"exec\",decision=\"Allowed\"} 1",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

/// Of bob, until then.
fn glass(until: &str) -> Glasses {
    let glass = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "BreakGlass", "metadata": {"name": "pager", "namespace": "shop"},
        "spec": {"reason": "r", "incident": "i", "requestedBy": {"user": "bob", "groups": []}},
        "status": {"openedAt": "2026-01-01T00:00:00Z", "expiresAt": until}});
    let glass: BreakGlass = serde_json::from_value(glass).unwrap();
    Glasses::from([(("shop".to_owned(), "pager".to_owned()), glass)])
}

#[tokio::test]
async fn whoever_has_broken_the_glass_passes_until_its_end_by_the_clock_of_the_webhook() {
    let asks = async |until: &str, namespace: &str| {
        let doors = doors_with(&mut Registry::default(), glass(until));
        let mut review = review(&["beep"]);
        review["request"]["namespace"] = json!(namespace);
        let (_, body) = asked(doors, "/commands/p/exec", &review).await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["response"].clone()
    };
    let passed = asks("2099-01-01T00:00:00Z", "shop").await;
    assert_eq!(passed["allowed"], true, "{passed}");
    let noted = &passed["auditAnnotations"];
    assert_eq!(
        (&noted["break-glass"], &noted["decision"]),
        (&json!("pager"), &json!("BrokeGlass"))
    );
    let elsewhere = asks("2099-01-01T00:00:00Z", "bank").await;
    let late = asks("2026-01-01T01:00:00Z", "shop").await;
    assert_eq!([&elsewhere["allowed"], &late["allowed"]], [false, false]);
}

#[tokio::test]
async fn whoever_breaks_the_glass_passes_is_told_so_and_noted() {
    let mut registry = Registry::default();
    let doors = doors(&mut registry);
    let path = "/commands/p/exec/glass";
    let (_, body) = asked(doors.clone(), path, &review(&["beep"])).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    let answer = &answer["response"];
    assert_eq!(
        (&answer["allowed"], &answer["status"]),
        (&json!(true), &Value::Null)
    );
    let told = answer["warnings"][0].as_str().unwrap();
    assert!(
        told.starts_with("passed by breaking the glass: rule beep"),
        "{told}"
    );
    let noted = &answer["auditAnnotations"];
    assert_eq!(noted["decision"], "BrokeGlass");
    assert!(
        noted["id"].as_str().is_some_and(|id| id.ends_with("-1")),
        "{noted}"
    );
    let (_, body) = asked(doors, path, &review(&["true"])).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true}));
}

#[tokio::test]
async fn an_implementer_of_a_live_ticket_passes_and_the_audit_log_has_its_name() {
    let doors = doors(&mut Registry::default());
    let of = async |user: &str, pod: &str| {
        let mut review = review(&["ring"]);
        review["request"]["userInfo"]["username"] = user.into();
        review["request"]["name"] = pod.into();
        let (_, body) = asked(doors.clone(), "/commands/p/exec", &review).await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["response"].clone()
    };
    let passed = of("ivan", "db-0").await;
    assert_eq!(passed["allowed"], true, "{passed}");
    assert_eq!(passed["auditAnnotations"]["ticket"], "move");
    assert_eq!(passed["auditAnnotations"]["asked"], "RequireTicket");
    assert_eq!(
        passed["warnings"][0],
        "under ChangeTicket move: rule ring of CommandPolicy p: w: ring"
    );
    for (user, pod) in [("bob", "db-0"), ("ivan", "db-1")] {
        let refused = of(user, pod).await;
        assert_eq!(refused["allowed"], false, "{user} {pod}: {refused}");
        assert_eq!(refused["auditAnnotations"]["ticket"], Value::Null);
    }
    let own = of("rita", "db-0").await;
    let told = own["status"]["message"].as_str().unwrap();
    assert!(
        told.contains("rita wrote ChangeTicket move") && told.contains("another implementer"),
        "{told}"
    );
}

#[tokio::test]
async fn a_ticket_is_let_in_with_a_warning_of_what_it_conflicts_with() {
    let doors = doors(&mut Registry::default());
    let written = |name: &str, before: Value| json!({"request": {"uid": "u-1", "object": ticket(name), "oldObject": before}});
    let (status, body) = asked(doors.clone(), "/tickets", &written("another", Value::Null)).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_str(&body).unwrap();
    let warnings = answer["response"]["warnings"].as_array().unwrap();
    assert_eq!(
        (&answer["response"]["allowed"], warnings.len()),
        (&json!(true), 1)
    );
    let told = warnings[0].as_str().unwrap();
    assert!(told.starts_with("ItemBooked: ChangeTicket move"), "{told}");
    for (name, before) in [("another", ticket("another")), ("move", Value::Null)] {
        let (_, body) = asked(doors.clone(), "/tickets", &written(name, before)).await;
        assert!(!body.contains("warnings"), "{name}: {body}");
    }
}

/// Policy p of every namespace, by which each change has a risk.
fn weighing(when: &str) -> Value {
    let rule = json!({"name": "sale", "sort": "Business", "when": when, "score": 70, "why": "the shop sells"});
    let risk = json!({"rules": [rule], "personnel": {"firstTime": 20}, "review": [{"score": 60, "levels": 2}]});
    json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ProtectionPolicy", "metadata": {"name": "p"},
        "spec": {"reason": "r", "rules": [{"resources": ["pods"]}], "require": {"ticket": {"risk": risk}}}})
}

#[tokio::test]
async fn a_risky_ticket_is_let_in_with_a_warning_of_what_it_lacks() {
    let doors = behind(&mut Registry::default(), Kept::default(), Glasses::new());
    let mut past = ticket("past");
    past["spec"]["window"]["end"] = json!("2026-02-01T00:00:00Z");
    past["status"] = json!({"conditions": [], "finishedAt": "2026-02-01T00:00:00Z", "result": {"outcome": "Success"}});
    let past: ChangeTicket = serde_json::from_value(past).unwrap();
    let policy = weighing("ticket.spec.scope.hosts.exists(h, h == 'h2')");
    let policy: ProtectionPolicy = serde_json::from_value(policy).unwrap();
    {
        let mut planned = doors.planned.write().unwrap();
        past.keep(&mut planned);
        policy.keep(&mut planned);
    }
    for (name, host, told) in [
        ("past", "h3", None),
        (
            "eve",
            "h3",
            Some("Risk: the risk is 20 of 100 (firstTime 20) by ProtectionPolicy p"),
        ),
        (
            "eve",
            "h2",
            Some(
                "ReviewTooSmall: the risk is 90 of 100 (sale 70, firstTime 20) by ProtectionPolicy p, which asks for 2 levels",
            ),
        ),
    ] {
        let mut wanted = ticket(name);
        wanted["metadata"]["name"] = json!("another");
        wanted["spec"]["scope"] = json!({"hosts": [host]});
        let written = json!({"request": {"uid": "u-1", "object": wanted, "oldObject": null}});
        let (status, body) = asked(router(doors.clone()), "/tickets", &written).await;
        assert_eq!(status, StatusCode::OK);
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["response"]["allowed"], true);
        let warned = answer["response"]["warnings"][0].as_str();
        assert_eq!(warned.is_some(), told.is_some(), "{body}");
        assert!(
            told.is_none_or(|told| warned.unwrap().starts_with(told)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_policy_whose_rules_of_risk_do_not_compile_is_refused_by_their_names() {
    let doors = doors(&mut Registry::default());
    let written = |when: &str| json!({"request": {"uid": "u-1", "object": weighing(when), "oldObject": null}});
    let (_, body) = asked(doors.clone(), "/risks", &written("true")).await;
    assert!(body.contains("\"allowed\":true"), "{body}");
    let (status, body) = asked(doors, "/risks", &written("ticket.spec.level ==")).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_str(&body).unwrap();
    let response = &answer["response"];
    assert_eq!(
        (&response["allowed"], &response["status"]["code"]),
        (&json!(false), &json!(422))
    );
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("risk.rules[sale].when"), "{message}");
}

/// What whoever writes an object of a resource is told.
async fn warned(doors: Router, resource: &str, spec: &Value) -> Vec<String> {
    let review = json!({"request": {"uid": "u-1", "namespace": "shop", "resource": {"group": "pilothouse.dev", "resource": resource},
        "object": {"metadata": {"name": "j"}, "spec": spec}}});
    let (status, body) = asked(doors, "/jobs/p", &review).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let response = &answer["response"];
    assert_eq!(response["allowed"], true, "{body}");
    assert_eq!(response["auditAnnotations"], Value::Null, "{body}");
    let warnings = response["warnings"].as_array().cloned();
    let warnings = warnings.unwrap_or_default().into_iter();
    warnings.map(|w| w.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_job_a_run_and_a_schedule_are_let_in_with_warnings_and_no_entry_of_the_audit() {
    let kept = Kept::default();
    let doors = telling(&mut Registry::default(), kept.clone());
    let (inline, script) = (
        json!({"inline": {"content": "beep"}}),
        json!({"script": {"name": "s"}}),
    );
    let named = |name: &str| json!({"jobRef": {"name": name}, "schedule": {"every": "1h"}});
    for (resource, spec, told) in [
        ("jobs", job(&inline), Some("steps.a at 1:1: no run begins")),
        ("jobs", job(&script), Some("steps.a (Script s) at 1:7: ")),
        ("jobruns", json!({"job": job(&inline)}), Some("steps.a at")),
        ("jobruns", named("j"), Some("steps.a (Script s) at 1:7: ")),
        ("scheduledtasks", named("j"), Some("steps.a (Script s)")),
        ("scheduledtasks", named("gone"), None),
        ("scheduledtasks", named("slow"), None),
    ] {
        let warnings = warned(doors.clone(), resource, &spec).await;
        assert_eq!(warnings.len(), usize::from(told.is_some()), "{warnings:?}");
        for (warning, told) in warnings.iter().zip(told) {
            assert!(warning.starts_with(told), "{resource}: {warning}");
        }
    }
    assert!(kept.0.lock().unwrap().is_empty());
    let (status, _) = asked(doors, "/jobs/q", &json!({"request": {"uid": "u"}})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_cannot_be_judged_is_an_error_and_never_a_yes() {
    let doors = doors(&mut Registry::default());
    let exec = review(&["true"]);
    let mut strange = exec.clone();
    strange["request"]["object"] = json!([1]);
    for (path, body, status, told) in [
        (
            "/commands/q/exec",
            &exec,
            StatusCode::NOT_FOUND,
            "CommandPolicy q is not known here",
        ),
        (
            "/commands/p/window",
            &exec,
            StatusCode::NOT_FOUND,
            "no door \"window\"",
        ),
        (
            "/commands/wrong/exec",
            &exec,
            StatusCode::INTERNAL_SERVER_ERROR,
            "is called x",
        ),
        (
            "/commands/p/exec",
            &json!({"request": 1}),
            StatusCode::BAD_REQUEST,
            "AdmissionReview",
        ),
        (
            "/commands/p/exec",
            &strange,
            StatusCode::BAD_REQUEST,
            "about what this door judges: invalid type: integer `1`",
        ),
    ] {
        let (found, body) = asked(doors.clone(), path, body).await;
        assert_eq!(found, status, "{path}");
        assert!(body.contains(told), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_long_review_is_judged_like_a_short_one() {
    let doors = doors(&mut Registry::default());
    let long = format!("true {} ; beep", "x".repeat(40_000));
    let (_, body) = asked(doors, "/commands/p/exec", &review(&["sh", "-c", &long])).await;
    assert!(body.contains("\"allowed\":false"), "{body}");
}

mod over_tls {
    use k8s_openapi::jiff::Timestamp;
    use serving::{Identity, Material, TlsListener};
    use tokio::net::TcpListener;

    use super::*;

    fn identity(material: &Material) -> Arc<Identity> {
        let Material { leaf, .. } = material;
        Arc::new(Identity::from_pem(&leaf.certificate, &leaf.key).unwrap())
    }

    /// Five hundred a second, by connections that live on and by new ones.
    #[tokio::test]
    async fn no_request_fails_while_certificates_change() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let names = ["localhost".to_owned()];
        let made = || Material::next(None, &names, Timestamp::now()).unwrap();
        let (first, second) = (made(), made());
        let trusted = [first.bundle(), second.bundle()].concat();
        let (show, shown) = watch::channel(Some(identity(&first)));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let listener = TlsListener::new(socket, shown, None).unwrap();
        let doors = doors(&mut Registry::default());
        tokio::spawn(async { axum::serve(listener, doors).await });
        let url = format!("https://localhost:{port}/commands/p/exec");
        let client = || {
            let roots = reqwest::Certificate::from_pem_bundle(trusted.as_bytes()).unwrap();
            let builder = reqwest::Client::builder().tls_certs_only(roots);
            builder.build().unwrap()
        };
        let (kept, body) = (client(), review(&["beep"]).to_string());
        let mut turns = tokio::time::interval(Duration::from_millis(2));
        for turn in 0..1000 {
            turns.tick().await;
            if turn % 100 == 50 {
                let next = if turn % 200 == 50 { &second } else { &first };
                show.send_replace(Some(identity(next)));
            }
            let client = if turn % 10 == 0 {
                client()
            } else {
                kept.clone()
            };
            let answer = client.post(&url).body(body.clone()).send().await.unwrap();
            let answer = answer.text().await.unwrap();
            assert!(answer.contains("\"allowed\":false"), "{answer}");
        }
    }
}
