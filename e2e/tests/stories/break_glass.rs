//! Story: an on-call engineer breaks the glass with a reason and an incident, passes for a while where nobody else does, and the next morning somebody else looks at it.

use crds::v1alpha1::{Approval, BreakGlass, BreakGlassStatus, find_condition};
use e2e::{
    Manifest, OfTheCluster, Protection, Stage, Terminal, accepted, eventually,
    health::{Expected, assert_told},
    refused, rights,
    stage::PATIENCE,
    wait_for,
};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::DeleteParams};
use serde_json::json;

const GROUP: &str = "testers";

/// For the namespace of the story alone.
const COMMANDS: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: CommandPolicy
metadata: {name: NAMESPACE}
spec:
  applyTo: [PodExec]
  failurePolicy: Fail
  breakGlass: {groups: [testers], record: Required}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  rules:
  - {name: no-beep, match: {commands: [beep]}, action: Deny, why: it wakes the night shift}
";

/// Eve and ann are on call, mallory is in no group that a policy names, and bob looks at what they did.
struct Scene {
    stage: Stage,
    glasses: Api<BreakGlass>,
    eve: Terminal,
    ann: Terminal,
    bob: Terminal,
    mallory: Client,
}

async fn scene(story: &str) -> Scene {
    let stage = Stage::set(story).await;
    let role = |name: &str| json!({"kind": "ClusterRole", "name": name});
    for person in ["eve", "ann", "mallory"] {
        for name in ["edit", "pilothouse-breaker"] {
            rights::bind(&stage.client, stage.name(), person, &role(name)).await;
        }
    }
    for person in ["eve", "bob"] {
        let decides = role("pilothouse-approver");
        rights::bind(&stage.client, stage.name(), person, &decides).await;
    }
    for (person, verb) in [
        ("ann", "create"),
        ("mallory", "create"),
        ("eve", "approve"),
        ("bob", "approve"),
    ] {
        let client = stage.cluster.as_user(person, &[GROUP]);
        rights::hold(&client, stage.name(), (verb, "breakglasses"), None, true).await;
    }
    Scene {
        glasses: Api::namespaced(stage.client.clone(), stage.name()),
        eve: Terminal::of("eve", stage.name()),
        ann: Terminal::of("ann", stage.name()),
        bob: Terminal::of("bob", stage.name()),
        mallory: stage.cluster.as_user("mallory", &["others"]),
        stage,
    }
}

/// Reasons of Live, Reviewed and Ready.
fn says(status: &BreakGlassStatus) -> [&str; 3] {
    ["Live", "Reviewed", "Ready"].map(|type_| {
        find_condition(&status.conditions, type_).map_or("", |told| told.reason.as_str())
    })
}

impl Scene {
    /// Somebody breaks the glass for so long; its name.
    async fn breaks(&self, person: &Terminal, lasts: &str) -> String {
        let words = [
            "break-glass",
            "--reason",
            "carts are empty",
            "--incident",
            "INC-7",
            "--for",
            lasts,
            "-o",
            "name",
        ];
        let said = person.pilothouse(&words).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
        let name = said.out.trim().split_once('/').expect("a kind and a name");
        name.1.to_owned()
    }

    async fn until(&self, name: &str, wanted: [&str; 3]) -> BreakGlass {
        let is = |glass: Option<&BreakGlass>| {
            let status = glass.and_then(|glass| glass.status.as_ref());
            status.is_some_and(|status| says(status) == wanted)
        };
        wait_for(self.glasses.clone(), name, wanted[1], PATIENCE, is).await
    }

    /// Waits until an attempt of this person's to delete the ConfigMap ends so.
    async fn deletes(&self, person: &Terminal, code: i32) -> String {
        let words = ["delete", "configmap", "web", "--dry-run=server"];
        let said = eventually("the API server to hear of it", PATIENCE, || async {
            let said = person.kubectl(&words).await;
            (said.code == Some(code)).then_some(said)
        });
        said.await.err
    }

    /// The reason of the one entry of the audit that says so of it.
    async fn audited(&self, name: &str, decision: &str) -> String {
        let auditor = Terminal::of_the_administrator(self.stage.name());
        let chosen = format!("subject={name},decision={decision}");
        eventually(decision, PATIENCE, || async {
            let entry = auditor.audited(&chosen).await.first()?["entry"].clone();
            assert_eq!(entry["actor"]["user"], "eve");
            Some(entry["reason"].as_str()?.to_owned())
        })
        .await
    }

    /// What a POST as eve is answered that goes no further than the door.
    async fn knock(&self) -> u16 {
        let path = format!(
            "/api/v1/namespaces/{}/pods/db-0/exec?command=beep&stdout=true",
            self.stage.name()
        );
        let request = Request::post(path).body(Vec::new()).expect("a request");
        let eve = self.stage.cluster.as_user("eve", &[GROUP]);
        match eve.request_text(request).await {
            Err(kube::Error::Api(status)) => status.code,
            answer => panic!("{answer:?}"),
        }
    }

    async fn answers(&self, code: u16) {
        eventually("the API server to ask", PATIENCE, || async {
            (self.knock().await == code).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn who_breaks_the_glass_passes_for_a_while_and_somebody_else_looks_at_it() {
    let scene = scene("glass").await;
    let web = "{apiVersion: v1, kind: ConfigMap, metadata: {name: web}}";
    scene.stage.apply(web).await;
    let spec = json!({"require": {"nobody": {}}, "breakGlass": {"groups": [GROUP], "record": "Required"},
        "rules": [{"resources": ["configmaps"], "operations": ["Delete"]}]});
    let policy =
        Protection::written(&scene.stage.cluster, scene.stage.name(), "glass", &spec).await;
    let told = scene.deletes(&scene.eve, 1).await;
    assert!(told.contains("kubectl pilothouse break-glass"), "{told}");

    let name = scene.breaks(&scene.eve, "90s").await;
    let live = scene.until(&name, ["Open", "Live", "Live"]).await;
    scene.deletes(&scene.eve, 0).await;
    let one = |status: &crds::v1alpha1::ProtectionPolicyStatus| matches!(&status.broken[..], [one] if one.user == "eve" && one.break_glass == name);
    policy.until("eve", one).await;
    scene.deletes(&scene.ann, 1).await;
    nobody_else_passes(&scene).await;

    let ended = ["Expired", "AwaitingReview", "AwaitingReview"];
    let awaiting = scene.until(&name, ended).await;
    let ends = live.status.as_ref().and_then(|s| s.expires_at.as_ref());
    assert!(Timestamp::now() >= ends.expect("it says when").0);
    scene.deletes(&scene.eve, 1).await;
    scene.audited(&name, "Ended").await;
    let reason = scene.audited(&name, "Opened").await;
    assert!(
        reason.contains("INC-7") && reason.contains("carts are empty"),
        "{reason}"
    );

    let reviewed = it_is_reviewed(&scene, &awaiting).await;
    let all = [
        ("live", live, "InProgress", "Progressing"),
        ("awaiting review", awaiting, "InProgress", "Suspended"),
        ("reviewed", reviewed, "Current", "Healthy"),
    ];
    assert_told(&all.map(|(title, object, kstatus, argo)| Expected {
        title: title.to_owned(),
        object: serde_json::to_value(object).expect("an object is plain data"),
        kstatus,
        argo,
    }));
    let resource = format!("breakglass/{name}");
    let said = scene.eve.kubectl(&["delete", &resource]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
}

/// Whoever is in no group of the policy, and whoever is no person.
async fn nobody_else_passes(scene: &Scene) {
    let namespace = scene.stage.name();
    let spec = json!({"reason": "me too", "incident": "none"});
    let hers = Manifest::of("BreakGlass", "hers", &spec).within(namespace);
    accepted(hers.create(&scene.mallory).await);
    scene.until("hers", ["Open", "Live", "Live"]).await;
    let settings: Api<ConfigMap> = Api::namespaced(scene.mallory.clone(), namespace);
    let tried = settings
        .delete("web", &DeleteParams::default().dry_run())
        .await;
    let error = tried.expect_err("she is in no group of the policy");
    assert!(
        error.to_string().contains("Rule pilothouse-protection"),
        "{error}"
    );

    let account = format!("system:serviceaccount:{namespace}:default");
    let role = json!({"kind": "ClusterRole", "name": "pilothouse-breaker"});
    rights::bind(&scene.stage.client, namespace, &account, &role).await;
    let client = scene.stage.cluster.as_account(namespace, "default");
    rights::hold(&client, namespace, ("create", "breakglasses"), None, true).await;
    let its = Manifest::of("BreakGlass", "its", &spec).within(namespace);
    let rule = ["Rule pilothouse-break-glass", "A person breaks the glass"];
    refused(its.try_create(&client).await, &rule);
}

/// Not by eve herself, and not by taking it away.
async fn it_is_reviewed(scene: &Scene, glass: &BreakGlass) -> BreakGlass {
    let (namespace, name) = (scene.stage.name(), glass.metadata.name.as_deref());
    let name = name.expect("a name");
    let listed = scene.bob.kubectl(&["get", "breakglasses"]).await.out;
    for word in [name, "eve", "INC-7", "carts are empty", "AwaitingReview"] {
        assert!(listed.contains(word), "no {word:?} in {listed}");
    }
    let resource = format!("breakglass/{name}");
    let said = scene.eve.kubectl(&["delete", &resource]).await;
    assert!(said.err.contains("nobody has reviewed"), "{said:#?}");

    let digest = glass.status.as_ref().and_then(|s| s.digest.clone());
    let spec = json!({"subject": {"kind": "BreakGlass", "name": name}, "digest": digest, "decision": "Approve"});
    let own = Manifest::of("Approval", "own", &spec).within(namespace);
    let eve = scene.stage.cluster.as_user("eve", &[GROUP]);
    accepted(own.create(&eve).await);
    let approvals: Api<Approval> = Api::namespaced(scene.stage.client.clone(), namespace);
    let is_own = |approval: Option<&Approval>| {
        let status = approval.and_then(|approval| approval.status.as_ref());
        let counts = status.and_then(|s| find_condition(&s.conditions, "Counts"));
        counts.is_some_and(|counts| counts.reason == "OwnWork")
    };
    wait_for(approvals, "own", "OwnWork", PATIENCE, is_own).await;
    let still = scene.glasses.get(name).await.expect("it is there");
    let ended = ["Expired", "AwaitingReview", "AwaitingReview"];
    assert_eq!(says(still.status.as_ref().expect("a status")), ended);

    let said = scene.bob.pilothouse(&["approve", &resource]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let reviewed = scene.until(name, ["Expired", "Approved", "Reviewed"]).await;
    let by = reviewed
        .status
        .as_ref()
        .and_then(|s| s.reviewed_by.as_deref());
    assert_eq!(by, Some("bob"));
    reviewed
}

#[tokio::test]
async fn at_the_door_it_lets_pass_until_it_is_closed_or_rejected() {
    let scene = scene("broken-door").await;
    scene.stage.shell("db-0").await;
    let _policy = OfTheCluster::applied(&scene.stage, COMMANDS).await;
    scene.answers(403).await;
    let first = scene.breaks(&scene.eve, "1h").await;
    // 400 is for want of an upgrade.
    scene.answers(400).await;

    let (resource, closed) = (
        format!("breakglass/{first}"),
        r#"{"spec": {"closed": true}}"#,
    );
    let close = ["patch", &resource, "--type", "merge", "-p", closed];
    let said = scene.ann.kubectl(&close).await;
    assert!(said.err.contains("whoever has created it"), "{said:#?}");
    let said = scene.eve.kubectl(&close).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let ended = ["Closed", "AwaitingReview", "AwaitingReview"];
    scene.until(&first, ended).await;
    scene.answers(403).await;
    let reason = scene.audited(&first, "Ended").await;
    assert!(reason.starts_with("Closed"), "{reason}");

    let second = scene.breaks(&scene.eve, "1h").await;
    scene.answers(400).await;
    let no = [
        "reject",
        &format!("breakglass/{second}"),
        "--reason",
        "not for this",
    ];
    let said = scene.bob.pilothouse(&no).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let rejected = ["Rejected", "Rejected", "Reviewed"];
    scene.until(&second, rejected).await;
    scene.answers(403).await;
}
