//! Story: what is decided is written down before it has an effect, survives whatever is killed, and whoever alters or removes any of it is found out.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use e2e::{
    Cluster, Manifest, Replica, Stage, Terminal, accepted,
    cluster::kubeconfig_path,
    eventually, rights,
    stage::{PATIENCE, SYSTEM, refusal, state_folder},
};
use kube::{Client, api::DeleteParams};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

/// For the namespace of the story alone, since the policy is of the whole cluster.
const POLICY: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: CommandPolicy
metadata: {name: NAMESPACE}
spec:
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  builtIn: {packs: []}
  rules:
  - {name: no-beep, match: {commands: [beep]}, action: Deny, severity: Low, why: it wakes the night shift}
  - {name: ask-first, match: {commands: [hostname]}, action: RequireApproval, severity: Low, why: somebody may be at home}
";

/// A policy of the whole cluster, gone with the story.
struct Policy(Cluster, String);

impl Drop for Policy {
    fn drop(&mut self) {
        let (name, policy) = (self.1.clone(), POLICY.replace("NAMESPACE", &self.1));
        self.0.finally("the policy", |client| async move {
            let policy = Manifest::read(&policy).remove(0);
            let api = policy.api(&client).await?;
            api.delete(&name, &DeleteParams::default()).await.map(drop)
        });
    }
}

/// People: ann runs, bob decides, and the administrator verifies.
struct Scene {
    stage: Stage,
    _policy: Policy,
    ann: Client,
    bob: Terminal,
    auditor: Terminal,
}

async fn scene() -> Scene {
    let stage = Stage::set("audit").await;
    let policy = Policy(stage.cluster.clone(), stage.name().to_owned());
    stage
        .apply(&POLICY.replace("NAMESPACE", stage.name()))
        .await;
    for (name, role, may) in [
        ("ann", "pilothouse-admin", ("create", "jobruns")),
        ("bob", "pilothouse-approver", ("approve", "jobruns")),
    ] {
        let role = json!({"kind": "ClusterRole", "name": role});
        rights::bind(&stage.client, stage.name(), name, &role).await;
        let person = stage.cluster.as_user(name, &["testers"]);
        rights::hold(&person, stage.name(), may, None, true).await;
    }
    stage.hosts_seen().await;
    Scene {
        _policy: policy,
        ann: stage.cluster.as_user("ann", &["testers"]),
        bob: Terminal::of("bob", stage.name()),
        auditor: Terminal::of_the_administrator(stage.name()),
        stage,
    }
}

impl Scene {
    async fn runs(&self, name: &str, content: &str) {
        let step = json!({"name": "one", "inline": {"content": content}});
        let job =
            json!({"sharing": "Shared", "targets": {"hosts": {"names": ["pm1"]}}, "steps": [step]});
        let run = Manifest::of("JobRun", name, &json!({"job": job})).within(self.stage.name());
        accepted(run.create(&self.ann).await);
    }

    /// Entries about an object, by what was decided.
    async fn entries(&self, subject: &str, decision: &str) -> Vec<Value> {
        let chosen = format!("subject={subject},decision={decision}");
        self.bob.audited(&chosen).await
    }

    /// The one entry about an object that says so: who it names, by which rule, and its place.
    async fn entry(&self, subject: &str, decision: &str) -> (String, String, i64) {
        let entry = eventually(&format!("{decision} {subject}"), PATIENCE, || async {
            self.entries(subject, decision).await.pop()
        })
        .await;
        let text = |path: &str| {
            let text = entry.pointer(path).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let place = entry["sequence"].as_i64().expect("it has a place");
        (text("/entry/actor/user"), text("/entry/rule"), place)
    }

    /// Exit code and words of the verification, once records answer.
    async fn verified(&self, more: &[&str]) -> (i32, String) {
        let words = [&["audit", "verify"], more].concat();
        eventually("an audit that can be read", PATIENCE, || async {
            let told = self.auditor.pilothouse(&words).await;
            let code = told.code.filter(|code| *code < 2)?;
            Some((code, told.out))
        })
        .await
    }
}

#[tokio::test]
async fn decisions_are_found_and_so_is_who_alters_them() {
    let scene = scene().await;
    let removed = somebody_decides(&scene).await;
    let altered = a_denied_run_is_written_down(&scene).await;
    only_those_who_may_look(&scene).await;
    nothing_is_lost_whoever_is_killed(&scene).await;

    let saved = state_folder().join("checkpoints.json");
    let place = scene.entry("late-2", "Held").await.2;
    eventually("a checkpoint", PATIENCE, || async {
        let words = ["get", "auditcheckpoints", "-o", "json"];
        let told = scene.auditor.kubectl(&words).await.out;
        let list: Value = serde_json::from_str(&told).ok()?;
        let last = list["items"].as_array()?.last()?["checkpoint"]["sequence"].as_i64();
        fs::write(&saved, &told).expect("a file for the checkpoints");
        (last? >= place).then_some(())
    })
    .await;
    let from = ["--from", saved.to_str().expect("a path in UTF-8")];
    for words in [&[][..], &from] {
        let (code, told) = scene.verified(words).await;
        assert_eq!(code, 0, "{told}");
        assert!(told.contains("Nothing is missing"), "{told}");
    }

    let good = Good::copied();
    good.replaced_by(&tampered(&good.0, altered, removed));
    let (code, told) = scene.verified(&from).await;
    assert_eq!(code, 1, "{told}");
    for word in [
        format!("entry {altered} was altered"),
        format!("entries {removed} to {removed} are missing"),
        "numbers".to_owned(),
    ] {
        assert!(told.contains(&word), "no {word:?} in {told}");
    }
    drop(good);
    let (code, told) = scene.verified(&from).await;
    assert_eq!(code, 0, "{told}");
}

/// A run that is held, and begins once somebody else says so; the place of the entry that says that it may, which is never the first of the audit.
async fn somebody_decides(scene: &Scene) -> i64 {
    scene.runs("held", "hostname").await;
    scene.stage.waits("held", "AwaitingApproval").await;
    let held = scene.entries("held", "Held").await;
    assert_eq!(held.len(), 1, "it is on disk before the status says so");
    let (user, rule, _) = scene.entry("held", "Held").await;
    assert_eq!((&*user, &*rule), ("ann", "ask-first"));
    let said = scene
        .bob
        .pilothouse(&["approve", "run/held", "--reason", "nobody is at home"])
        .await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let ended = scene.stage.ends("held").await.status.expect("a status");
    assert_eq!(ended.summary.as_deref(), Some("Succeeded"), "{ended:#?}");
    let (user, rule, place) = scene.entry("held", "Allowed").await;
    assert_eq!((&*user, &*rule), ("ann", "ask-first"));
    assert_eq!(scene.entry("held", "Approved").await.0, "bob");
    assert_eq!(scene.entries("held", "Held").await.len(), 1, "once");
    place
}

async fn a_denied_run_is_written_down(scene: &Scene) -> i64 {
    scene.runs("denied", "beep").await;
    let (reason, _) = refusal(&scene.stage.ends("denied").await);
    assert_eq!(reason, "CommandDenied");
    let (user, rule, place) = scene.entry("denied", "Denied").await;
    assert_eq!((&*user, &*rule), ("ann", "no-beep"));
    let told = scene.bob.kubectl(&["get", "auditentries"]).await;
    for word in ["DECISION", "Denied", "jobrun/denied", "no-beep"] {
        assert!(told.out.contains(word), "no {word:?} in {told:#?}");
    }
    place
}

async fn only_those_who_may_look(scene: &Scene) {
    for words in [
        &["get", "auditentries", "-A"][..],
        &["get", "auditcheckpoints"],
    ] {
        let told = scene.bob.kubectl(words).await;
        assert!(told.err.contains("forbidden"), "{told:#?}");
    }
    let told = scene.bob.pilothouse(&["audit", "verify"]).await;
    assert_eq!(told.code, Some(4), "{told:#?}");
    let told = scene.bob.kubectl(&["explain", "auditentries.hash"]).await;
    assert!(
        told.out.contains("which the next one hangs on"),
        "{told:#?}"
    );
}

/// Whatever is killed while decisions are made, each of them is there afterwards.
async fn nothing_is_lost_whoever_is_killed(scene: &Scene) {
    for n in 0..3 {
        scene.runs(&format!("late-{n}"), "hostname").await;
        let victim = match n {
            0 => Replica::leader(&scene.stage.client).await,
            _ => Replica::store(&scene.stage.client).await,
        };
        victim.killed().await;
    }
    for n in 0..3 {
        let name = format!("late-{n}");
        scene.stage.waits(&name, "AwaitingApproval").await;
        assert!(!scene.entries(&name, "Held").await.is_empty(), "{name}");
        scene.stage.act(&name, "Cancel").await;
        scene.stage.ends(&name).await;
    }
}

/// A copy of the records as they were, which takes their place again with the end of the story.
struct Good(PathBuf);

impl Good {
    fn copied() -> Self {
        let good = Self(state_folder().join("audit.sqlite"));
        let made = File::create(&good.0).expect("a file for the copy");
        let backup = ["exec", "pilothouse-server-0", "--", "/server", "backup"];
        assert!(kubectl(&backup, Stdio::null(), made.into()));
        good
    }

    fn replaced_by(&self, other: &Path) {
        assert_ne!(self.0, other);
        assert!(restored(other), "{} is brought back", other.display());
    }
}

impl Drop for Good {
    fn drop(&mut self) {
        if !restored(&self.0) {
            eprintln!("{} was not brought back", self.0.display());
        }
    }
}

/// The records as somebody leaves them who can write to the volume.
fn tampered(good: &Path, altered: i64, removed: i64) -> PathBuf {
    let bad = state_folder().join("tampered.sqlite");
    fs::copy(good, &bad).expect("a copy");
    let file = Connection::open(&bad).expect("it is a database");
    let alter = r#"UPDATE audit_entries SET actor = 'eve', body = replace(body, '"ann"', '"eve"') WHERE sequence = ?1"#;
    for (statement, place) in [
        (alter, altered),
        ("DELETE FROM audit_entries WHERE sequence = ?1", removed),
    ] {
        let hit = file.execute(statement, params![place]);
        assert_eq!(hit.expect("a statement"), 1, "{statement}");
    }
    bad
}

/// Whether a copy has taken the place of the records.
fn restored(copy: &Path) -> bool {
    let Ok(read) = File::open(copy) else {
        return false;
    };
    let store = "statefulset/pilothouse-server";
    let restore = [
        "exec",
        "-i",
        "pilothouse-server-0",
        "--",
        "/server",
        "restore",
    ];
    kubectl(&restore, read.into(), Stdio::null())
        && [
            &["rollout", "restart", store][..],
            &["rollout", "status", store, "--timeout=3m"],
        ]
        .into_iter()
        .all(|words| kubectl(words, Stdio::null(), Stdio::null()))
}

fn kubectl(words: &[&str], input: Stdio, output: Stdio) -> bool {
    let kubectl = Command::new(state_folder().join("bin/kubectl"))
        .arg("--kubeconfig")
        .arg(kubeconfig_path())
        .args(["--namespace", SYSTEM])
        .args(words)
        .stdin(input)
        .stdout(output)
        .status();
    kubectl.expect("kubectl starts").success()
}
