//! Story: commands are judged before they run, somebody else decides on what is held, and the decision falls with every change.

use crds::v1alpha1::{Approval, CommandPolicy, Script, condition_is_true, find_condition};
use e2e::{
    Manifest, OfTheCluster, Stage, Terminal, accepted,
    health::{Expected, assert_told},
    refused, rights,
    stage::{PATIENCE, refusal},
    wait_for,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

/// For the namespace of the story alone, since the policy is of the whole cluster.
const POLICY: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: CommandPolicy
metadata: {name: NAMESPACE}
spec:
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  builtIn: {exclude: []}
  rules:
  - {name: no-beep, match: {commands: [beep]}, action: Deny, severity: Low, why: it wakes the night shift, safer: write to the log}
";

const WORK: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Script
metadata: {name: clean-up}
spec:
  content: |
    echo cleaning
    rm -rf "$DIR/"
  parameters: [{name: DIR, default: /tmp/pilothouse-nothing}]
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: clean}
spec: {sharing: Shared, targets: {hosts: {names: [pm1]}}, steps: [{name: clean, script: {name: clean-up}}]}
"#;

/// People: ann writes and may decide too, bob decides.
struct Scene {
    stage: Stage,
    _policy: OfTheCluster,
    ann: Client,
    bob: Terminal,
}

async fn scene(story: &str) -> Scene {
    let stage = Stage::set(story).await;
    let policy = OfTheCluster::applied(&stage, POLICY).await;
    let ann = stage
        .person("ann", "pilothouse-admin", ("create", "jobruns"))
        .await;
    stage
        .person("bob", "pilothouse-approver", ("approve", "jobruns"))
        .await;
    stage.hosts_seen().await;
    let bob = Terminal::of("bob", stage.name());
    Scene {
        stage,
        _policy: policy,
        ann,
        bob,
    }
}

impl Scene {
    async fn writes(&self, yaml: &str) {
        for manifest in Manifest::read(yaml) {
            let manifest = manifest.within(self.stage.name());
            accepted(manifest.apply(&self.ann).await);
        }
    }

    async fn runs(&self, name: &str, spec: Value) {
        let run = Manifest::of("JobRun", name, &spec).within(self.stage.name());
        accepted(run.create(&self.ann).await);
    }

    /// A run with one inline step.
    async fn says(&self, name: &str, content: &str) {
        let step = json!({"name": "one", "inline": {"content": content}});
        let job =
            json!({"sharing": "Shared", "targets": {"hosts": {"names": ["pm1"]}}, "steps": [step]});
        self.runs(name, json!({"job": job})).await;
    }

    async fn script(&self, what: &str, is: impl Fn(&Script) -> bool) -> Script {
        let scripts: Api<Script> = Api::namespaced(self.stage.client.clone(), self.stage.name());
        let is = |script: Option<&Script>| script.is_some_and(&is);
        wait_for(scripts, "clean-up", what, PATIENCE, is).await
    }

    /// The policy once it shows this condition, `Type=Status/Reason`.
    async fn policy(&self, sign: &str) -> Value {
        let policies: Api<CommandPolicy> = Api::all(self.stage.client.clone());
        let shows = |policy: Option<&CommandPolicy>| {
            policy.is_some_and(|policy| {
                let status = policy.status.iter();
                let mut told =
                    status.filter(|s| s.observed_generation == policy.metadata.generation);
                let of = |c: &Condition| format!("{}={}/{}", c.type_, c.status, c.reason);
                told.any(|s| s.conditions.iter().any(|c| of(c) == sign))
            })
        };
        let seen = wait_for(policies, self.stage.name(), sign, PATIENCE, shows).await;
        serde_json::to_value(seen).expect("an object is plain data")
    }

    async fn counts(&self, approval: &str, reason: &str) {
        let approvals: Api<Approval> =
            Api::namespaced(self.stage.client.clone(), self.stage.name());
        let says = |approval: Option<&Approval>| {
            let status = approval.and_then(|a| a.status.as_ref());
            let counts = status.and_then(|s| find_condition(&s.conditions, "Counts"));
            counts.is_some_and(|c| c.reason == reason)
        };
        wait_for(approvals, approval, reason, PATIENCE, says).await;
    }
}

fn approval(name: &str, digest: &str, more: &Value) -> Value {
    let mut approval = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "Approval", "metadata": {"name": name},
        "spec": {"subject": {"kind": "Script", "name": "clean-up"}, "digest": digest, "decision": "Approve"}});
    let spec = approval["spec"].as_object_mut().expect("a spec");
    spec.extend(more.as_object().expect("fields").clone());
    approval
}

fn digest(script: &Script) -> String {
    let status = script.status.as_ref().expect("a status");
    status.digest.clone().expect("it was looked at")
}

fn is_current(script: &Script) -> bool {
    let status = script.status.as_ref();
    status.and_then(|s| s.observed_generation) == script.metadata.generation
}

#[tokio::test]
async fn what_a_policy_holds_runs_once_somebody_else_has_approved_it_as_it_is() {
    let scene = scene("held").await;
    scene.writes(WORK).await;
    let script = scene
        .script("its findings", |s| {
            is_current(s) && s.status.as_ref().is_some_and(|s| !s.findings.is_empty())
        })
        .await;
    let status = script.status.as_ref().expect("a status");
    let finding = &status.findings[0];
    assert_eq!((finding.line, finding.column), (2, 1), "{finding:#?}");
    assert!(finding.command.contains("rm -rf"), "{finding:#?}");
    let allowed = find_condition(&status.conditions, "Allowed").expect("it is judged");
    assert_eq!(allowed.reason, "ApprovalRequired");

    scene
        .runs("first", json!({"jobRef": {"name": "clean"}}))
        .await;
    let told = scene.stage.waits("first", "AwaitingApproval").await;
    for word in ["clean-up", &finding.rule, "2:1", "approve"] {
        assert!(told.contains(word), "no {word:?} in {told:?}");
    }

    nobody_decides_on_their_own_work(&scene, &script).await;
    let said = scene
        .bob
        .pilothouse(&["approve", "script/clean-up", "--reason", "looked through"])
        .await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let ended = scene.stage.ends("first").await;
    assert_eq!(
        ended.status.and_then(|s| s.summary).as_deref(),
        Some("Succeeded")
    );
    scene
        .script("to be approved", |s| {
            s.status
                .as_ref()
                .is_some_and(|s| condition_is_true(&s.conditions, "Allowed"))
        })
        .await;
    it_falls_with_every_change(&scene, &script).await;
}

/// Her own word does not count, even where she may give it; and a robot has none.
async fn nobody_decides_on_their_own_work(scene: &Scene, script: &Script) {
    let of = &digest(script);
    let own = scene.stage.cluster.as_user("ann", &["testers"]);
    let role = json!({"kind": "ClusterRole", "name": "pilothouse-approver"});
    rights::bind(&scene.stage.client, scene.stage.name(), "ann", &role).await;
    rights::hold(&own, scene.stage.name(), ("approve", "scripts"), None, true).await;
    let forged = approval(
        "own",
        of,
        &json!({"requestedBy": {"user": "bob", "groups": []}}),
    );
    let forged = Manifest::from_json(forged).within(scene.stage.name());
    accepted(forged.create(&own).await);
    scene.counts("own", "OwnWork").await;
    let robot = scene
        .stage
        .cluster
        .as_account(scene.stage.name(), "pilothouse-runner");
    let bound = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "robot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pilothouse-approver"},
        "subjects": [{"kind": "ServiceAccount", "name": "pilothouse-runner"}]});
    let bound = Manifest::from_json(bound).within(scene.stage.name());
    accepted(bound.create(&scene.stage.client).await);
    rights::hold(
        &robot,
        scene.stage.name(),
        ("approve", "scripts"),
        None,
        true,
    )
    .await;
    let by_robot = approval("robot", of, &json!({}));
    let by_robot = Manifest::from_json(by_robot).within(scene.stage.name());
    refused(
        by_robot.try_create(&robot).await,
        &["Rule pilothouse-approval", "A person decides"],
    );
    scene.stage.waits("first", "AwaitingApproval").await;
}

/// A decision is about what was said then.
async fn it_falls_with_every_change(scene: &Scene, before: &Script) {
    let of = digest(before);
    scene
        .writes(&WORK.replace("echo cleaning", "echo cleaning more"))
        .await;
    scene
        .script("to be held anew", |s| is_current(s) && digest(s) != of)
        .await;
    scene
        .runs("second", json!({"jobRef": {"name": "clean"}}))
        .await;
    scene.stage.waits("second", "AwaitingApproval").await;
    let given: Vec<DynamicObject> = approvals(scene).await;
    let bobs = given
        .iter()
        .find(|a| a.data["spec"]["requestedBy"]["user"] == "bob");
    scene
        .counts(&bobs.expect("bob's").name_any(), "Changed")
        .await;
    let said = scene
        .bob
        .pilothouse(&["reject", "run/second", "--reason", "not tonight"])
        .await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let (reason, message) = refusal(&scene.stage.ends("second").await);
    assert_eq!(reason, "Rejected");
    assert!(
        message.contains("not tonight") && message.contains("bob"),
        "{message}"
    );
}

async fn approvals(scene: &Scene) -> Vec<DynamicObject> {
    let any = Manifest::from_json(approval("any", "", &json!({}))).within(scene.stage.name());
    let api = any
        .api(&scene.stage.client)
        .await
        .expect("approvals are served");
    api.list(&ListParams::default())
        .await
        .expect("they are listed")
        .items
}

#[tokio::test]
async fn a_command_that_is_denied_never_runs_however_it_is_wrapped() {
    let scene = scene("denied").await;
    let wrapped = [
        "beep",
        "sudo -u root env -i nice -n 5 beep",
        "sh -c 'x=1; b\"\"eep'",
        "echo YmVlcAo= | base64 -d | sh",
        "find / -maxdepth 0 -exec beep {} ';'",
    ];
    for (n, content) in wrapped.into_iter().enumerate() {
        scene.says(&format!("beep-{n}"), content).await;
    }
    let pod = json!({"steps": [{"name": "a", "pod": {"image": "local/busybox:1", "command": ["sh", "-c", "beep"]}}]});
    scene.runs("pod", json!({"job": pod})).await;
    let names = (0..wrapped.len()).map(|n| format!("beep-{n}"));
    for name in names.chain(["pod".to_owned()]) {
        let (reason, message) = refusal(&scene.stage.ends(&name).await);
        assert_eq!(reason, "CommandDenied", "{name}: {message}");
        for word in ["no-beep", "wakes the night shift", "write to the log"] {
            assert!(message.contains(word), "{name}: no {word:?} in {message:?}");
        }
    }
    assert_eq!(scene.stage.executions("beep-0").await.len(), 0);
}

#[tokio::test]
async fn what_nobody_can_know_before_it_runs_waits_and_old_scripts_meet_new_rules() {
    let scene = scene("unknown").await;
    scene
        .says(
            "unknown",
            "cat /etc/hostname | sed 's/.*/echo from afar/' | sh",
        )
        .await;
    let told = scene.stage.waits("unknown", "AwaitingApproval").await;
    assert!(told.contains("unknown"), "{told}");
    let said = scene.bob.pilothouse(&["approve", "run/unknown"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    scene.stage.ends("unknown").await;
    assert_eq!(
        scene.stage.log("unknown", "one", "pm1").await,
        b"from afar\n"
    );

    scene
        .says(
            "harmless",
            "logger -t story hello; rm -f /tmp/pilothouse-nothing",
        )
        .await;
    let ended = scene.stage.ends("harmless").await;
    assert_eq!(
        ended.status.and_then(|s| s.summary).as_deref(),
        Some("Succeeded")
    );

    // A rule that comes later is asked at the next start, and tells of what is written already.
    let quiet = WORK.replace("rm -rf \"$DIR/\"", "logger done");
    scene.writes(&quiet).await;
    let is_allowed = |s: &Script| {
        is_current(s)
            && s.status
                .as_ref()
                .is_some_and(|s| condition_is_true(&s.conditions, "Allowed"))
    };
    scene.script("to be allowed", is_allowed).await;
    scene
        .stage
        .apply(&POLICY.replace("[beep]", "[beep, logger]"))
        .await;
    scene.script("to be denied", |s| !is_allowed(s)).await;
    scene
        .runs("late", json!({"jobRef": {"name": "clean"}}))
        .await;
    assert_eq!(refusal(&scene.stage.ends("late").await).0, "CommandDenied");

    // In Audit nothing is held, and it is told all the same.
    scene
        .stage
        .apply(
            &POLICY
                .replace("spec:", "spec:\n  mode: Audit")
                .replace("[beep]", "[beep, logger]"),
        )
        .await;
    scene.script("to be allowed", is_allowed).await;
    scene
        .runs("audited", json!({"jobRef": {"name": "clean"}}))
        .await;
    let ended = scene.stage.ends("audited").await;
    assert_eq!(
        ended.status.and_then(|s| s.summary).as_deref(),
        Some("Succeeded")
    );
    let script = scene
        .script("its findings", |s| {
            s.status.as_ref().is_some_and(|s| !s.findings.is_empty())
        })
        .await;
    assert!(is_allowed(&script));
}

#[tokio::test]
async fn whoever_writes_a_script_can_ask_what_would_be_made_of_it() {
    let scene = scene("asked").await;
    let file = std::env::temp_dir().join(format!("{}.sh", scene.stage.name()));
    std::fs::write(&file, "echo hello\nsudo beep\n").expect("a file");
    let said = Terminal::of("ann", scene.stage.name())
        .pilothouse(&["check", file.to_str().expect("text")])
        .await;
    assert_eq!(said.code, Some(3), "{said:#?}");
    for word in ["2:1", "no-beep", "Deny", "wakes the night shift"] {
        assert!(said.out.contains(word), "no {word:?} in {said:#?}");
    }
    std::fs::write(&file, "echo hello\n").expect("a file");
    let said = Terminal::of("ann", scene.stage.name())
        .pilothouse(&["check", file.to_str().expect("text")])
        .await;
    assert_eq!(said.code, Some(0), "{said:#?}");
}

#[tokio::test]
async fn a_policy_that_cannot_be_used_lets_nothing_begin_until_it_is_corrected() {
    let scene = scene("unusable").await;
    let wrong = POLICY.replace("exclude: []", "exclude: [no-such-rule]");
    scene.stage.apply(&wrong).await;
    let told = scene.policy("Ready=False/UnknownRule").await;
    scene.says("waiting", "true").await;
    let waits = scene.stage.waits("waiting", "Invalid").await;
    assert!(waits.contains("no-such-rule"), "{waits}");
    scene.stage.apply(POLICY).await;
    let corrected = scene.policy("Ready=True/Asked").await;
    let ended = scene.stage.ends("waiting").await;
    assert_eq!(
        ended.status.and_then(|s| s.summary).as_deref(),
        Some("Succeeded")
    );

    scene.says("held", "$X").await;
    scene.stage.waits("held", "AwaitingApproval").await;
    let held = scene.stage.runs().get("held").await.expect("it is there");
    let held = serde_json::to_value(held).expect("an object is plain data");
    let of = |object, kstatus, argo| Expected {
        title: format!("{kstatus} and {argo}"),
        object,
        kstatus,
        argo,
    };
    assert_told(&[
        of(told, "Failed", "Degraded"),
        of(corrected, "Current", "Healthy"),
        of(held, "InProgress", "Suspended"),
    ]);
}
