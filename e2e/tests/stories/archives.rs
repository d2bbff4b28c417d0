//! Story: a run that the cluster no longer holds is found in records, by those who might have read it.

use e2e::{Stage, Terminal, eventually, rights, stage::PATIENCE};
use kube::api::DynamicObject;
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
