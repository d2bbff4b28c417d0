//! Story: whoever is refused at the door of the API server is told an ID, by which the audit says who, what, when and why; and whoever asks beforehand is told whether they may, and until when.

use crds::v1alpha1::CalendarState;
use e2e::{
    Away, Manifest, Protection, Stage, Terminal, accepted, eventually, rights, stage::PATIENCE,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};

use crate::admission::Scene;

/// The ID that a refusal names.
fn id(said: &str) -> String {
    let behind = said.split_once("explain denial ");
    let (_, behind) = behind.unwrap_or_else(|| panic!("no ID in {said}"));
    let id = behind.split_whitespace().next();
    id.expect("an ID is a word").to_owned()
}

/// What the audit says of an ID, once it says anything.
async fn explained(person: &Terminal, id: &str) -> String {
    eventually(&format!("the entry of {id}"), PATIENCE, || async {
        let told = person.pilothouse(&["explain", "denial", id]).await;
        (told.code == Some(0)).then_some(told.out)
    })
    .await
}

fn assert_tells(told: &str, words: &[&str]) {
    for word in words {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
}

#[tokio::test]
async fn a_refusal_names_an_entry_of_the_audit() {
    let scene = Scene::set("denials").await;
    let said = scene.bob.kubectl(&["exec", "db-0", "--", "beep"]).await;
    assert_ne!(said.code, Some(0), "{said:#?}");
    let first = id(&said.err);
    let told = explained(&scene.bob, &first).await;
    assert_tells(
        &told,
        &[
            "Denied, at",
            "bob of testers",
            "exec pod/db-0 in namespace",
            &format!("no-beep of CommandPolicy {}", scene.stage.name()),
            "it wakes the night shift; instead: write to the log",
            "what you can do now",
            "somebody do it who is in group night-shift",
        ],
    );
    of_a_replica_of_the_webhook(&scene, &first).await;
    what_is_only_tried_is_no_entry(&scene).await;
    glass_is_broken_on_the_record(&scene).await;
    nobody_waits_for_records(&scene).await;
    not_everybody_is_told(&scene, &first).await;

    let verified = eventually("an audit that can be read", PATIENCE, || async {
        let told = scene.administrator.pilothouse(&["audit", "verify"]).await;
        told.code
            .filter(|code| *code < 2)
            .map(|code| (code, told.out))
    })
    .await;
    assert_eq!(verified.0, 0, "{}", verified.1);
}

async fn of_a_replica_of_the_webhook(scene: &Scene, id: &str) {
    let found = scene.bob.audited(&format!("id={id}")).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    let entry = &found[0]["entry"];
    let source = &entry["source"];
    let replica = source["replica"].as_str().unwrap_or_default();
    assert!(replica.starts_with("pilothouse-webhook-"), "{entry}");
    let number = entry["number"].as_i64().unwrap_or_default();
    let start = source["start"].as_str().unwrap_or_default();
    assert_eq!(format!("{start}-{number}"), id);
    assert_eq!(
        (&entry["decision"], &entry["actor"]["user"]),
        (&json!("Denied"), &json!("bob"))
    );
    assert_eq!(entry["subject"]["namespace"], scene.stage.name());
}

async fn what_is_only_tried_is_no_entry(scene: &Scene) {
    let words = |more: &'static [&'static str]| {
        let pod = [
            "run",
            "beeper",
            "--image=local/busybox:1",
            "--restart=Never",
            r#"--overrides={"spec":{"securityContext":{"runAsNonRoot":true,"runAsUser":65534,"seccompProfile":{"type":"RuntimeDefault"}},"containers":[{"name":"beeper","image":"local/busybox:1","command":["beep"],"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}"#,
        ];
        [&pod[..], more].concat()
    };
    let tried = scene.bob.kubectl(&words(&["--dry-run=server"])).await;
    assert_tells(&tried.err, &["rule no-beep"]);
    assert!(!tried.err.contains("explain denial"), "{tried:#?}");
    let refused = scene.bob.kubectl(&words(&[])).await;
    let told = explained(&scene.bob, &id(&refused.err)).await;
    assert_tells(&told, &["create pod/beeper", "an exception"]);
}

async fn glass_is_broken_on_the_record(scene: &Scene) {
    let words = [
        "--as",
        "carol",
        "--as-group",
        "system:masters",
        "--as-group",
        "night-shift",
        "exec",
        "db-0",
        "--",
        "sh",
        "-c",
        "knock || true",
    ];
    let said = scene.administrator.kubectl(&words).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let chosen = "user=carol,decision=BrokeGlass";
    let told = eventually("an entry of that", PATIENCE, || async {
        let words = ["get", "auditentries", "--field-selector", chosen];
        let told = scene.bob.kubectl(&words).await.out;
        told.contains("pod/db-0").then_some(told)
    })
    .await;
    assert_tells(&told, &["no-knock"]);
}

/// A refusal needs no record, and has one as soon as there can be.
async fn nobody_waits_for_records(scene: &Scene) {
    let id = {
        let _away = Away::store(&scene.stage).await;
        let said = scene.bob.kubectl(&["exec", "db-0", "--", "knock"]).await;
        assert_tells(&said.err, &["rule no-knock"]);
        id(&said.err)
    };
    let told = explained(&scene.bob, &id).await;
    assert_tells(
        &told,
        &["no-knock", "somebody may be asleep", "approve run/NAME"],
    );
}

async fn not_everybody_is_told(scene: &Scene, id: &str) {
    let unknown = ["explain", "denial", "0123-1"];
    let said = scene.bob.pilothouse(&unknown).await;
    assert_eq!(said.code, Some(4), "{said:#?}");
    assert_tells(&said.err, &["there is no denial 0123-1 in namespace"]);
    let eve = Terminal::of("eve", scene.stage.name());
    let said = eve.pilothouse(&["explain", "denial", id]).await;
    assert_eq!(said.code, Some(4), "{said:#?}");
    assert_tells(&said.err, &["forbidden"]);
}

async fn calendar(stage: &Stage, over: &Value) {
    let mut spec = json!({"timeZone": "UTC", "default": "Open"});
    let fields = spec.as_object_mut().expect("an object");
    fields.extend(over.as_object().expect("an object").clone());
    let calendar = Manifest::of("ChangeCalendar", "freeze", &spec).within(stage.name());
    accepted(calendar.apply(&stage.client).await);
}

/// What somebody is answered who asks whether they may, and whether that is a yes.
async fn asked(person: &Terminal, words: &[&str]) -> (bool, Value) {
    let words = [&["can-i-change", "-o", "json"], words].concat();
    let said = person.pilothouse(&words).await;
    let answer = serde_json::from_str(&said.out);
    let answer: Value = answer.unwrap_or_else(|_| panic!("{said:#?}"));
    let yes = answer["allowed"] == json!(true);
    assert_eq!(said.code, Some(i32::from(!yes)), "{said:#?}");
    (yes, answer)
}

#[tokio::test]
async fn whoever_asks_beforehand_is_told_whether_they_may_and_until_when() {
    let stage = Stage::set("beforehand").await;
    for person in ["ann", "sre"] {
        let role = json!({"kind": "ClusterRole", "name": "admin"});
        rights::bind(&stage.client, stage.name(), person, &role).await;
        let client = stage.cluster.as_user(person, &["testers"]);
        rights::hold(&client, stage.name(), ("delete", "pods"), None, true).await;
    }
    stage.shell("db-0").await;
    stage
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: b}}")
        .await;
    calendar(&stage, &json!({})).await;
    let spec = json!({"require": {"openCalendars": [{"namespace": stage.name(), "name": "freeze"}]}, "breakGlass": {"groups": ["sre-oncall"]},
        "rules": [{"groups": [""], "resources": ["configmaps", "pods"]}]});
    let policy = Protection::written(&stage.cluster, stage.name(), "freeze", &spec).await;
    policy.becomes(CalendarState::Open).await;
    let ann = Terminal::of("ann", stage.name());
    let delete = ["configmap/settings", "--verb", "delete"];
    let exec = ["pod/db-0", "--verb", "exec", "--", "true"];
    // API servers hear of it a moment later.
    let answer = eventually("a yes", PATIENCE, || async {
        let (yes, answer) = asked(&ann, &delete).await;
        yes.then_some(answer)
    })
    .await;
    assert_eq!(answer["knownBy"], "DryRun");
    assert!(asked(&ann, &exec).await.0, "it is open");

    let at = |seconds| Timestamp::now() + SignedDuration::from_secs(seconds);
    let [start, end] = [at(-60), at(3600)].map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let freeze = json!({"name": "sale", "effect": "Freeze", "reason": "singles day", "start": start, "end": end});
    calendar(&stage, &json!({"events": [freeze]})).await;
    policy.becomes(CalendarState::Closed).await;
    let answer = eventually("a no", PATIENCE, || async {
        let (yes, answer) = asked(&ann, &delete).await;
        (!yes).then_some(answer)
    })
    .await;
    let reason = answer["reason"].as_str().unwrap_or_default();
    assert_tells(reason, &["Rule pilothouse-protection", "singles day"]);
    let told = &answer["protection"][0];
    assert_eq!(
        (&told["policy"], &told["you"]),
        (&json!(policy.name()), &json!("Closed"))
    );
    let until = answer["until"].as_str().unwrap_or_default();
    assert_eq!(
        until.parse::<Timestamp>().ok(),
        end.parse::<Timestamp>().ok(),
        "{answer:#}"
    );
    for words in [
        &["configmap/settings"][..],
        &["pods/db-0", "--verb", "evict"],
        &exec,
    ] {
        let (yes, answer) = asked(&ann, words).await;
        assert!(!yes, "{answer:#}");
        assert_tells(&answer["reason"].to_string(), &["singles day"]);
    }
    others_are_told_what_holds_for_them(&stage, &delete).await;
    let all: Api<ConfigMap> = Api::namespaced(stage.client.clone(), stage.name());
    let settings = all.get("settings").await.expect("nobody has deleted it");
    assert!(settings.metadata.annotations.is_none_or(|a| a.is_empty()));

    calendar(&stage, &json!({})).await;
    policy.becomes(CalendarState::Open).await;
    eventually("a yes", PATIENCE, || async {
        asked(&ann, &delete).await.0.then_some(())
    })
    .await;
}

async fn others_are_told_what_holds_for_them(stage: &Stage, delete: &[&str]) {
    let administrator = Terminal::of_the_administrator(stage.name());
    let on_call = ["--as", "sre", "--as-group", "sre-oncall"];
    let (yes, answer) = asked(&administrator, &[delete, &on_call].concat()).await;
    assert!(yes, "{answer:#}");
    assert_eq!(answer["protection"][0]["you"], "Glass of sre-oncall");
    let eve = Terminal::of("eve", stage.name());
    let (yes, answer) = asked(&eve, delete).await;
    assert!(!yes, "{answer:#}");
    assert_eq!(answer["knownBy"], "Rights");
    let said = eve.pilothouse(&["can-i-change", "spaceship/web"]).await;
    assert_eq!(said.code, Some(4), "{said:#?}");
    assert_tells(&said.err, &["there is no object \"spaceship/web\""]);
}
