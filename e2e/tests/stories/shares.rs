//! Story: one team floods the operator with work that never gets anywhere; another team's run starts and ends all the same.

use crds::v1alpha1::JobRun;
use e2e::{
    Manifest, Stage, eventually,
    stage::{PATIENCE, state},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::sync::Mutex;

/// A run that has a machine for itself waits for one that prints there without end, so one story has the hosts at a time.
static HOSTS: Mutex<()> = Mutex::const_new(());

/// More than the places that the local cluster's operator has, and than may wait for one before runs are held back.
const FLOOD: usize = 260;
/// What one team may hold of its 100 places.
const SHARE: usize = 80;

#[tokio::test]
async fn a_flood_by_one_team_leaves_places_for_the_others() {
    let _alone = HOSTS.lock().await;
    let (loud, quiet) = tokio::join!(Stage::set("loud"), Stage::set("quiet"));
    quiet.hosts_seen().await;
    let nowhere = json!({"job": {"steps": [{"name": "a", "timeout": "10m", "deliveryTimeout": "10m",
        "pod": {"image": "local/busybox:1", "command": ["true"], "resources": {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}}}]}});
    for n in 0..FLOOD {
        let run = Manifest::of("JobRun", &format!("nowhere-{n}"), &nowhere).within(loud.name());
        run.create(&loud.client).await.expect("a run is accepted");
    }
    let pods: Api<Pod> = Api::namespaced(loud.client.clone(), loud.name());
    let there = || async {
        let pods = pods.list_metadata(&ListParams::default()).await.ok()?;
        Some(pods.items.len())
    };
    eventually("the flood", PATIENCE, || async {
        there().await.filter(|pods| *pods >= SHARE)
    })
    .await;

    let job =
        "targets: {hosts: {names: [vm1, pm1]}}\nsteps: [{name: a, inline: {content: 'true'}}]";
    quiet.run("run", job).await;
    let ended = quiet.ends("run").await.status.expect("status");
    assert_eq!(ended.summary.as_deref(), Some("Succeeded"), "{ended:#?}");
    let rows = quiet.executions("run").await;
    assert_eq!(state(&rows, "a", "vm1"), "Succeeded");
    assert_eq!(
        there().await,
        Some(SHARE),
        "the flood holds its share and no more"
    );

    // Whoever waits says so, and is cancelled without having had a place.
    let runs = loud.runs();
    let waiting = eventually("a run that names its wait", PATIENCE, || async {
        let named = |note: &String| note.contains("operator.limits.inFlight");
        let waits = |run: &JobRun| {
            run.status
                .as_ref()
                .is_some_and(|s| s.notes.iter().any(named))
        };
        let all = runs.list(&ListParams::default()).await.ok()?;
        all.items.into_iter().find(waits)?.metadata.name
    })
    .await;
    loud.act(&waiting, "Cancel").await;
    let ended = loud.ends(&waiting).await.status.expect("status");
    assert_eq!(ended.summary.as_deref(), Some("Cancelled"), "{ended:#?}");
    held_back_until_there_is_room(&loud).await;
}

/// Of those that came last nothing is planned; they begin when what came before them is gone.
async fn held_back_until_there_is_room(loud: &Stage) {
    let runs = loud.runs();
    let held = eventually("a run that is held back", PATIENCE, || async {
        let all = runs.list(&ListParams::default()).await.ok()?.items;
        let waits = |run: &&JobRun| {
            let conditions = run.status.iter().flat_map(|s| &s.conditions);
            let mut reasons = conditions.map(|c| c.reason.as_str());
            reasons.any(|reason| reason == "WaitingForPlace")
        };
        let held: Vec<JobRun> = all.iter().filter(waits).cloned().collect();
        (!held.is_empty() && held.len() < all.len() - SHARE).then_some(held)
    })
    .await;
    let planned = |run: &JobRun| run.status.as_ref().and_then(|s| s.plan_hash.clone());
    assert!(held.iter().all(|run| planned(run).is_none()));
    let is_held = |run: &JobRun| {
        held.iter()
            .any(|other| other.metadata.name == run.metadata.name)
    };
    for run in runs.list(&ListParams::default()).await.expect("runs") {
        let name = run.metadata.name.as_deref().expect("a name");
        if !is_held(&run) && !run.is_finished() {
            loud.act(name, "Cancel").await;
        }
    }
    let last = held
        .last()
        .and_then(|run| run.metadata.name.clone())
        .expect("there is one");
    eventually("the last of them to be planned", PATIENCE, || async {
        planned(&runs.get(&last).await.ok()?)
    })
    .await;
}

/// Addresses of the hosts' network at which nobody answers.
const SILENT: std::ops::Range<usize> = 100..180;

#[tokio::test]
async fn a_team_whose_hosts_never_answer_or_print_without_end_holds_up_no_other() {
    let _alone = HOSTS.lock().await;
    let (loud, quiet) = tokio::join!(Stage::set("silent"), Stage::set("calm"));
    loud.hosts_seen().await;
    for n in SILENT {
        let silent = json!({"type": "VirtualMachine", "address": format!("172.31.250.{n}"),
            "credentialsRef": {"name": "fleet-key"}, "hostKeyPolicy": "TrustOnFirstUse"});
        let host = Manifest::of("Host", &format!("silent-{n}"), &silent).within(loud.name());
        host.create(&loud.client).await.expect("a Host is accepted");
    }
    let print = "
sharing: Shared
targets: {hosts: {names: [vm1, pm1]}}
steps: [{name: a, timeout: 10m, inline: {content: 'yes a line of output that nobody needs'}}]";
    loud.run("print", print).await;
    eventually("the flood", PATIENCE, || async {
        let rows = loud.executions("print").await;
        (rows.len() == 2).then_some(())
    })
    .await;

    // Hosts that nobody has looked at are new to the operator, and so is the run.
    quiet.hosts_seen().await;
    let job = "
sharing: Shared
targets: {hosts: {names: [vm1, pm1]}}
steps: [{name: a, inline: {content: echo done}}]";
    quiet.run("run", job).await;
    let ended = quiet.ends("run").await.status.expect("status");
    assert_eq!(ended.summary.as_deref(), Some("Succeeded"), "{ended:#?}");
    assert_eq!(quiet.log("run", "a", "vm1").await, b"done\n");

    let flood = loud.runs().get("print").await.expect("the flood");
    assert!(!flood.is_finished(), "{flood:#?}");
    loud.act("print", "Cancel").await;
    loud.ends("print").await;
}
