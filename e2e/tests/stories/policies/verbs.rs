//! What people do takes the verb of its name on what it is done to.

use e2e::{People, accepted, refused};
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use super::{API, action, change_action, host, job, requester, run, script, writer};

#[tokio::test]
async fn an_action_takes_the_verb_of_its_name_on_the_run() {
    let scene = People::new("action").await;
    let rules = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["jobruns"], "resourceNames": ["run"], "verbs": ["suspend"]}]);
    let bob = scene
        .person_with("bob", rules, ("suspend", "jobruns"), Some("run"))
        .await;

    accepted(scene.write(action("Suspend")).try_create(&bob).await);
    let of = |name: &str, of: Value| {
        let mut action = action(name);
        let spec = action["spec"].as_object_mut().expect("an object");
        spec.extend(of.as_object().expect("an object").clone());
        action
    };
    for (action, verb) in [
        (action("Cancel"), "cancel"),
        (action("Resume"), "resume"),
        (action("RetryFailed"), "retryfailed"),
        (of("Skip", json!({"step": "a"})), "skip"),
        (of("ResumeFrom", json!({"step": "a"})), "resumefrom"),
        (
            of("SetMaxParallel", json!({"maxParallel": 1})),
            "setmaxparallel",
        ),
    ] {
        refused(
            scene.write(action).try_create(&bob).await,
            &[
                "Rule pilothouse-run-action",
                &format!("may not {verb} run 'run'"),
            ],
        );
    }
}

#[tokio::test]
async fn an_approval_takes_the_verb_on_the_run_also_for_one_of_its_steps() {
    let scene = People::new("approval").await;
    let rules = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["jobruns"], "resourceNames": ["run"], "verbs": ["approve"]}]);
    let bob = scene
        .person_with("bob", rules, ("approve", "jobruns"), Some("run"))
        .await;
    let of = |run: &str, step: Option<&str>| {
        let mut subject = json!({"kind": "JobRun", "name": run});
        if let Some(step) = step {
            subject["step"] = json!(step);
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        scene.write(
            json!({"apiVersion": API, "kind": "Approval", "metadata": {"name": "approval"},
            "spec": {"subject": subject, "digest": digest, "decision": "Approve"}}),
        )
    };
    for step in [None, Some("sign-off")] {
        accepted(of("run", step).try_create(&bob).await);
        refused(
            of("other", step).try_create(&bob).await,
            &["Rule pilothouse-approval", "JobRun 'other'"],
        );
    }
    refused(
        of("other", Some("sign-off")).try_create(&bob).await,
        &["step 'sign-off' of JobRun 'other'"],
    );
}

#[tokio::test]
async fn an_action_on_a_change_takes_the_verb_of_its_name_on_the_ticket() {
    let scene = People::new("change-action").await;
    let rules = json!([writer(), {"apiGroups": ["pilothouse.dev"], "resources": ["changetickets"], "resourceNames": ["ticket"], "verbs": ["start"]}]);
    let bob = scene
        .person_with("bob", rules, ("start", "changetickets"), Some("ticket"))
        .await;
    let start = scene.write(change_action("Start"));
    accepted(start.try_create(&bob).await);
    for (action, verb) in [("Cancel", "cancel"), ("Complete", "complete")] {
        refused(
            scene.write(change_action(action)).try_create(&bob).await,
            &[
                "Rule pilothouse-change-action",
                &format!("may not {verb} ticket 'ticket'"),
            ],
        );
    }
}

#[tokio::test]
async fn a_person_breaks_the_glass_and_nobody_takes_that_away_before_it_is_reviewed() {
    let scene = People::new("break-glass").await;
    let may = ("delete", "breakglasses");
    let eve = scene.person("eve", "pilothouse-breaker", may).await;
    let glass = scene.write(
        json!({"apiVersion": API, "kind": "BreakGlass", "metadata": {"name": "glass"},
        "spec": {"reason": "r", "incident": "i", "expiresAfter": "1s"}}),
    );
    let made = accepted(glass.create(&eve).await);
    assert_eq!(requester(&made).0, "eve");
    let api = glass.api(&eve).await.expect("breakglasses are served");
    let tried = api.delete("glass", &DeleteParams::default()).await;
    let error = tried.expect_err("nobody has reviewed it").to_string();
    assert!(error.contains("Rule pilothouse-break-glass"), "{error}");
}

#[tokio::test]
async fn a_viewer_looks_and_does_not_run() {
    let scene = People::new("viewer").await;
    let carol = scene
        .person("carol", "pilothouse-viewer", ("list", "jobruns"))
        .await;
    let writes = [
        scene.write(script("true")),
        scene.write(job(&json!({"names": ["host"]}), &Value::Null)),
        scene.write(run("pilothouse-runner")),
        scene.write(host(&json!({}))),
        scene.write(action("Cancel")),
    ];
    for manifest in writes {
        let api = manifest.api(&carol).await.expect("every kind is served");
        assert!(
            api.list(&ListParams::default()).await.is_ok(),
            "a viewer lists {}",
            manifest.title()
        );
        refused(
            manifest.try_create(&carol).await,
            &["carol", "cannot create resource"],
        );
    }
}
