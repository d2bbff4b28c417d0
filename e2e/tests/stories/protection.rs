//! Story: a calendar freezes a Deployment. People are refused whatever they try, what is under way goes on, and who breaks the glass passes.

use std::time::Duration;

use crds::v1alpha1::{CalendarState, find_condition};
use e2e::{
    Manifest, Protection, Stage, Terminal, accepted, eventually,
    health::{Expected, assert_told},
    rights,
    stage::{PATIENCE, is_running},
    wait_for,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, events::v1::Event};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// A flip, and a change of a calendar, stand in the status this soon.
const PROMPT: SignedDuration = SignedDuration::from_secs(5);

const WORK: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
      containers:
      - {name: main, image: "local/busybox:1", command: [/bin/sh, -c, "while true; do sleep 1; done"], env: [{name: ROUND, value: "1"}],
         securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, labels: {tier: gold}}, data: {a: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: notes}}
"#;

/// Everything that the Deployment is made of, and what carries a label.
fn spec(namespace: &str) -> Value {
    json!({"require": {"openCalendars": [{"namespace": namespace, "name": "freeze"}]}, "breakGlass": {"groups": ["sre-oncall"]}, "rules": [
        {"groups": ["apps"], "resources": ["deployments", "replicasets"]},
        {"groups": [""], "resources": ["pods"]},
        {"groups": [""], "resources": ["configmaps"], "selector": {"matchLabels": {"tier": "gold"}}, "operations": ["Create", "Update", "Delete"]},
    ]})
}

/// The policy goes before its namespace.
struct Scene {
    policy: Protection,
    ann: Terminal,
    sre: Client,
    stage: Stage,
}

impl Scene {
    async fn set(story: &str) -> Self {
        let stage = Stage::set(story).await;
        for person in ["ann", "sre", HPA] {
            let role = json!({"kind": "ClusterRole", "name": "admin"});
            rights::bind(&stage.client, stage.name(), person, &role).await;
        }
        let sre = stage.cluster.as_user("sre", &["sre-oncall"]);
        rights::hold(&sre, stage.name(), ("delete", "pods"), None, true).await;
        let ann = Terminal::of("ann", stage.name());
        calendar(&stage, &json!({"default": "Open"})).await;
        let policy = spec(stage.name());
        let policy = Protection::written(&stage.cluster, stage.name(), "freeze", &policy).await;
        policy.becomes(CalendarState::Open).await;
        Self {
            policy,
            ann,
            sre,
            stage,
        }
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.stage.client.clone(), self.stage.name())
    }

    fn pods(&self, client: &Client) -> Api<Pod> {
        Api::namespaced(client.clone(), self.stage.name())
    }

    /// Waits until the Deployment has so many pods of its latest template, and no others.
    async fn rolled_out(&self, replicas: i32) {
        let is = |deployment: Option<&Deployment>| {
            deployment.is_some_and(|deployment| {
                let status = deployment.status.clone().unwrap_or_default();
                let counts = [
                    status.replicas,
                    status.updated_replicas,
                    status.available_replicas,
                ];
                status.observed_generation == deployment.metadata.generation
                    && counts == [Some(replicas); 3]
            })
        };
        wait_for(self.deployments(), "web", "its roll-out", PATIENCE, is).await;
    }

    /// Names of the pods that run.
    async fn running(&self) -> Vec<String> {
        let of_web = ListParams::default().labels("app=web");
        let pods = self.pods(&self.stage.client).list(&of_web).await;
        let mut pods = pods.expect("an administrator lists").items;
        pods.retain(|pod| is_running(pod) && pod.metadata.deletion_timestamp.is_none());
        pods.iter().map(kube::ResourceExt::name_any).collect()
    }

    async fn closed(&self) {
        calendar(&self.stage, &json!({"default": "Closed"})).await;
        let written = Timestamp::now();
        let status = self.policy.becomes(CalendarState::Closed).await;
        assert!(Timestamp::now().duration_since(written) < PROMPT);
        let reason = status.reason.expect("it says why");
        assert!(reason.contains("/freeze is closed by default"), "{reason}");
        // API servers hear of it a moment later.
        let (all, tried) = (self.deployments(), DeleteParams::default().dry_run());
        eventually("a refusal", PATIENCE, || async {
            let error = all.delete("web", &tried).await.err()?;
            error.to_string().contains("Rule").then_some(())
        })
        .await;
    }
}

const HPA: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

async fn calendar(stage: &Stage, over: &Value) {
    let mut spec = json!({"timeZone": "UTC"});
    let fields = spec.as_object_mut().expect("an object");
    fields.extend(over.as_object().expect("an object").clone());
    let calendar = Manifest::of("ChangeCalendar", "freeze", &spec).within(stage.name());
    accepted(calendar.apply(&stage.client).await);
}

fn rounds(round: &str) -> Patch<Value> {
    let main = json!({"name": "main", "env": [{"name": "ROUND", "value": round}]});
    Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [main]}}}}))
}

#[tokio::test]
async fn people_are_refused_while_what_is_under_way_goes_on() {
    let scene = Scene::set("freeze").await;
    scene.stage.apply(WORK).await;
    scene.rolled_out(2).await;
    let said = scene
        .ann
        .kubectl(&["label", "deployment/web", "round=1"])
        .await;
    assert_eq!(said.code, Some(0), "it is open: {said:#?}");

    let params = PatchParams::default();
    let begun = scene
        .deployments()
        .patch("web", &params, &rounds("2"))
        .await;
    begun.expect("it is open");
    scene.closed().await;
    scene.rolled_out(2).await;

    people_are_refused(&scene).await;
    controllers_go_on(&scene).await;
    glass_breaks(&scene).await;
}

async fn people_are_refused(scene: &Scene) {
    let pod = &scene.running().await[0];
    let eviction = format!(
        "/api/v1/namespaces/{}/pods/{pod}/eviction",
        scene.stage.name()
    );
    let file = std::env::temp_dir().join(format!("{}-eviction.json", scene.stage.name()));
    let text = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}});
    std::fs::write(&file, text.to_string()).expect("a file");
    let file = file.to_str().expect("text");
    let tried: [&[&str]; 12] = [
        &["delete", "deployment/web"],
        &["delete", "deployments", "--all"],
        &["delete", "deployment/web", "--dry-run=server"],
        &["scale", "deployment/web", "--replicas=0"],
        &["rollout", "restart", "deployment/web"],
        &["label", "deployment/web", "round=2", "--overwrite"],
        &["set", "env", "deployment/web", "ROUND=3"],
        &["delete", "pod", pod],
        &["exec", pod, "--", "true"],
        &["create", "--raw", &eviction, "-f", file],
        &["label", "configmap/settings", "tier-"],
        &["delete", "configmap/settings"],
    ];
    for words in tried {
        assert_refused(scene, &scene.ann.kubectl(words).await);
    }
    let administrator = Terminal::of_the_administrator(scene.stage.name());
    let words = ["delete", "namespace", scene.stage.name(), "--wait=false"];
    assert_refused(scene, &administrator.kubectl(&words).await);
    let free: [&[&str]; 3] = [
        &["label", "configmap/notes", "a=b"],
        &["delete", "configmap/notes"],
        &["create", "configmap", "more"],
    ];
    for words in free {
        let said = scene.ann.kubectl(words).await;
        assert_eq!(said.code, Some(0), "{words:?}: {said:#?}");
    }
}

fn assert_refused(scene: &Scene, said: &e2e::terminal::Said) {
    assert_ne!(said.code, Some(0), "{said:#?}");
    let name = scene.policy.name();
    for word in [
        "Rule pilothouse-protection",
        "the shop sells on these days",
        "/freeze is closed by default",
        &format!("kubectl describe protectionpolicy {name}"),
        "'sre-oncall'",
    ] {
        assert!(said.err.contains(word), "no {word:?} in {said:#?}");
    }
}

/// A pod that is gone is replaced, and what scales by itself does.
async fn controllers_go_on(scene: &Scene) {
    let gone = scene.running().await.remove(0);
    let now = DeleteParams::default().grace_period(0);
    let deleted = scene.pods(&scene.sre).delete(&gone, &now).await;
    deleted.expect("the glass is broken");
    eventually("another pod", PATIENCE, || async {
        let running = scene.running().await;
        (running.len() == 2 && !running.contains(&gone)).then_some(())
    })
    .await;
    let autoscaler = scene.stage.cluster.as_user(HPA, &[]);
    let all: Api<Deployment> = Api::namespaced(autoscaler, scene.stage.name());
    let wanted = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let scaled = all
        .patch_scale("web", &PatchParams::default(), &wanted)
        .await;
    scaled.expect("the cluster's own controllers go on");
    scene.rolled_out(3).await;
}

/// And what follows from it is done to its end.
async fn glass_breaks(scene: &Scene) {
    let all: Api<Deployment> = Api::namespaced(scene.sre.clone(), scene.stage.name());
    let deleted = all.delete("web", &DeleteParams::foreground()).await;
    deleted.expect("the glass is broken");
    let of_web = ListParams::default().labels("app=web");
    eventually("the end of what belonged to it", PATIENCE, || async {
        let left = scene.pods(&scene.stage.client).list(&of_web).await.ok()?;
        let deployment = scene.deployments().get_opt("web").await.ok()?;
        (left.items.is_empty() && deployment.is_none()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_policy_flips_with_its_calendar_and_tells_of_it() {
    let scene = Scene::set("flips").await;
    let at = |seconds| Timestamp::now() + SignedDuration::from_secs(seconds);
    let [start, end] = [at(10), at(20)].map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let freeze = json!({"name": "sale", "effect": "Freeze", "reason": "singles day", "start": start, "end": end});
    calendar(
        &scene.stage,
        &json!({"default": "Open", "events": [freeze]}),
    )
    .await;
    let [start, end] = [start, end].map(|at| at.parse::<Timestamp>().expect("a time"));

    let status = scene.policy.becomes(CalendarState::Closed).await;
    assert!(Timestamp::now().duration_since(start) < PROMPT);
    let reason = status.reason.as_deref().unwrap_or_default();
    assert!(reason.contains("sale (singles day)"), "{reason}");
    assert_eq!(status.next_flip.map(|at| at.0), Some(end));
    scene.policy.becomes(CalendarState::Open).await;
    assert!(Timestamp::now().duration_since(end) < PROMPT);

    let events: Api<Event> = Api::all(scene.stage.client.clone());
    for word in ["Closed", "Opened"] {
        eventually(word, PATIENCE, || async {
            let all = events.list(&ListParams::default()).await.ok()?;
            let about = |event: &Event| {
                let regarding = event.regarding.as_ref().and_then(|r| r.name.as_deref());
                regarding == Some(scene.policy.name()) && event.reason.as_deref() == Some(word)
            };
            all.items.iter().any(about).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_calendar_that_is_missing_or_cannot_be_read_closes_until_it_is_there() {
    let scene = Scene::set("missing").await;
    let mut told = Vec::new();
    let of = |object: Value, kstatus, argo| Expected {
        title: format!("{kstatus} and {argo}"),
        object,
        kstatus,
        argo,
    };
    let plain = |object| serde_json::to_value(object).expect("an object is plain data");
    let ready = scene.policy.until("InForce", |_| true).await;
    told.push(of(plain(ready), "Current", "Healthy"));
    calendar(
        &scene.stage,
        &json!({"default": "Open", "timeZone": "Mars/Olympus"}),
    )
    .await;
    let unread = shows(&scene, "CalendarNotReady", "Mars/Olympus").await;
    told.push(of(plain(unread), "InProgress", "Progressing"));
    let calendars: Api<crds::v1alpha1::ChangeCalendar> =
        Api::namespaced(scene.stage.client.clone(), scene.stage.name());
    let deleted = calendars.delete("freeze", &DeleteParams::default()).await;
    deleted.expect("an administrator deletes");
    shows(&scene, "CalendarNotFound", "create it").await;
    calendar(&scene.stage, &json!({"default": "Open"})).await;
    scene.policy.becomes(CalendarState::Open).await;
    assert_told(&told);
}

/// Waits until the policy is closed for this reason.
async fn shows(scene: &Scene, reason: &str, word: &str) -> crds::v1alpha1::ProtectionPolicy {
    let is = |status: &crds::v1alpha1::ProtectionPolicyStatus| {
        let ready = find_condition(&status.conditions, "Ready");
        status.state == Some(CalendarState::Closed)
            && ready.is_some_and(|c| c.reason == reason && c.message.contains(word))
    };
    scene.policy.until(reason, is).await
}

#[tokio::test]
async fn in_warn_and_audit_everything_passes() {
    let scene = Scene::set("modes").await;
    scene.stage.apply(WORK).await;
    scene.closed().await;
    let tried = ["delete", "deployment/web", "--dry-run=server"];
    for (mode, warns) in [("Warn", true), ("Audit", false)] {
        let mut spec = spec(scene.stage.name());
        spec["mode"] = json!(mode);
        scene.policy.rewritten(&spec).await;
        scene.policy.becomes(CalendarState::Closed).await;
        eventually(mode, Duration::from_secs(30), || async {
            let said = scene.ann.kubectl(&tried).await;
            let warned = said.err.contains("Rule pilothouse-protection");
            (said.code == Some(0) && warned == warns).then_some(())
        })
        .await;
    }
}
