//! Story: operator and webhooks are away. What is frozen stays so, and what has begun or ended meanwhile is right as soon as they are back.

use crds::v1alpha1::CalendarState;
use e2e::{Away, Manifest, Protection, Replica, Stage, accepted, eventually, stage::PATIENCE};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

/// From the first sign of a leader.
const PROMPT: SignedDuration = SignedDuration::from_secs(5);
/// Long enough for both to be gone before it ends, and before another begins.
const FREEZE: SignedDuration = SignedDuration::from_secs(60);

/// A calendar that is closed between these two times, and a policy about a kind that follows it.
async fn frozen(
    stage: &Stage,
    name: &str,
    (start, end): (Timestamp, Timestamp),
    kind: &str,
) -> Protection {
    let [start, end] = [start, end].map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let freeze = json!({"name": "sale", "effect": "Freeze", "start": start, "end": end});
    let calendar = json!({"default": "Open", "timeZone": "UTC", "events": [freeze]});
    let calendar = Manifest::of("ChangeCalendar", name, &calendar).within(stage.name());
    accepted(calendar.apply(&stage.client).await);
    let spec = json!({"require": {"openCalendars": [{"namespace": stage.name(), "name": name}]},
        "rules": [{"groups": [""], "resources": [kind]}]});
    Protection::written(&stage.cluster, stage.name(), name, &spec).await
}

#[tokio::test]
async fn the_freeze_holds_without_the_operator_and_a_flip_is_made_up_for() {
    let stage = Stage::set("protection-away").await;
    let settings =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}});
    let settings = Manifest::from_json(settings).within(stage.name());
    accepted(settings.create(&stage.client).await);
    let now = Timestamp::now();
    let (long_ago, edge) = (now - FREEZE * 60, now + FREEZE);
    let policy = frozen(&stage, "freeze", (long_ago, edge), "configmaps").await;
    let night = frozen(&stage, "night", (edge, edge + FREEZE * 60), "services").await;
    let short_begins = edge - FREEZE / 4;
    let short = frozen(&stage, "short", (short_begins, edge), "endpoints").await;
    policy.becomes(CalendarState::Closed).await;
    night.becomes(CalendarState::Open).await;
    short.becomes(CalendarState::Open).await;

    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), stage.name());
    let tried = DeleteParams::default().dry_run();
    let refused = async || {
        let said = maps.delete("settings", &tried).await.err();
        said.is_some_and(|error| error.to_string().contains("Rule pilothouse-protection"))
    };
    let away = (Away::operator(&stage).await, Away::webhook(&stage).await);
    assert!(Timestamp::now() < short_begins, "they left too late");
    assert!(refused().await, "the last state stands");
    // A policy that nobody has looked at is closed.
    let unseen = json!({"require": {"openCalendars": [{"namespace": stage.name(), "name": "freeze"}]},
        "rules": [{"groups": [""], "resources": ["secrets"]}]});
    let unseen = Protection::written(&stage.cluster, stage.name(), "unseen", &unseen).await;
    eventually("a refusal", PATIENCE, || async {
        let secret = json!({"metadata": {"name": "s"}});
        let secret = serde_json::from_value(secret).expect("a Secret");
        let secrets: Api<k8s_openapi::api::core::v1::Secret> =
            Api::namespaced(stage.client.clone(), stage.name());
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let said = secrets.create(&dry, &secret).await.err()?;
        said.to_string()
            .contains("has not looked at it yet")
            .then_some(())
    })
    .await;
    eventually("the edge of all three", PATIENCE, || async {
        (Timestamp::now() > edge).then_some(())
    })
    .await;
    assert!(refused().await, "nobody has opened it");

    drop(away);
    Replica::leader(&stage.client).await;
    let back = Timestamp::now();
    policy.becomes(CalendarState::Open).await;
    unseen.becomes(CalendarState::Open).await;
    night.becomes(CalendarState::Closed).await;
    short.becomes(CalendarState::Open).await;
    assert!(Timestamp::now().duration_since(back) < PROMPT);
    eventually("no refusal", PATIENCE, || async {
        (!refused().await).then_some(())
    })
    .await;
}
