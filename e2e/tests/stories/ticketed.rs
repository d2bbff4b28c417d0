//! Story: what a CommandPolicy answers with RequireTicket is done under a change that others have agreed to: by the ticket's own Job, or by an implementer while it is live.

use crds::v1alpha1::{ChangeTicket, ChangeTicketStatus, CommandPolicy, condition_is_true};
use e2e::{
    Manifest, OfTheCluster, Stage, Terminal, accepted, eventually,
    health::{Expected, assert_told},
    rights, soon,
    stage::PATIENCE,
    tickets, wait_for,
};
use kube::{Api, Client};
use serde_json::{Value, json};

/// For the namespace of the story alone, since the policy is of the whole cluster.
const POLICY: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: CommandPolicy
metadata: {name: NAMESPACE}
spec:
  applyTo: [Scripts, Runs, PodExec]
  failurePolicy: Fail
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  builtIn: {packs: []}
  rules:
  - {name: in-a-change, match: {commands: [uname]}, action: RequireTicket, why: it is done in a window}
";

const WORK: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: look}
spec: {sharing: Shared, targets: {hosts: {names: [pm1]}}, steps: [{name: look, inline: {content: uname}}]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: other}
spec: {sharing: Shared, targets: {hosts: {names: [pm1]}}, steps: [{name: look, inline: {content: uname}}]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: whole}
spec: {steps: [{name: part, job: {name: look}}]}
";

/// Rita writes tickets, bob agrees to them, ivan carries them out, and mia only runs Jobs.
struct Scene {
    stage: Stage,
    tickets: Api<ChangeTicket>,
    _policy: OfTheCluster,
    rita: Client,
    bob: Terminal,
    ivan: Terminal,
    mia: Terminal,
}

async fn scene(story: &str) -> Scene {
    let stage = Stage::set(story).await;
    let policy = OfTheCluster::applied(&stage, POLICY).await;
    let rita = stage
        .person("rita", "pilothouse-admin", ("create", "changetickets"))
        .await;
    stage
        .person("ivan", "pilothouse-admin", ("create", "jobruns"))
        .await;
    stage
        .person("mia", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let decides = ("approve", "changetickets");
    stage.person("bob", "pilothouse-approver", decides).await;
    stage.hosts_seen().await;
    let scene = Scene {
        tickets: Api::namespaced(stage.client.clone(), stage.name()),
        _policy: policy,
        bob: Terminal::of("bob", stage.name()),
        ivan: Terminal::of("ivan", stage.name()),
        mia: Terminal::of("mia", stage.name()),
        stage,
        rita,
    };
    for job in Manifest::read(WORK) {
        accepted(job.within(scene.stage.name()).apply(&scene.rita).await);
    }
    let policies: Api<CommandPolicy> = Api::all(scene.stage.client.clone());
    let asked = |policy: Option<&CommandPolicy>| {
        let status = policy.and_then(|policy| policy.status.as_ref());
        status.is_some_and(|s| {
            let told = ["Ready", "Admitting"];
            told.iter()
                .all(|type_| condition_is_true(&s.conditions, type_))
        })
    };
    wait_for(policies, scene.stage.name(), "to be asked", PATIENCE, asked).await;
    scene
}

/// A ticket with a guide that ivan follows, open for so many seconds from now.
fn ticket(seconds: i64, over: &Value) -> Value {
    let allow = json!([{"groups": ["pilothouse.dev"], "resources": ["jobruns"], "names": ["look", "whole"], "operations": ["Create"]}]);
    let mut spec = json!({
        "title": "Look around", "type": "Regular", "level": "C", "submit": true,
        "window": {"start": soon(-60), "end": soon(seconds)},
        "plan": {"guide": "Look around."}, "allow": allow,
        "implementers": {"users": ["ivan"]}, "review": [{"name": "leads", "users": ["bob"]}],
    });
    let over = over.as_object().expect("fields").clone();
    spec.as_object_mut().expect("a spec").extend(over);
    spec
}

impl Scene {
    async fn ready(&self, name: &str, reason: &str) -> ChangeTicketStatus {
        tickets::ready(&self.tickets, name, reason).await
    }

    /// Rita writes a ticket; nobody has agreed to it.
    async fn plans(&self, name: &str, spec: &Value) {
        let ticket = Manifest::of("ChangeTicket", name, spec).within(self.stage.name());
        accepted(ticket.apply(&self.rita).await);
        self.ready(name, "AwaitingApproval").await;
    }

    async fn agreed(&self, name: &str) {
        let named = format!("ticket/{name}");
        let said = self.bob.pilothouse(&["approve", &named]).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
    }

    /// Somebody runs a Job, under a ticket where one is given.
    async fn runs(&self, person: &Terminal, job: &str, name: &str, ticket: Option<&str>) {
        let under = ticket.map_or(vec![], |ticket| vec!["--ticket", ticket]);
        let words = [&["run", job, "--name", name], &under[..]].concat();
        let said = person.pilothouse(&words).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
    }

    async fn waits_and_says(&self, run: &str, words: &[&str]) {
        let told = self.stage.waits(run, "AwaitingTicket").await;
        for word in words {
            assert!(told.contains(word), "no {word:?} in {told:?}");
        }
    }

    async fn succeeds(&self, run: &str) {
        let ended = self.stage.ends(run).await;
        let summary = ended.status.and_then(|status| status.summary);
        assert_eq!(summary.as_deref(), Some("Succeeded"), "{run}");
    }

    /// Reasons of the entries of the audit that say this of a run.
    async fn audited(&self, run: &str, decision: &str) -> String {
        let chosen = format!("subject={run},decision={decision}");
        eventually(&format!("{decision} {run}"), PATIENCE, || async {
            let last = self.bob.audited(&chosen).await.pop()?;
            last.pointer("/entry/reason")?.as_str().map(str::to_owned)
        })
        .await
    }
}

#[tokio::test]
async fn a_run_waits_until_a_live_ticket_covers_it_and_whoever_asked_for_it() {
    let scene = scene("ticketed").await;
    scene.runs(&scene.ivan, "look", "first", None).await;
    let way = [
        "steps.look",
        "in-a-change",
        "no ticket of the namespace",
        "run look --ticket NAME",
    ];
    scene.waits_and_says("first", &way).await;
    let reason = scene.audited("first", "Held").await;
    assert!(reason.contains("in-a-change"), "{reason}");
    let held = scene.stage.runs().get("first").await.expect("it is there");
    let said = scene.ivan.pilothouse(&["explain", "first"]).await;
    assert!(said.out.contains("run look --ticket NAME"), "{said:#?}");

    scene.plans("by-hand", &ticket(900, &json!({}))).await;
    scene
        .runs(&scene.ivan, "whole", "named", Some("by-hand"))
        .await;
    let part = scene.stage.part("named").await;
    scene
        .waits_and_says(&part, &["by-hand is not live (InReview)"])
        .await;
    scene.waits_and_says("first", &[]).await;
    scene.agreed("by-hand").await;
    scene.succeeds("first").await;
    scene.succeeds("named").await;
    let reason = scene.audited("first", "Allowed").await;
    assert!(
        reason.starts_with("under ChangeTicket by-hand: "),
        "{reason}"
    );

    scene
        .runs(&scene.mia, "look", "hers", Some("by-hand"))
        .await;
    scene
        .waits_and_says("hers", &["mia is not among spec.implementers"])
        .await;
    scene
        .runs(&scene.ivan, "other", "unlisted", Some("by-hand"))
        .await;
    scene
        .waits_and_says("unlisted", &["in allow for Job other"])
        .await;
    scene
        .runs(&scene.ivan, "look", "misnamed", Some("no-such"))
        .await;
    scene
        .waits_and_says("misnamed", &["there is no ChangeTicket no-such"])
        .await;
    let elsewhere = ticket(900, &json!({"scope": {"hosts": ["vm1"]}}));
    scene.plans("elsewhere", &elsewhere).await;
    scene.agreed("elsewhere").await;
    tickets::until(&scene.tickets, "elsewhere", "to be live", |s| {
        s.live == Some(true)
    })
    .await;
    scene
        .runs(&scene.ivan, "look", "beyond", Some("elsewhere"))
        .await;
    scene
        .waits_and_says("beyond", &["not about Host pm1"])
        .await;

    an_ad_hoc_command_is_run_under_a_ticket(&scene).await;
    let held = serde_json::to_value(held).expect("an object is plain data");
    let title = "a run that waits for a ticket".to_owned();
    assert_told(&[Expected {
        title,
        object: held,
        kstatus: "InProgress",
        argo: "Suspended",
    }]);
}

/// It has no name, so that only a ticket has it that has any.
async fn an_ad_hoc_command_is_run_under_a_ticket(scene: &Scene) {
    let any = json!([{"groups": ["pilothouse.dev"], "resources": ["jobruns"], "names": ["*"], "operations": ["Create"]}]);
    scene
        .plans("ad-hoc", &ticket(900, &json!({"allow": any})))
        .await;
    scene.agreed("ad-hoc").await;
    tickets::until(&scene.tickets, "ad-hoc", "to be live", |s| {
        s.live == Some(true)
    })
    .await;
    let words = ["exec", "uname", "--host", "pm1", "--ticket", "ad-hoc"];
    let said = scene.ivan.pilothouse(&words).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.out.contains("Linux"), "{said:#?}");
}

#[tokio::test]
async fn the_job_of_a_ticket_runs_and_nothing_does_once_the_window_is_over() {
    let scene = scene("windowed").await;
    let over = json!({"plan": {"job": {"jobRef": {"name": "whole"}}}, "allow": []});
    scene.plans("own", &ticket(900, &over)).await;
    scene.agreed("own").await;
    let status = scene.ready("own", "Succeeded").await;
    scene.succeeds(&status.run.expect("a run")).await;

    scene.plans("short", &ticket(40, &json!({}))).await;
    scene.agreed("short").await;
    tickets::until(&scene.tickets, "short", "to be live", |s| {
        s.live == Some(true)
    })
    .await;
    scene
        .runs(&scene.ivan, "look", "within", Some("short"))
        .await;
    scene.succeeds("within").await;
    tickets::until(&scene.tickets, "short", "its end", |s| {
        s.live == Some(false)
    })
    .await;
    scene.runs(&scene.ivan, "look", "late", Some("short")).await;
    scene.waits_and_says("late", &["short is not live"]).await;
}

#[tokio::test]
async fn at_the_door_an_implementer_passes_with_what_a_live_ticket_allows() {
    let scene = scene("at-the-door").await;
    let (client, namespace) = (&scene.stage.client, scene.stage.name());
    let edit = json!({"kind": "ClusterRole", "name": "edit"});
    let rita = Terminal::of("rita", namespace);
    for person in ["ivan", "mia", "rita"] {
        rights::bind(client, namespace, person, &edit).await;
        let person = scene.stage.cluster.as_user(person, &["testers"]);
        rights::hold(&person, namespace, ("create", "pods"), None, true).await;
    }
    for pod in ["db-0", "db-1"] {
        scene.stage.shell(pod).await;
    }
    let enters =
        async |person: &Terminal, pod: &str| person.kubectl(&["exec", pod, "--", "uname"]).await;
    let refused = async |person: &Terminal, pod: &str| {
        eventually("to be refused", PATIENCE, || async {
            let said = enters(person, pod).await;
            let told = said.err.contains("rule in-a-change") && said.err.contains("ChangeTicket");
            (said.code != Some(0) && told).then_some(())
        })
        .await;
    };
    refused(&scene.ivan, "db-0").await;
    let allow =
        json!([{"groups": [""], "resources": ["pods"], "names": ["db-0"], "operations": ["Exec"]}]);
    let both = json!({"allow": allow, "implementers": {"users": ["ivan", "rita"]}});
    scene.plans("enter", &ticket(900, &both)).await;
    refused(&scene.ivan, "db-0").await;
    scene.agreed("enter").await;
    eventually("ivan to be let in", PATIENCE, || async {
        let said = enters(&scene.ivan, "db-0").await;
        (said.code == Some(0)).then_some(())
    })
    .await;
    refused(&scene.mia, "db-0").await;
    refused(&scene.ivan, "db-1").await;
    eventually("rita to be told why not", PATIENCE, || async {
        let said = enters(&rita, "db-0").await;
        let told = said.err.contains("another implementer has to do it");
        (said.code != Some(0) && told).then_some(())
    })
    .await;
    let asks = ["can-i-change", "pod/db-0", "--verb", "exec", "--", "uname"];
    let said = rita.pilothouse(&asks).await;
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.out.contains("another implementer"), "{said:#?}");
    for words in [
        &["ticket", "start", "enter"][..],
        &[
            "ticket",
            "complete",
            "enter",
            "--verified",
            "in-window",
            "--note",
            "seen",
        ],
    ] {
        let said = scene.ivan.pilothouse(words).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
    }
    refused(&scene.ivan, "db-0").await;
}

#[tokio::test]
async fn whoever_writes_a_job_a_run_or_a_schedule_is_told_what_becomes_of_its_commands() {
    let scene = scene("foretold").await;
    let rita = Terminal::of("rita", scene.stage.name());
    let tries = async |kind: &str, spec: &Value| {
        let object = Manifest::of(kind, "tried", spec).into_json();
        let file = std::env::temp_dir().join(format!("{}-{kind}.json", scene.stage.name()));
        std::fs::write(&file, object.to_string()).expect("a file is written");
        let path = file.to_string_lossy();
        let words = ["create", "--dry-run=server", "-f", &path];
        let said = rita.kubectl(&words).await;
        std::fs::remove_file(&file).expect("it is there");
        assert_eq!(said.code, Some(0), "{said:#?}");
        said.err
    };
    let step = json!({"name": "look", "inline": {"content": "true\nuname"}});
    let job = json!({"targets": {"hosts": {"names": ["pm1"]}}, "steps": [step]});
    let run = json!({"jobRef": {"name": "look"}});
    let task = json!({"jobRef": {"name": "look"}, "schedule": {"every": "1h"}});
    for (kind, spec, told) in [
        (
            "Job",
            &job,
            "Warning: steps.look at 2:1: runs wait for a live ChangeTicket (kubectl pilothouse run tried --ticket NAME): rule in-a-change",
        ),
        (
            "JobRun",
            &run,
            "Warning: steps.look at 1:1: runs wait for a live ChangeTicket (kubectl pilothouse run look --ticket NAME): rule in-a-change",
        ),
        (
            "ScheduledTask",
            &task,
            "Warning: steps.look at 1:1: no ChangeTicket covers what a schedule starts",
        ),
    ] {
        eventually(told, PATIENCE, || async {
            tries(kind, spec).await.contains(told).then_some(())
        })
        .await;
    }
}
