//! Story: a team protects its shop and its hosts. A change is planned, moved, agreed to and carried out within its window by people who are who their certificates say; what is dangerous is held or refused; the glass is broken
//! once, and somebody looks at that afterwards; and with no webhook alive the freeze still holds.

use crds::v1alpha1::{BreakGlass, CalendarState, ChangeTicket, find_condition};
use e2e::{
    Away, Guest, Manifest, OfTheCluster, Person, Protection, Stage, accepted, eventually, rights,
    soon, stage::PATIENCE, terminal::Said, tickets, wait_for,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};

const COMMANDS: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: CommandPolicy
metadata: {name: NAMESPACE}
spec:
  applyTo: [Scripts, Runs, PodExec]
  failurePolicy: Fail
  breakGlass: {groups: [NAMESPACE-oncall], record: Required}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
";

const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: ChangeCalendar
metadata: {name: sales}
spec:
  default: Open
  timeZone: UTC
  events: [{name: winter-sale, effect: Freeze, reason: the shop sells, start: "SALE", duration: 1h}]
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: move}
spec: {sharing: Shared, targets: {hosts: {names: [vm1]}}, steps: [{name: move, inline: {content: 'echo moved >> /var/tmp/NAMESPACE'}}]}
"#;

/// Tessa works on the shop, rita plans changes, bob and carol agree to them, ivan carries them out, who is of the crew as rita is, and olga is on call.
struct Scene {
    stage: Stage,
    tickets: Api<ChangeTicket>,
    tessa: Person,
    rita: Person,
    bob: Person,
    carol: Person,
    ivan: Person,
    olga: Person,
}

async fn scene() -> Scene {
    let stage = Stage::set("shop").await;
    let oncall = format!("{}-oncall", stage.name());
    let person = async |name: &str, group: &str, roles: &[&str], may: (&str, &str)| {
        for role in roles {
            let role = json!({"kind": "ClusterRole", "name": role});
            rights::bind(&stage.client, stage.name(), name, &role).await;
        }
        let person = Person::certified(&stage.cluster, stage.name(), name, group).await;
        rights::hold(&person.client, stage.name(), may, None, true).await;
        person
    };
    let (admin, approver) = ("pilothouse-admin", "pilothouse-approver");
    let decides = ("approve", "changetickets");
    let scene = Scene {
        tickets: Api::namespaced(stage.client.clone(), stage.name()),
        tessa: person("tessa", "shop", &["edit", admin], ("create", "jobruns")).await,
        rita: person("rita", "crew", &["edit", admin, approver], decides).await,
        bob: person("bob", "leads", &[approver], decides).await,
        carol: person("carol", "leads", &[approver], decides).await,
        ivan: person(
            "ivan",
            "crew",
            &["edit", "pilothouse-implementer"],
            ("start", "changetickets"),
        )
        .await,
        olga: person(
            "olga",
            &oncall,
            &["edit", "pilothouse-breaker", approver],
            ("create", "breakglasses"),
        )
        .await,
        stage,
    };
    scene.stage.hosts_seen().await;
    scene.stage.shell("db-0").await;
    scene.stage.apply(&SHOP.replace("SALE", &soon(1800))).await;
    scene
}

/// A change of the shop's host that lets the crew delete its Deployment meanwhile.
fn ticket((start, end): (i64, i64)) -> Value {
    json!({
        "title": "Move the shop", "type": "Regular", "level": "B", "submit": true,
        "window": {"start": soon(start), "end": soon(end)}, "calendarRefs": [{"name": "sales"}],
        "scope": {"hosts": ["vm1"]}, "plan": {"job": {"jobRef": {"name": "move"}}},
        "allow": [{"groups": ["apps"], "resources": ["deployments"], "names": ["web"], "operations": ["Delete"]}],
        "implementers": {"groups": ["crew"]},
        "review": [{"name": "leads", "users": ["bob", "rita"]}, {"name": "cab", "users": ["carol"]}],
    })
}

impl Scene {
    /// What somebody reads who deletes the shop.
    async fn deletes(&self, person: &Person) -> Said {
        let words = ["delete", "deployment", "web", "--dry-run=server"];
        person.terminal.kubectl(&words).await
    }

    /// Waits until ivan's attempt to delete it ends so.
    async fn until(&self, code: i32) -> Said {
        eventually("the API server to hear of it", PATIENCE, || async {
            let said = self.deletes(&self.ivan).await;
            (said.code == Some(code)).then_some(said)
        })
        .await
    }

    /// What rita reads who applies a ticket from a file.
    async fn plans(&self, name: &str, spec: &Value) -> String {
        let ticket = Manifest::of("ChangeTicket", name, spec).into_json();
        let file = std::env::temp_dir().join(format!("{}-{name}.json", self.stage.name()));
        std::fs::write(&file, ticket.to_string()).expect("a file is written");
        let path = file.to_string_lossy();
        let said = self.rita.terminal.kubectl(&["apply", "-f", &path]).await;
        std::fs::remove_file(&file).expect("it is there");
        assert_eq!(said.code, Some(0), "{}", said.err);
        said.err
    }

    async fn ready(&self, name: &str, reason: &str) {
        tickets::ready(&self.tickets, name, reason).await;
    }

    async fn agrees(&self, person: &Person, subject: &str) {
        eventually("a decision", PATIENCE, || async {
            let said = person.terminal.pilothouse(&["approve", subject]).await;
            (said.code == Some(0)).then_some(())
        })
        .await;
    }

    /// What somebody reads who runs what came from elsewhere.
    async fn fetches(&self, person: &Person) -> String {
        let words = ["exec", "db-0", "--", "sh", "-c", "curl x | bash"];
        person.terminal.kubectl(&words).await.err
    }
}

#[tokio::test]
async fn a_team_protects_its_shop() {
    let scene = scene().await;
    let oncall = format!("{}-oncall", scene.stage.name());
    let spec = json!({"require": {"ticket": {}}, "breakGlass": {"groups": [oncall], "record": "Required"},
        "rules": [{"groups": ["apps"], "resources": ["deployments"], "names": ["web"]}]});
    let policy = Protection::written(&scene.stage.cluster, scene.stage.name(), "shop", &spec).await;
    let _commands = OfTheCluster::applied(&scene.stage, COMMANDS).await;
    policy.becomes(CalendarState::Closed).await;

    let refused = scene.until(1).await.err;
    for told in [
        policy.name(),
        "the shop sells on these days",
        "Write a ChangeTicket",
    ] {
        assert!(refused.contains(told), "no {told:?} in {refused}");
    }
    a_change_is_planned_moved_and_agreed_to(&scene).await;
    it_is_carried_out_within_its_window_and_nowhere_else(&scene).await;
    what_is_dangerous_is_held_or_refused(&scene).await;
    the_glass_is_broken_and_somebody_looks_at_it(&scene).await;
    let _away = Away::webhook(&scene.stage).await;
    for person in [&scene.tessa, &scene.ivan, &scene.olga] {
        let said = scene.deletes(person).await;
        assert!(said.err.contains(policy.name()), "{}", said.err);
    }
    let shop: Api<Deployment> = Api::namespaced(scene.stage.client.clone(), scene.stage.name());
    shop.get("web").await.expect("all of it was tried only");
}

async fn a_change_is_planned_moved_and_agreed_to(scene: &Scene) {
    let mut disk = ticket((60, 2400));
    disk["calendarRefs"] = json!([]);
    disk["implementers"] = json!({"users": ["dora"]});
    scene.plans("disk", &disk).await;
    scene.ready("disk", "AwaitingApproval").await;
    let warned = eventually("a warning", PATIENCE, || async {
        let said = scene.plans("move", &ticket((900, 2400))).await;
        let both = said.contains("ItemBooked") && said.contains("InsideFreeze");
        both.then_some(said)
    })
    .await;
    for told in ["ChangeTicket disk", "hosts/vm1", "winter-sale"] {
        assert!(warned.contains(told), "no {told:?} in {warned}");
    }
    let cancelled = ["ticket", "cancel", "disk", "--reason", "another day"];
    let said = scene.rita.terminal.pilothouse(&cancelled).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    scene.ready("disk", "Cancelled").await;
    let moved = ticket((45, 120));
    eventually("no warning", PATIENCE, || async {
        let said = scene.plans("move", &moved).await;
        (!said.contains("Warning")).then_some(())
    })
    .await;
    scene.ready("move", "AwaitingApproval").await;
    let own = ["approve", "ticket/move"];
    let said = scene.rita.terminal.pilothouse(&own).await;
    println!("one's own is written down, and does not count: {said:#?}");
    scene.agrees(&scene.bob, "ticket/move").await;
    scene.agrees(&scene.carol, "ticket/move").await;
    assert_eq!(scene.deletes(&scene.ivan).await.code, Some(1), "not yet");
}

async fn it_is_carried_out_within_its_window_and_nowhere_else(scene: &Scene) {
    scene.ready("move", "AwaitingResult").await;
    let moved = format!("cat /var/tmp/{0}; rm /var/tmp/{0}", scene.stage.name());
    assert_eq!(Guest("vm1").sh(&moved).trim(), "moved");
    scene.until(0).await;
    for (person, why) in [
        (&scene.tessa, "Write a ChangeTicket"),
        (&scene.rita, "another implementer has to do it"),
    ] {
        let said = scene.deletes(person).await;
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(said.err.contains(why), "no {why:?} in {}", said.err);
    }
    // The window closes.
    scene.until(1).await;
}

async fn what_is_dangerous_is_held_or_refused(scene: &Scene) {
    let step = json!({"name": "tidy", "inline": {"content": "rm -rf \"$DIR/\"\n"}});
    let job =
        json!({"sharing": "Shared", "targets": {"hosts": {"names": ["vm1"]}}, "steps": [step]});
    let run = Manifest::of("JobRun", "tidy", &json!({"job": job})).within(scene.stage.name());
    accepted(run.create(&scene.tessa.client).await);
    scene.stage.waits("tidy", "AwaitingApproval").await;
    scene.stage.act("tidy", "Cancel").await;
    eventually("a refusal", PATIENCE, || async {
        let said = scene.fetches(&scene.tessa).await;
        said.contains("rule download-and-run").then_some(())
    })
    .await;
}

async fn the_glass_is_broken_and_somebody_looks_at_it(scene: &Scene) {
    let said = scene.fetches(&scene.olga).await;
    assert!(said.contains("kubectl pilothouse break-glass"), "{said}");
    let breaks = [
        "break-glass",
        "--reason",
        "carts are empty",
        "--incident",
        "INC-7",
        "--for",
        "10m",
    ];
    let said = scene.olga.terminal.pilothouse(&breaks).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    eventually("the webhook to hear of it", PATIENCE, || async {
        let said = scene.fetches(&scene.olga).await;
        (!said.contains("denied the request")).then_some(())
    })
    .await;
    eventually("the API server to hear of it", PATIENCE, || async {
        let said = scene.deletes(&scene.olga).await;
        (said.code == Some(0)).then_some(())
    })
    .await;
    let said = scene.fetches(&scene.tessa).await;
    assert!(said.contains("denied the request"), "{said}");
    let glasses: Api<BreakGlass> = Api::namespaced(scene.stage.client.clone(), scene.stage.name());
    let all = glasses.list(&ListParams::default()).await;
    let name = all
        .expect("a list")
        .items
        .first()
        .map(kube::ResourceExt::name_any);
    let name = name.expect("hers");
    let close = [
        "patch",
        "breakglass",
        &name,
        "--type=merge",
        "-p",
        r#"{"spec":{"closed":true}}"#,
    ];
    let said = scene.olga.terminal.kubectl(&close).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let says = async |reason: &str| {
        let is = |glass: Option<&BreakGlass>| {
            let status = glass.and_then(|glass| glass.status.as_ref());
            let told = status.and_then(|s| find_condition(&s.conditions, "Reviewed"));
            told.is_some_and(|told| told.reason == reason)
        };
        wait_for(glasses.clone(), &name, reason, PATIENCE, is).await
    };
    let waiting = says("AwaitingReview").await;
    assert_eq!(waiting.spec.incident, "INC-7", "{}", waiting.name_any());
    scene
        .agrees(&scene.bob, &format!("breakglass/{name}"))
        .await;
    says("Approved").await;
    eventually("the end of it", PATIENCE, || async {
        let said = scene.deletes(&scene.olga).await;
        (said.code == Some(1)).then_some(())
    })
    .await;
}
