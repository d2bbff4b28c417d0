//! Story: somebody who may write everything in a namespace writes in somebody else's name, and what only the operator may say, by every verb that there is.

use std::time::Duration;

use e2e::{Manifest, People, accepted, eventually, refused};
use kube::{
    Api, Error, Result,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// A generation that no operator has seen.
const GENERATION: i64 = 4242;

/// An update is overtaken by the operator a few times at most.
const SOON: Duration = Duration::from_secs(20);

/// A spec of each kind, and a change of it.
fn kinds() -> [(&'static str, Value, Value); 5] {
    [
        (
            "Script",
            json!({"content": "true"}),
            json!({"content": "false"}),
        ),
        (
            "Job",
            json!({"steps": [{"name": "a", "pod": {"image": "local/busybox:1"}}]}),
            json!({"description": "changed"}),
        ),
        (
            "Host",
            json!({"type": "VirtualMachine", "address": "192.0.2.1", "credentialsRef": {"name": "key"}, "hostKeyPolicy": "TrustOnFirstUse"}),
            json!({"port": 2222}),
        ),
        ("JobRun", json!({"jobRef": {"name": "none"}}), json!({})),
        (
            "RunAction",
            json!({"runRef": {"name": "none"}, "action": "Cancel"}),
            json!({}),
        ),
    ]
}

/// The object with a name of somebody else in it, and a status that nobody has seen.
fn forge(object: &DynamicObject, change: &Value) -> DynamicObject {
    let mut forged = object.clone();
    forged.metadata.managed_fields = None;
    let spec = forged.data["spec"].as_object_mut().expect("a spec");
    spec.extend(change.as_object().expect("an object").clone());
    spec.insert(
        "requestedBy".to_owned(),
        json!({"user": "system:admin", "groups": ["system:masters"]}),
    );
    forged.data["status"] = json!({"observedGeneration": GENERATION});
    forged
}

/// Says whether its writer stands in it, and nothing that was forged.
fn is_true(object: &DynamicObject, writer: &str) -> bool {
    object.data["spec"]["requestedBy"]["user"] == writer
        && object.data["status"]["observedGeneration"] != GENERATION
}

/// Every way to write an object that is there, or its status.
async fn written(
    api: &Api<DynamicObject>,
    forged: &DynamicObject,
    status: bool,
) -> Vec<(&'static str, Result<DynamicObject>)> {
    let name = forged.metadata.name.as_deref().expect("a name");
    let mut unread = forged.clone();
    unread.metadata.resource_version = None;
    let json = json!([
        {"op": "add", "path": "/spec", "value": forged.data["spec"]},
        {"op": "add", "path": "/status", "value": forged.data["status"]},
    ]);
    let json = serde_json::from_value(json).expect("a literal patch");
    let mut answers = Vec::new();
    for (verb, patch) in [
        ("merge patch", Patch::Merge(&unread)),
        ("JSON patch", Patch::Json(json)),
        ("apply", Patch::Apply(&unread)),
    ] {
        let mut how = PatchParams::default();
        if verb == "apply" {
            how = PatchParams::apply("forger").force();
        }
        let answer = if status {
            api.patch_status(name, &how, &patch).await
        } else {
            api.patch(name, &how, &patch).await
        };
        answers.push((verb, answer));
    }
    let update = || async {
        let mut read = unread.clone();
        read.metadata.resource_version = api.get(name).await.ok()?.metadata.resource_version;
        let answer = if status {
            api.replace_status(name, &PostParams::default(), &read)
                .await
        } else {
            api.replace(name, &PostParams::default(), &read).await
        };
        // The operator writes too.
        let overtaken = matches!(&answer, Err(Error::Api(status)) if status.code == 409);
        (!overtaken).then_some(answer)
    };
    answers.push(("update", eventually("an update", SOON, update).await));
    answers
}

#[tokio::test]
async fn no_verb_writes_in_somebody_elses_name_or_what_the_operator_says() {
    let scene = People::new("forged").await;
    let rules = json!([
        {"apiGroups": ["pilothouse.dev"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
    ]);
    let may = ("impersonate", "serviceaccounts");
    let bob = scene.person_with("bob", rules.clone(), may, None).await;
    let carol = scene.person_with("carol", rules, may, None).await;
    for (kind, spec, change) in kinds() {
        let honest = scene.write(Manifest::of(kind, "a", &spec).into_json());
        let object = serde_json::from_value(honest.clone().into_json()).expect("an object");
        let forged = forge(&object, &json!({}));
        let api = honest.api(&bob).await.expect("every kind is served");
        let made = accepted(api.create(&PostParams::default(), &forged).await);
        assert!(is_true(&made, "bob"), "create {kind}: {made:#?}");

        let forged = forge(&made, &change);
        let mutable = change != json!({});
        let api = honest.api(&carol).await.expect("every kind is served");
        for (verb, answer) in written(&api, &forged, false).await {
            if mutable {
                let now = accepted(answer);
                assert!(is_true(&now, "carol"), "{verb} {kind}: {now:#?}");
            } else {
                refused(answer, &["is immutable"]);
            }
        }
        if mutable {
            let old = api.replace("a", &PostParams::default(), &forged).await;
            refused(old, &["the object has been modified"]);
        }
        for (_, answer) in written(&api, &forged, true).await {
            refused(answer, &["Rule pilothouse-status", "carol"]);
        }
        let now = api.get("a").await.expect("it is there");
        let writer = if mutable { "carol" } else { "bob" };
        assert!(is_true(&now, writer), "{kind}: {now:#?}");
    }
}
