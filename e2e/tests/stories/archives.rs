//! Story: a run or a ticket that the cluster no longer holds is found in records, by those who might have read it, and a ticket that Git brings back is not made again.

use std::time::Duration;

use crds::v1alpha1::{ChangeTicket, ChangeTicketStatus, condition_is_true};
use e2e::{
    Manifest, Stage, Terminal, accepted, eventually, rights, soon, stage::PATIENCE, tickets,
};
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _, api::DynamicObject};
use serde_json::json;

const BRIEF: &str = "
apiVersion: pilothouse.dev/v1alpha1
kind: JobRun
metadata: {name: brief}
spec:
  ttlAfterFinished: 1s
  job:
    targets: {hosts: {names: [vm1]}}
    steps: [{name: say, inline: {content: 'echo said'}}]";

#[tokio::test]
async fn a_run_that_is_gone_is_still_found_with_what_people_did_to_it() {
    let stage = Stage::set("archived").await;
    stage.hosts_seen().await;
    stage.apply(BRIEF).await;
    stage
        .run("held", "steps: [{name: a, pause: {duration: 10m}}]")
        .await;
    stage.becomes("held", &["Running"]).await;
    // More words than are handed over at once.
    for _ in 0..10 {
        stage.act("held", "Suspend").await;
    }
    stage.act("held", "Cancel").await;
    stage.ends("held").await;
    stage.gone("brief").await;

    let archived = stage.archived("JobRun", "brief", "Succeeded").await;
    let object = &archived.data["object"];
    assert_eq!(
        object["metadata"]["uid"].as_str(),
        archived.metadata.uid.as_deref()
    );
    assert_eq!(object["status"]["summary"], "Succeeded");
    stage.archived("JobRun", "held", "Cancelled").await;
    let words = eventually("all that people did to it", PATIENCE, || async {
        let words = stage.archives("RunAction").await;
        (words.len() == 11).then_some(words)
    })
    .await;
    let cancels = |word: &&DynamicObject| word.data["object"]["spec"]["action"] == "Cancel";
    let cancel = words.iter().find(cancels).expect("it is one of them");
    assert_eq!(cancel.data["outcome"], "Applied");

    let viewer = json!({"kind": "ClusterRole", "name": "pilothouse-viewer"});
    rights::bind(&stage.client, stage.name(), "ann", &viewer).await;
    let ann = stage.cluster.as_user("ann", &["testers"]);
    rights::hold(&ann, stage.name(), ("get", "jobruns"), None, true).await;
    let ann = Terminal::of("ann", stage.name());
    let told = ann.pilothouse(&["explain", "brief"]).await;
    assert!(
        told.code == Some(0) && told.out.contains("Succeeded"),
        "{told:#?}"
    );
    let administrator = Terminal::of_the_administrator(stage.name());
    let gone = administrator
        .kubectl(&["delete", "jobruns,runactions", "--all"])
        .await;
    assert_eq!(gone.code, Some(0), "{gone:#?}");
    let told = ann.pilothouse(&["explain", "held"]).await;
    let did = |what: &str| told.out.lines().any(|line| line.starts_with(what));
    assert!(did("Suspend") && did("Cancel"), "{told:#?}");
    let told = ann.pilothouse(&["logs", "brief", "--no-prefix"]).await;
    assert_eq!((told.code, &*told.out), (Some(0), "said\n"), "{told:#?}");
    let told = ann.pilothouse(&["explain", "never"]).await;
    assert!(told.err.contains("never"), "{told:#?}");
    let told = ann
        .kubectl(&["get", "archives", "--field-selector", "object=brief"])
        .await;
    assert!(told.out.contains("jobrun.brief."), "{told:#?}");
    let told = ann.kubectl(&["explain", "archives.finishedAt"]).await;
    assert!(told.out.contains("When it ended"), "{told:#?}");

    let stranger = Terminal::of("bob", stage.name());
    let told = stranger.kubectl(&["get", "archives"]).await;
    assert!(told.err.contains("forbidden"), "{told:#?}");
}

/// Reads what is kept of everything, and of the objects themselves runs alone.
const LOOKER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: looker}
rules:
- {apiGroups: [records.pilothouse.dev], resources: [archives], verbs: [get, list]}
- {apiGroups: [pilothouse.dev], resources: [jobruns], verbs: [get, list]}";

/// A change by hand that goes as soon as its window is over: rita writes it, bob agrees, ivan makes it. As Git has it, and as it has ended.
async fn made(stage: &Stage, rita: &Client) -> (Manifest, ChangeTicket) {
    let decides = ("approve", "changetickets");
    stage.person("bob", "pilothouse-approver", decides).await;
    let starts = ("start", "changetickets");
    stage.person("ivan", "pilothouse-implementer", starts).await;
    let tickets: Api<ChangeTicket> = Api::namespaced(stage.client.clone(), stage.name());
    let spec = json!({"title": "Move the shop", "type": "Regular", "level": "C", "submit": true, "ttlAfterFinished": "1s",
        "window": {"start": soon(-60), "end": soon(90)}, "plan": {"guide": "by hand"},
        "implementers": {"users": ["ivan"]}, "review": [{"name": "leads", "users": ["bob"]}]});
    let ticket = Manifest::of("ChangeTicket", "move", &spec).within(stage.name());
    accepted(ticket.apply(rita).await);
    tickets::ready(&tickets, "move", "AwaitingApproval").await;
    let typed = async |who: &str, words: &[&str]| {
        let said = Terminal::of(who, stage.name()).pilothouse(words).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
    };
    typed("bob", &["approve", "ticket/move"]).await;
    tickets::ready(&tickets, "move", "AwaitingStart").await;
    typed("ivan", &["ticket", "start", "move"]).await;
    let complete = ["ticket", "complete", "move", "--verified", "in-window"];
    typed("ivan", &complete).await;
    let ended = tickets::until(&tickets, "move", "a place in the archive", is_kept).await;
    (ticket, ended)
}

fn is_kept(status: &ChangeTicketStatus) -> bool {
    status.archived_at.is_some()
}

async fn outcomes(stage: &Stage, kind: &str) -> Vec<String> {
    let all = stage.archives(kind).await.into_iter();
    let outcome = |one: DynamicObject| one.data["outcome"].as_str().map(str::to_owned);
    all.filter_map(outcome).collect()
}

#[tokio::test]
async fn a_ticket_that_is_gone_is_still_found_and_is_not_made_again_when_git_brings_it_back() {
    let stage = Stage::set("archived-tickets").await;
    let writes = ("create", "changetickets");
    let rita = stage.person("rita", "pilothouse-admin", writes).await;
    let (ticket, ended) = made(&stage, &rita).await;
    let archived = stage.archived("ChangeTicket", "move", "Succeeded").await;
    assert_eq!(archived.metadata.uid, ended.metadata.uid);
    assert_eq!(outcomes(&stage, "Approval").await, ["Approved"]);
    assert_eq!(
        outcomes(&stage, "ChangeAction").await,
        ["Applied", "Applied"]
    );

    // Applied again within its window it might be made again, so it stays until that is over.
    let tickets: Api<ChangeTicket> = Api::namespaced(stage.client.clone(), stage.name());
    eventually("the end of its time", PATIENCE, || async {
        let found = tickets.get_opt("move").await.ok()?;
        found.is_none().then_some(())
    })
    .await;
    assert!(Timestamp::now() >= ended.spec.window.end.0);
    let reads = ("get", "changetickets");
    stage.person("ann", "pilothouse-viewer", reads).await;
    let ann = Terminal::of("ann", stage.name());
    let told = ann.pilothouse(&["ticket", "show", "move"]).await;
    assert!(
        told.code == Some(0) && told.out.contains("Succeeded"),
        "{told:#?}"
    );

    // Git brings it back: nobody is asked, nothing is done, and it stays.
    accepted(ticket.apply(&rita).await);
    let again = tickets::ready(&tickets, "move", "AlreadyOver").await;
    assert!(condition_is_true(&again.conditions, "Ready") && again.started.is_none());
    let kept = tickets::until(&tickets, "move", "a place in the archive", is_kept).await;
    // Longer than its age.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let still = tickets.get("move").await.expect("it stays");
    assert_eq!(still.uid(), kept.uid());
    assert!(still.finalizers().is_empty(), "nothing holds it");

    // What is kept of tickets is for those who may read tickets.
    stage.apply(LOOKER).await;
    let role = json!({"kind": "Role", "name": "looker"});
    rights::bind(&stage.client, stage.name(), "lou", &role).await;
    let lou = stage.cluster.as_user("lou", &["testers"]);
    rights::hold(&lou, stage.name(), ("list", "jobruns"), None, true).await;
    let lou = Terminal::of("lou", stage.name());
    let told = lou.kubectl(&["get", "archives"]).await;
    assert!(
        told.code == Some(0) && !told.out.contains("move"),
        "{told:#?}"
    );
    let chosen = ["get", "archives", "--field-selector", "kind=ChangeTicket"];
    let told = lou.kubectl(&chosen).await;
    assert!(told.err.contains("forbidden"), "{told:#?}");
}
