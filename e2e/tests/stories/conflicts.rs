//! Story: whoever plans a change is told at apply what it conflicts with, a policy keeps it from being handed in for that, and once it is moved it is handed in.

use std::time::Duration;

use crds::v1alpha1::{ChangeTicket, ChangeTicketStatus, condition_is_true, find_condition};
use e2e::{
    Manifest, Protection, Stage, Terminal, accepted, eventually, rights, soon, stage::PATIENCE,
    terminal::Said, tickets,
};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Rita plans changes of a namespace that is frozen in half an hour.
struct Scene {
    stage: Stage,
    tickets: Api<ChangeTicket>,
    rita: Terminal,
    client: Client,
}

async fn scene(story: &str) -> Scene {
    let stage = Stage::set(story).await;
    let role = json!({"kind": "ClusterRole", "name": "pilothouse-admin"});
    rights::bind(&stage.client, stage.name(), "rita", &role).await;
    let client = stage.cluster.as_user("rita", &["testers"]);
    let may = ("create", "changetickets");
    rights::hold(&client, stage.name(), may, None, true).await;
    let sale = json!({"name": "sale", "effect": "Freeze", "reason": "the shop sells", "start": soon(1800), "duration": "1h"});
    let scene = Scene {
        tickets: Api::namespaced(stage.client.clone(), stage.name()),
        rita: Terminal::of("rita", stage.name()),
        client,
        stage,
    };
    let freezes = json!({"default": "Open", "timeZone": "UTC", "events": [sale]});
    scene.writes("ChangeCalendar", "freezes", &freezes).await;
    scene
}

/// A ticket with a window, carried out by somebody of its own.
fn ticket((start, end): (i64, i64), implementer: &str, scope: &Value) -> Value {
    json!({
        "title": "Move the shop", "type": "Regular", "level": "C", "submit": true, "scope": scope,
        "window": {"start": soon(start), "end": soon(end)}, "plan": {"guide": "By hand."},
        "implementers": {"users": [implementer]}, "review": [{"name": "leads", "users": ["bob"]}],
    })
}

impl Scene {
    async fn writes(&self, kind: &str, name: &str, spec: &Value) {
        let object = Manifest::of(kind, name, spec).within(self.stage.name());
        accepted(object.apply(&self.client).await);
    }

    /// What rita reads who applies a ticket from a file.
    async fn applies(&self, name: &str, spec: &Value, more: &[&str]) -> Said {
        let ticket = Manifest::of("ChangeTicket", name, spec).into_json();
        let file = std::env::temp_dir().join(format!("{}-{name}.json", self.stage.name()));
        std::fs::write(&file, ticket.to_string()).expect("a file is written");
        let path = file.to_string_lossy();
        let words = [&["apply", "-f", &path][..], more].concat();
        let said = self.rita.kubectl(&words).await;
        std::fs::remove_file(&file).expect("it is there");
        assert_eq!(said.code, Some(0), "{}", said.err);
        said
    }

    /// Waits until a ticket says this of itself as it is now.
    async fn ready(&self, name: &str, reason: &str) -> ChangeTicketStatus {
        tickets::ready(&self.tickets, name, reason).await
    }

    /// Has the policies of the namespace block what conflicts.
    async fn blocks(&self, what: &str) -> Protection {
        let require = json!({"ticket": {"onConflict": {what: "Block"}}});
        let spec = json!({"require": require, "rules": [{"resources": ["configmaps"], "operations": ["Update"]}]});
        let stage = &self.stage;
        let policy = Protection::written(&stage.cluster, stage.name(), "tickets", &spec).await;
        policy
            .until("a state", |status| status.state.is_some())
            .await;
        policy
    }
}

fn reasons(status: &ChangeTicketStatus) -> Vec<&'static str> {
    let all = status.conflicts.iter();
    all.map(|conflict| conflict.reason.name()).collect()
}

#[tokio::test]
async fn a_ticket_is_warned_of_at_apply_not_handed_in_and_handed_in_once_it_is_moved() {
    let scene = scene("conflicts").await;
    let _policy = scene.blocks("submit").await;
    let first = ticket((600, 1200), "ivan", &json!({"hosts": ["vm1"]}));
    scene.applies("first", &first, &[]).await;
    let status = scene.ready("first", "AwaitingApproval").await;
    assert!(condition_is_true(&status.conditions, "ConflictFree"));

    let mut second = ticket((900, 2400), "eve", &json!({"hosts": ["vm1", "vm2"]}));
    second["calendarRefs"] = json!([{"name": "freezes"}]);
    let dry = ["--dry-run=server"];
    let warned = eventually("a warning", PATIENCE, || async {
        let said = scene.applies("second", &second, &dry).await;
        let both = said.err.contains("ItemBooked") && said.err.contains("InsideFreeze");
        both.then_some(said.err)
    })
    .await;
    for told in [
        "Warning: ItemBooked: ChangeTicket first also changes hosts/vm1",
        "Warning: InsideFreeze: ChangeCalendar freezes is closed by sale (the shop sells)",
    ] {
        assert!(warned.contains(told), "no {told:?} in {warned}");
    }
    let there = scene.tickets.get_opt("second").await;
    assert!(there.expect("it can be asked for").is_none());

    let said = scene.applies("second", &second, &[]).await;
    assert!(said.err.contains("Warning: ItemBooked"), "{}", said.err);
    let status = scene.ready("second", "ItemBooked").await;
    assert_eq!(reasons(&status), ["ItemBooked", "InsideFreeze"]);
    assert_eq!((status.digest, status.live), (None, Some(false)));
    for type_ in ["Submitted", "ConflictFree"] {
        let told = find_condition(&status.conditions, type_).expect("it says so");
        assert_eq!((&*told.status, &*told.reason), ("False", "ItemBooked"));
    }
    let said = scene.rita.pilothouse(&["ticket", "show", "second"]).await;
    for told in ["Blocked", "InsideFreeze", "hosts/vm1"] {
        assert!(said.out.contains(told), "no {told:?} in {said:#?}");
    }

    second["window"] = json!({"start": soon(1300), "end": soon(1700)});
    let said = scene.applies("second", &second, &[]).await;
    assert!(!said.err.contains("ItemBooked"), "{}", said.err);
    assert!(!said.err.contains("InsideFreeze"), "{}", said.err);
    let status = scene.ready("second", "AwaitingApproval").await;
    assert!(condition_is_true(&status.conditions, "ConflictFree"));
    assert!(status.conflicts.is_empty() && status.digest.is_some());

    // What ends is in nobody's way any more.
    let third = ticket((700, 1000), "carl", &json!({"hosts": ["vm1"]}));
    scene.writes("ChangeTicket", "third", &third).await;
    scene.ready("third", "ItemBooked").await;
    let cancel = ["ticket", "cancel", "first", "--reason", "later"];
    assert_eq!(scene.rita.pilothouse(&cancel).await.code, Some(0));
    scene.ready("third", "AwaitingApproval").await;
}

#[tokio::test]
async fn what_stands_on_an_object_is_told_and_a_change_that_conflicts_is_not_started() {
    let scene = scene("related").await;
    let pod = scene.stage.shell("db-0").await;
    let node = pod.spec.and_then(|spec| spec.node_name).expect("it runs");
    let label = json!({"metadata": {"labels": {"app": "db"}}}).to_string();
    let administrator = Terminal::of_the_administrator(scene.stage.name());
    let said = administrator
        .kubectl(&["patch", "pod", "db-0", "-p", &label])
        .await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    scene
        .stage
        .apply(
            r"
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {selector: {app: db}, ports: [{port: 5432}]}}
",
        )
        .await;
    let _policy = scene.blocks("start").await;
    let object =
        |resource: &str, name: &str| json!({"objects": [{"resource": resource, "name": name}]});
    let window = (-60, 900);
    let node = ticket(window, "ivan", &object("nodes", &node));
    scene.writes("ChangeTicket", "node", &node).await;
    scene.ready("node", "AwaitingApproval").await;
    // Who is first is known by the second.
    let moment = Duration::from_millis(1100);
    tokio::time::sleep(moment).await;
    let service = ticket(window, "eve", &object("services", "db"));
    scene.writes("ChangeTicket", "service", &service).await;
    let status = scene.ready("service", "AwaitingApproval").await;
    assert_eq!(reasons(&status), ["RelatedBooked"]);
    let told = &status.conflicts[0];
    assert_eq!(
        (&*told.with.name, told.reason.severity()),
        ("node", told.severity)
    );

    // Ivan cannot be at both, and both change the node: it waits until the first has ended.
    tokio::time::sleep(moment).await;
    let mut again = node;
    again["title"] = "Move it once more".into();
    scene.writes("ChangeTicket", "again", &again).await;
    let status = scene.ready("again", "AwaitingApproval").await;
    assert_eq!(
        reasons(&status),
        ["ItemBooked", "RelatedBooked", "ImplementerBooked"]
    );
    let bob = Terminal::of("bob", scene.stage.name());
    let role = json!({"kind": "ClusterRole", "name": "pilothouse-approver"});
    rights::bind(&scene.stage.client, scene.stage.name(), "bob", &role).await;
    eventually("a decision", PATIENCE, || async {
        let said = bob.pilothouse(&["approve", "ticket/again"]).await;
        (said.code == Some(0)).then_some(())
    })
    .await;
    scene.ready("again", "ItemBooked").await;
    let cancel = ["ticket", "cancel", "node", "--reason", "later"];
    assert_eq!(scene.rita.pilothouse(&cancel).await.code, Some(0));
    scene.ready("again", "AwaitingStart").await;
}
