//! Story: a change of several regions is reviewed once, made in each of them on its hosts and in its window, and nobody gets a part of it past the review.

use crds::v1alpha1::{Approval, ChangeOutcome, ChangeTicketStatus, RegionStatus, find_condition};
use e2e::{Changes, Manifest, accepted, eventually, refused, soon, stage::PATIENCE, wait_for};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

/// What is done differs by region: eu is vm1, us is pm1.
const WORK: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Script
metadata: {name: move}
spec: {content: 'echo "$RUN" >> /var/tmp/NAMESPACE', parameters: [{name: RUN}]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: move}
spec:
  sharing: Shared
  parameters: [{name: region, required: true, allowed: [eu, us]}]
  steps:
  - {name: eu, when: "params.region == 'eu'", targets: {hosts: {names: [vm1]}}, script: {name: move, parameters: {RUN: "{{ run.name }}"}}}
  - {name: us, when: "params.region == 'us'", targets: {hosts: {names: [pm1]}}, script: {name: move, parameters: {RUN: "{{ run.name }}"}}}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: endless}
spec: {sharing: Shared, targets: {hosts: {names: [vm1]}}, steps: [{name: wait, timeout: 10m, inline: {content: 'while :; do sleep 0.2; done'}}]}
"#;

/// A ticket of level C whose Job runs in eu and us, each from so many seconds from now on.
fn ticket(job: &str, eu: i64, us: i64) -> Value {
    let window = |start: i64| json!({"start": soon(start), "end": soon(900)});
    let region = |name: &str, host: &str, start: i64| {
        let mut region = json!({"name": name, "window": window(start), "hosts": [host]});
        if job == "move" {
            region["parameters"] = json!({"region": name});
        }
        region
    };
    let regions = [region("eu", "vm1", eu), region("us", "pm1", us)];
    json!({
        "title": "Move the shop", "type": "Regular", "level": "C", "submit": true,
        "window": {"start": soon(eu.min(us) - 60), "end": soon(960)}, "scope": {"hosts": ["vm1", "pm1"]},
        "plan": {"job": {"jobRef": {"name": job}}}, "implementers": {"users": ["ivan"]},
        "review": [{"name": "leads", "users": ["bob"]}], "regions": regions,
    })
}

async fn names(scene: &Changes) -> Vec<String> {
    let all = scene.tickets.list(&ListParams::default()).await;
    let all = all.expect("tickets are listed").items;
    all.iter().map(ResourceExt::name_any).collect()
}

/// Rita writes a ticket, and bob agrees to it; its parts in eu and us.
async fn parts(scene: &Changes, spec: &Value) -> (RegionStatus, RegionStatus) {
    scene.plans("move", spec).await;
    scene.ready("move", "AwaitingApproval").await;
    assert_eq!(names(scene).await, ["move"], "nobody has agreed");
    let said = scene.bob.pilothouse(&["approve", "ticket/move"]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let are_there = |status: &ChangeTicketStatus| {
        let mut regions = status.regions.iter();
        regions.len() == 2 && regions.all(|region| region.uid.is_some())
    };
    let ticket = scene.until("move", "parts", are_there).await;
    let regions = ticket.status.expect("it was looked at").regions;
    match <[RegionStatus; 2]>::try_from(regions) {
        Ok([eu, us]) => (eu, us),
        Err(other) => panic!("{other:?}"),
    }
}

/// A part as it is, in the shape of JSON.
async fn spec_of(scene: &Changes, name: &str) -> Value {
    let part = scene.tickets.get(name).await.expect("it is there");
    serde_json::to_value(part.spec).expect("a spec is plain data")
}

#[tokio::test]
async fn it_is_reviewed_once_and_made_in_each_region_on_its_hosts() {
    let scene = Changes::of("regions", WORK).await;
    let (eu, us) = parts(&scene, &ticket("move", -60, 30)).await;
    let in_eu = scene.ready(&eu.ticket, "Succeeded").await;
    let in_us = scene.ready(&us.ticket, "Succeeded").await;
    let whole = scene.ready("move", "Succeeded").await;
    let run = |status: &ChangeTicketStatus| status.run.clone().expect("a run");
    assert_eq!(scene.lines("vm1"), [run(&in_eu)]);
    assert_eq!(scene.lines("pm1"), [run(&in_us)]);
    let part = scene.tickets.get(&us.ticket).await.expect("it stays");
    let started = in_us.started.as_ref().expect("it says when");
    assert!(started.at.0 >= part.spec.window.start.0);
    assert_eq!(in_us.levels[0].by, ["bob"]);

    // Each is done in the name of whoever wrote the whole.
    let run = scene.stage.ends(&run(&in_us)).await;
    let origin = &run.spec.on_behalf_of[0];
    assert_eq!(
        (&*origin.name, &*origin.requested_by.user),
        (&*us.ticket, "rita")
    );
    assert_eq!((whole.live, whole.run), (Some(false), None));
    let result = whole.result.expect("a result");
    assert_eq!(result.outcome, ChangeOutcome::Success);
    let said = scene.rita.pilothouse(&["ticket", "show", "move"]).await;
    assert!(said.out.contains(&us.ticket), "{said:#?}");
}

#[tokio::test]
async fn a_part_is_approved_only_as_the_whole_has_it() {
    let scene = Changes::of("parts", WORK).await;
    let (eu, us) = parts(&scene, &ticket("move", 600, 600)).await;
    let stands = scene.ready(&eu.ticket, "WaitingForWindow").await;

    // Nobody decides on a part: the plugin says on what, and what is written without it does not count.
    let named = format!("ticket/{}", eu.ticket);
    let said = scene.bob.pilothouse(&["approve", &named]).await;
    let line = format!("approve ticket/move -n {}", scene.stage.name());
    assert!(
        said.code != Some(0) && said.err.contains(&line),
        "{said:#?}"
    );
    let subject = json!({"kind": "ChangeTicket", "name": eu.ticket});
    let spec = json!({"subject": subject, "digest": stands.digest, "decision": "Approve"});
    let given = Manifest::of("Approval", "of-a-part", &spec).within(scene.stage.name());
    let bob = scene.stage.cluster.as_user("bob", &["testers"]);
    accepted(given.create(&bob).await);
    let approvals: Api<Approval> = Api::namespaced(scene.stage.client.clone(), scene.stage.name());
    let says = |approval: Option<&Approval>| {
        let status = approval.and_then(|approval| approval.status.as_ref());
        let counts = status.and_then(|status| find_condition(&status.conditions, "Counts"));
        counts.is_some_and(|counts| counts.reason == "PartOfTicket")
    };
    wait_for(approvals, "of-a-part", "an answer", PATIENCE, says).await;

    // Changed by hand it is approved no more, and changed back it is.
    let mut spec = spec_of(&scene, &eu.ticket).await;
    let title = spec["title"].take();
    spec["title"] = "Move my shop".into();
    let apply = async |spec: &Value| scene.ticket(&eu.ticket, spec).apply(&scene.client).await;
    accepted(apply(&spec).await);
    let status = scene.ready(&eu.ticket, "PartChanged").await;
    assert_eq!(status.live, Some(false));
    spec["title"] = title;
    accepted(apply(&spec).await);
    scene.ready(&eu.ticket, "WaitingForWindow").await;

    // What it is a part of, the operator alone says.
    let rule = [
        "Rule pilothouse-account",
        "may not say what a ticket is a part of",
    ];
    let twin = scene.ticket("twin", &spec);
    refused(twin.try_create(&scene.client).await, &rule);
    spec["partOf"]["region"] = "us".into();
    refused(apply(&spec).await, &rule);

    // A part that is deleted is not made again.
    let gone = DeleteParams::default();
    let deleted = scene.tickets.delete(&us.ticket, &gone).await;
    deleted.expect("an administrator may");
    let is_told = |status: &ChangeTicketStatus| {
        let mut regions = status.regions.iter();
        regions.any(|region| region.summary.as_deref() == Some("Deleted"))
    };
    scene.until("move", "it is told", is_told).await;
    assert!(!names(&scene).await.contains(&us.ticket));
}

#[tokio::test]
async fn its_parts_are_cancelled_with_it_and_go_with_it() {
    let scene = Changes::of("parts-end", WORK).await;
    let (eu, us) = parts(&scene, &ticket("endless", -60, 600)).await;
    let has_run = |s: &ChangeTicketStatus| s.run.is_some();
    let part = scene.until(&eu.ticket, "a run", has_run).await;
    let run = part.status.and_then(|s| s.run).expect("a run");
    scene.stage.becomes(&run, &["Running"]).await;
    let start = scene.ivan.pilothouse(&["ticket", "start", "move"]).await;
    assert_eq!(start.code, Some(3), "{start:#?}");
    assert!(start.err.contains("HasRegions"), "{start:#?}");

    let cancel = ["ticket", "cancel", "move", "--reason", "no longer needed"];
    let said = scene.ivan.pilothouse(&cancel).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let ended = scene.stage.ends(&run).await;
    let summary = ended.status.and_then(|s| s.summary);
    assert_eq!(summary.as_deref(), Some("Cancelled"));
    for name in [&eu.ticket, &us.ticket] {
        let status = scene.ready(name, "Cancelled").await;
        let by = status.actions.first().map(|taken| taken.by.as_str());
        assert_eq!(by, Some("ivan"));
    }
    scene.ready("move", "Cancelled").await;

    let background = DeleteParams::background();
    let deleted = scene.tickets.delete("move", &background).await;
    deleted.expect("an administrator may");
    eventually("the end of its parts", PATIENCE, || async {
        names(&scene).await.is_empty().then_some(())
    })
    .await;
}
