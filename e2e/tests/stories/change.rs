//! Story: a change is reviewed by others as it is, carried out once and within its window, and closed with a result.

use std::{collections::BTreeSet, time::Duration};

use crds::v1alpha1::{Approval, ChangeOutcome, ChangeTicketStatus, find_condition};
use e2e::{
    Changes, Manifest, Protection, Replica, Stage, Terminal, accepted, eventually,
    health::{Expected, assert_told},
    refused, rights, soon,
    stage::PATIENCE,
    wait_for,
};
use jiff::Timestamp;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

const WORK: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Script
metadata: {name: move}
spec: {content: 'echo "$RUN" >> /var/tmp/NAMESPACE', parameters: [{name: RUN}]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: move}
spec: {sharing: Shared, targets: {hosts: {names: [vm1]}}, steps: [{name: move, script: {name: move, parameters: {RUN: "{{ run.name }}"}}}]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: endless}
spec: {sharing: Shared, targets: {hosts: {names: [vm1]}}, steps: [{name: wait, timeout: 10m, inline: {content: 'while :; do sleep 0.2; done'}}]}
"#;

/// A ticket of level C with a window, reviewed by bob and by carol.
fn ticket((start, end): (i64, i64), over: &Value) -> Value {
    let mut spec = json!({
        "title": "Move the shop", "type": "Regular", "level": "C", "submit": true,
        "window": {"start": soon(start), "end": soon(end)},
        "plan": {"job": {"jobRef": {"name": "move"}}},
        "implementers": {"users": ["ivan"]},
        "review": [{"name": "leads", "users": ["bob"]}, {"name": "cab", "users": ["carol"], "rule": "All"}],
    });
    let over = over.as_object().expect("fields").clone();
    spec.as_object_mut().expect("a spec").extend(over);
    spec
}

/// The runs that left a line on the host.
fn lines(scene: &Changes) -> Vec<String> {
    scene.lines("vm1")
}

/// Waits until an Approval is told for this reason that it counts, or does not.
async fn counts(stage: &Stage, name: &str, reason: &str) {
    let approvals: Api<Approval> = Api::namespaced(stage.client.clone(), stage.name());
    let says = |approval: Option<&Approval>| {
        let status = approval.and_then(|a| a.status.as_ref());
        let counts = status.and_then(|s| find_condition(&s.conditions, "Counts"));
        counts.is_some_and(|c| c.reason == reason)
    };
    wait_for(approvals, name, reason, PATIENCE, says).await;
}

/// Somebody agrees who may decide, by the role, and has another part in it.
async fn agrees_in_vain(stage: &Stage, person: &str, digest: &str, reason: &str) {
    let may = ("approve", "changetickets");
    let client = stage.person(person, "pilothouse-approver", may).await;
    let spec = json!({"subject": {"kind": "ChangeTicket", "name": "move"}, "digest": digest, "decision": "Approve"});
    let name = format!("of-{person}");
    let given = Manifest::of("Approval", &name, &spec).within(stage.name());
    accepted(given.create(&client).await);
    counts(stage, &name, reason).await;
}

fn digest(status: &ChangeTicketStatus) -> String {
    status
        .digest
        .clone()
        .expect("there is something to decide on")
}

#[tokio::test]
async fn every_level_agrees_to_what_is_done_and_it_is_done_once() {
    let scene = Changes::of("reviewed", WORK).await;
    let draft = ticket(
        (-60, 900),
        &json!({"submit": false, "scope": {"hosts": ["vm1"]}}),
    );
    scene.plans("move", &draft).await;
    let status = scene.ready("move", "Draft").await;
    assert_eq!((status.digest, status.live), (None, Some(false)));
    let said = scene.bob.pilothouse(&["approve", "ticket/move"]).await;
    assert_eq!(
        said.code,
        Some(4),
        "there is nothing to decide on: {said:#?}"
    );

    let mut handed_in = draft.clone();
    handed_in["submit"] = true.into();
    scene.plans("move", &handed_in).await;
    let (status, told) = scene.told("move", "AwaitingApproval").await;
    for word in [
        "leads 0 of 1",
        "bob",
        "cab 0 of 1",
        "carol",
        "approve ticket/move",
    ] {
        assert!(told.contains(word), "no {word:?} in {told:?}");
    }
    let before = digest(&status);
    agrees_in_vain(&scene.stage, "rita", &before, "OwnWork").await;
    agrees_in_vain(&scene.stage, "ivan", &before, "Implementer").await;
    agrees_in_vain(&scene.stage, "dora", &before, "NotReviewer").await;

    // One level has agreed, and then its script says something else.
    let said = scene.bob.pilothouse(&["approve", "ticket/move"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let one = |s: &ChangeTicketStatus| s.levels.iter().any(|l| l.approved == 1 && l.by == ["bob"]);
    scene.until("move", "one level", one).await;
    scene.writes(&WORK.replace("echo", "echo -n; echo")).await;
    let fell = |s: &ChangeTicketStatus| {
        s.digest.is_some()
            && s.digest.as_ref() != Some(&before)
            && s.levels.iter().all(|l| l.approved == 0)
    };
    scene.until("move", "a new review", fell).await;
    // And so with its window.
    agreed_by_bob_alone(&scene, "move").await;
    handed_in["window"]["end"] = soon(1200).into();
    scene.plans("move", &handed_in).await;
    let none = |s: &ChangeTicketStatus| s.levels.iter().all(|l| l.approved == 0);
    scene.until("move", "a new review", none).await;
    assert!(lines(&scene).is_empty());

    scene.agreed("move").await;
    let status = scene.ready("move", "Succeeded").await;
    let name = status.run.clone().expect("a run");
    let run = scene.stage.ends(&name).await;
    let origin = &run.spec.on_behalf_of[0];
    assert_eq!((&*origin.kind, &*origin.name), ("ChangeTicket", "move"));
    assert_eq!(origin.requested_by.user, "rita");
    assert_eq!(run.spec.job_revision, status.job_revision);
    assert_eq!(lines(&scene), [name]);
    let result = status.result.expect("a result");
    assert_eq!(result.outcome, ChangeOutcome::Success);

    // An end is an end.
    handed_in["title"] = "Move it back".into();
    scene.plans("move", &handed_in).await;
    let ended = scene
        .until("move", "its end", |s| s.finished_at.is_some())
        .await;
    assert_eq!(lines(&scene).len(), 1);
    let ended = serde_json::to_value(ended).expect("an object is plain data");
    let title = "a ticket that has succeeded".to_owned();
    assert_told(&[Expected {
        title,
        object: ended,
        kstatus: "Current",
        argo: "Healthy",
    }]);
}

async fn agreed_by_bob_alone(scene: &Changes, name: &str) {
    let named = format!("ticket/{name}");
    let said = scene.bob.pilothouse(&["approve", &named]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let one = |s: &ChangeTicketStatus| s.levels.iter().any(|l| l.approved == 1);
    scene.until(name, "one level", one).await;
}

#[tokio::test]
async fn its_job_runs_once_in_the_window_whoever_leads() {
    let scene = Changes::of("leads", WORK).await;
    scene.plans("move", &ticket((30, 900), &json!({}))).await;
    scene.ready("move", "AwaitingApproval").await;
    scene.agreed("move").await;
    let status = scene.ready("move", "WaitingForWindow").await;
    let opens = status.next_flip.expect("it is foreseen").0;
    assert!(status.run.is_none() && lines(&scene).is_empty());
    for _ in 0..3 {
        let leader = Replica::leader(&scene.stage.client).await;
        let left = opens.duration_since(Timestamp::now()).as_millis().max(0);
        let left = u64::try_from(left).expect("no negative time").min(20_000);
        let moment = rand::random_range(0..2000);
        tokio::time::sleep(Duration::from_millis(left + moment)).await;
        leader.killed().await;
    }
    let status = scene.ready("move", "Succeeded").await;
    assert!(status.started.expect("it says when").at.0 >= opens);
    let all = scene.stage.runs().list(&ListParams::default()).await;
    let names = all.expect("runs are listed").items;
    let names: BTreeSet<_> = names.iter().map(kube::ResourceExt::name_any).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(lines(&scene), [status.run.expect("a run")]);
}

#[tokio::test]
async fn by_hand_an_implementer_starts_it_and_says_how_it_went() {
    let scene = Changes::of("by-hand", WORK).await;
    let over = json!({"start": "Manual", "level": "B"});
    scene.plans("move", &ticket((45, 900), &over)).await;
    let start = ["ticket", "start", "move"];
    let told = async |person: &Terminal, words: &[&str], reason: &str| {
        let said = person.pilothouse(words).await;
        assert_eq!(said.code, Some(3), "{said:#?}");
        assert!(said.err.contains(reason), "no {reason}: {said:#?}");
    };
    scene.ready("move", "AwaitingApproval").await;
    told(&scene.ivan, &start, "NotApproved").await;
    scene.agreed("move").await;
    scene.ready("move", "WaitingForWindow").await;
    told(&scene.ivan, &start, "WindowNotOpen").await;
    let (status, told_to) = scene.told("move", "AwaitingStart").await;
    assert!(told_to.contains("ticket start move"), "{told_to}");
    assert_eq!((status.live, status.run), (Some(true), None));
    told(&scene.bob, &start, "cannot create resource").await;
    told(&scene.rita, &start, "NotImplementer").await;
    assert!(lines(&scene).is_empty());

    let said = scene.ivan.pilothouse(&start).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    told(&scene.ivan, &start, "AlreadyStarted").await;
    let status = scene.ready("move", "AwaitingResult").await;
    assert_eq!(status.started.expect("it says by whom").by, "ivan");
    assert_eq!(lines(&scene).len(), 1);
    let well = [
        "ticket",
        "complete",
        "move",
        "--verified",
        "in-window",
        "--note",
        "orders come in",
    ];
    told(&scene.rita, &well, "NotImplementer").await;
    let said = scene.ivan.pilothouse(&well).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let (status, message) = scene.told("move", "Succeeded").await;
    assert!(
        message.contains("ivan") && message.contains("orders come in"),
        "{message}"
    );
    assert_eq!(status.live, Some(false));
    told(&scene.ivan, &["ticket", "cancel", "move"], "TicketEnded").await;
}

#[tokio::test]
async fn it_is_sent_back_cancelled_or_too_late() {
    let scene = Changes::of("ends", WORK).await;
    let mut rejected = ticket((-60, 900), &json!({}));
    scene.plans("rejected", &rejected).await;
    scene.ready("rejected", "AwaitingApproval").await;
    let no = [
        "reject",
        "ticket/rejected",
        "--reason",
        "not before the holidays",
    ];
    let said = scene.carol.pilothouse(&no).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let (_, told) = scene.told("rejected", "Rejected").await;
    assert!(
        told.contains("carol") && told.contains("not before the holidays"),
        "{told}"
    );
    rejected["description"] = "After the holidays.".into();
    scene.plans("rejected", &rejected).await;
    scene.ready("rejected", "AwaitingApproval").await;

    scene
        .plans("cancelled", &ticket((600, 900), &json!({})))
        .await;
    scene.ready("cancelled", "AwaitingApproval").await;
    scene.agreed("cancelled").await;
    scene.ready("cancelled", "WaitingForWindow").await;
    let cancel = [
        "ticket",
        "cancel",
        "cancelled",
        "--reason",
        "no longer needed",
    ];
    let said = scene.rita.pilothouse(&cancel).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let (_, told) = scene.told("cancelled", "Cancelled").await;
    assert!(
        told.contains("rita") && told.contains("no longer needed"),
        "{told}"
    );

    scene.plans("expired", &ticket((-60, 8), &json!({}))).await;
    let status = scene.ready("expired", "Expired").await;
    assert_eq!(status.summary.as_deref(), Some("Expired"));
    assert!(lines(&scene).is_empty());
}

#[tokio::test]
async fn when_the_window_closes_a_run_is_paused_or_aborted() {
    let scene = Changes::of("closes", WORK).await;
    for (name, on_close) in [("paused", "Pause"), ("aborted", "Abort")] {
        let window =
            json!({"start": soon(-60), "end": soon(90), "reserve": "30s", "onClose": on_close});
        let over = json!({"window": window, "plan": {"job": {"jobRef": {"name": "endless"}}}});
        scene.plans(name, &ticket((0, 1), &over)).await;
        scene.ready(name, "AwaitingApproval").await;
        scene.agreed(name).await;
    }
    let paused = scene.ready("paused", "Executing").await;
    let closes = paused.started.expect("it says when").closes.0;
    let has_run = |s: &ChangeTicketStatus| s.run.is_some();
    let run = scene.until("paused", "a run", has_run).await.status;
    let run = run.and_then(|s| s.run).expect("a run");
    scene.stage.becomes(&run, &["Running"]).await;
    scene.stage.becomes(&run, &["Suspended"]).await;
    assert!(Timestamp::now() >= closes);
    let (aborted, told) = scene.told("aborted", "WindowClosed").await;
    assert!(told.contains("Cancelled"), "{told}");
    assert_eq!(
        aborted.result.expect("a result").outcome,
        ChangeOutcome::Failed
    );

    // A ticket that is deleted in the middle stays with its run, which goes on as it was.
    let gone = DeleteParams::foreground();
    let deleted = scene.tickets.delete("paused", &gone).await;
    assert!(deleted.expect("an administrator may").left().is_some());
    tokio::time::timeout(Duration::from_secs(5), scene.stage.gone(&run))
        .await
        .expect_err("the run goes on");
    scene.stage.becomes(&run, &["Suspended"]).await;
    scene.stage.act(&run, "Cancel").await;
    scene.stage.ends(&run).await;
    eventually("the end of the ticket", PATIENCE, || async {
        let left = scene.tickets.get_opt("paused").await.ok()?;
        left.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn in_the_middle_it_is_cancelled_with_its_run() {
    let scene = Changes::of("middle", WORK).await;
    let over = json!({"level": "A", "plan": {"job": {"jobRef": {"name": "endless"}}}});
    scene.plans("move", &ticket((-60, 900), &over)).await;
    scene.ready("move", "AwaitingApproval").await;
    scene.agreed("move").await;
    let has_run = |s: &ChangeTicketStatus| s.run.is_some();
    let run = scene.until("move", "a run", has_run).await.status;
    let run = run.and_then(|s| s.run).expect("a run");
    scene.stage.becomes(&run, &["Running"]).await;
    let said = scene.ivan.pilothouse(&["ticket", "cancel", "move"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let ended = scene.stage.ends(&run).await;
    assert_eq!(
        ended.status.and_then(|s| s.summary).as_deref(),
        Some("Cancelled")
    );
    scene.ready("move", "Cancelled").await;
}

#[tokio::test]
async fn a_guide_is_followed_by_hand_and_closed_with_a_result() {
    let scene = Changes::of("guide", WORK).await;
    let over = json!({"plan": {"guide": "1. Drain rack 4. 2. Change the switch."}});
    scene.plans("switch", &ticket((-60, 900), &over)).await;
    scene.ready("switch", "AwaitingApproval").await;
    scene.agreed("switch").await;
    scene.ready("switch", "AwaitingStart").await;
    let said = scene.ivan.pilothouse(&["ticket", "start", "switch"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let status = scene.ready("switch", "Executing").await;
    assert_eq!((status.live, status.run), (Some(true), None));
    let bad = [
        "ticket",
        "complete",
        "switch",
        "--failed",
        "--note",
        "the old switch is back",
    ];
    let said = scene.ivan.pilothouse(&bad).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let (status, told) = scene.told("switch", "ChangeFailed").await;
    assert!(told.contains("the old switch is back"), "{told}");
    assert_eq!(
        status.result.expect("a result").outcome,
        ChangeOutcome::Failed
    );
}

const SETTINGS: &str = r"
{apiVersion: v1, kind: ConfigMap, metadata: {name: web}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: back}}
";

#[tokio::test]
async fn implementers_of_a_live_ticket_do_by_hand_what_it_allows_and_nobody_else_does() {
    let scene = Changes::of("by-hand", WORK).await;
    let (stage, namespace) = (&scene.stage, scene.stage.name());
    stage.apply(SETTINGS).await;
    let edit = json!({"kind": "ClusterRole", "name": "edit"});
    for person in ["ivan", "bob", "rita"] {
        rights::bind(&stage.client, namespace, person, &edit).await;
    }
    let policy = json!({"require": {"ticket": {}}, "rules": [{"resources": ["configmaps"], "operations": ["Update", "Delete"]}]});
    let policy = Protection::written(&stage.cluster, namespace, "tickets", &policy).await;
    let deletes = async |person: &Terminal, name: &str| {
        let words = ["delete", "configmap", name, "--dry-run=server"];
        person.kubectl(&words).await
    };
    let until = async |wanted: Option<i32>| {
        eventually("the API server to hear of it", PATIENCE, || async {
            let said = deletes(&scene.ivan, "web").await;
            (said.code == wanted).then_some(said)
        })
        .await
    };
    let said = until(Some(1)).await;
    assert!(said.err.contains("Write a ChangeTicket"), "{}", said.err);

    let allow = json!([{"groups": [""], "resources": ["configmaps"], "names": ["web"], "operations": ["Delete"]}]);
    let both = json!({"users": ["ivan", "rita"]});
    let over =
        json!({"plan": {"guide": "Take the settings away."}, "allow": allow, "implementers": both});
    scene.plans("tidy", &ticket((-60, 900), &over)).await;
    scene.ready("tidy", "AwaitingApproval").await;
    let said = deletes(&scene.ivan, "web").await;
    assert_eq!(said.code, Some(1), "nobody has agreed yet");
    scene.agreed("tidy").await;
    until(Some(0)).await;
    policy
        .until("a pass", |status| status.passes.len() == 1)
        .await;
    for (person, name) in [(&scene.ivan, "back"), (&scene.bob, "web")] {
        let said = deletes(person, name).await;
        assert_eq!(said.code, Some(1), "{}", said.err);
    }
    // Who wrote the ticket is one of its implementers, and another has to do it.
    let own = "rita wrote ChangeTicket tidy or has agreed to it, and another implementer";
    let said = deletes(&scene.rita, "web").await;
    assert!(said.code == Some(1) && said.err.contains(own), "{said:#?}");
    let asks = ["can-i-change", "configmap/web", "--verb", "delete"];
    let said = scene.rita.pilothouse(&asks).await;
    assert!(said.code == Some(1) && said.out.contains(own), "{said:#?}");
    let labels = ["label", "configmap", "web", "a=b", "--dry-run=server"];
    let said = scene.ivan.kubectl(&labels).await;
    assert_eq!(said.code, Some(1), "it may be deleted, and not changed");

    let start = ["ticket", "start", "tidy"];
    assert_eq!(scene.ivan.pilothouse(&start).await.code, Some(0));
    scene.ready("tidy", "Executing").await;
    let complete = [
        "ticket",
        "complete",
        "tidy",
        "--verified",
        "in-window",
        "--note",
        "done",
    ];
    assert_eq!(scene.ivan.pilothouse(&complete).await.code, Some(0));
    until(Some(1)).await;
}

#[tokio::test]
async fn whoever_may_not_act_as_its_account_has_nothing_done() {
    let scene = Changes::of("account", WORK).await;
    let stage = &scene.stage;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "mallory"},
        "rules": [{"apiGroups": ["pilothouse.dev"], "resources": ["changetickets", "jobs", "jobruns"], "verbs": ["get", "create", "patch", "update"]},
            {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "verbs": ["use"]}]});
    let role = Manifest::from_json(role).within(stage.name());
    accepted(role.create(&stage.client).await);
    let bound = json!({"kind": "Role", "name": "mallory"});
    rights::bind(&stage.client, stage.name(), "mallory", &bound).await;
    let mallory = stage.cluster.as_user("mallory", &["testers"]);
    rights::hold(&mallory, stage.name(), ("patch", "jobs"), None, true).await;
    let wanted = ticket((-60, 900), &json!({}));
    let hers = Manifest::of("ChangeTicket", "hers", &wanted).within(stage.name());
    let rule = ["Rule pilothouse-account", "may not impersonate"];
    refused(hers.try_create(&mallory).await, &rule);

    // What is agreed to is not run once somebody has written it who may not.
    scene.plans("move", &wanted).await;
    scene.ready("move", "AwaitingApproval").await;
    let job = json!({"sharing": "Shared", "targets": {"hosts": {"names": ["vm1"]}}, "steps": [{"name": "a", "inline": {"content": "true"}}]});
    let job = Manifest::of("Job", "move", &job).within(stage.name());
    accepted(job.apply(&mallory).await);
    let (status, told) = scene.told("move", "WriterNotEntitled").await;
    assert!(told.contains("mallory"), "{told}");
    assert_eq!((status.live, status.run), (Some(false), None));
    let all = stage.runs().list(&ListParams::default()).await;
    let none = all.expect("runs are listed").items;
    assert!(
        none.is_empty(),
        "{:?}",
        none.iter()
            .map(kube::ResourceExt::name_any)
            .collect::<Vec<_>>()
    );
}
