//! Story: whoever plans a risky change is told at apply, cannot hand it in with too few reviewers, and can once it has enough; people of whom nothing is known count, and so do those whose last change failed.

use crds::v1alpha1::{ChangeTicketStatus, ProtectionPolicy, condition_is_true, find_condition};
use e2e::{
    Changes, Manifest, Protection, Terminal, eventually, soon, stage::PATIENCE, terminal::Said,
};
use serde_json::{Value, json};

/// What is sold from vm1 is risky, and so are new people and those who have just failed.
fn scale(over: &Value) -> Value {
    let sale = json!({"name": "sale", "sort": "Business", "when": "ticket.spec.scope.hosts.exists(h, h == 'vm1')", "score": 50, "why": "the shop is sold from it"});
    let mut risk = json!({"rules": [sale], "review": [{"score": 60, "levels": 2}],
        "personnel": {"firstTime": 30, "recentFailures": {"score": 20, "within": "1h"}}});
    let fields = over.as_object().expect("fields").clone();
    risk.as_object_mut().expect("an object").extend(fields);
    json!({"require": {"ticket": {"risk": risk}}, "rules": [{"resources": ["configmaps"], "operations": ["Update"]}]})
}

/// Changes of a namespace where risks are weighed. The policy ends first where it is named last, so that it does not keep the namespace.
async fn scene(story: &str) -> (Changes, Protection) {
    let changes = Changes::set(story).await;
    let (stage, weighs) = (&changes.stage, scale(&json!({})));
    let policy = Protection::written(&stage.cluster, stage.name(), "risks", &weighs).await;
    policy
        .until("a state", |status| status.state.is_some())
        .await;
    (changes, policy)
}

/// A change by hand that can begin at once, with levels of review by one person each.
fn ticket(implementer: &str, reviewers: &[&str]) -> Value {
    let level = |(n, user): (usize, &&str)| json!({"name": format!("level-{n}"), "users": [user]});
    let levels: Vec<_> = reviewers.iter().enumerate().map(level).collect();
    json!({
        "title": "Move the shop", "type": "Regular", "level": "C", "submit": true, "scope": {"hosts": ["vm1"]},
        "window": {"start": soon(-60), "end": soon(1800)}, "plan": {"guide": "By hand."},
        "implementers": {"users": [implementer]}, "review": levels,
    })
}

/// Ivan does what was agreed to, and says how it went.
async fn ends(changes: &Changes, name: &str, how: &[&str], reason: &str) {
    changes.ready(name, "AwaitingStart").await;
    let said = changes.ivan.pilothouse(&["ticket", "start", name]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    changes.ready(name, "Executing").await;
    let words = [&["ticket", "complete", name], how].concat();
    let said = changes.ivan.pilothouse(&words).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    changes.ready(name, reason).await;
}

/// What somebody reads who tries to apply this.
async fn tries(person: &Terminal, object: &Manifest, word: &str) -> Said {
    let file = std::env::temp_dir().join(format!("{word}.json"));
    let text = object.clone().into_json().to_string();
    std::fs::write(&file, text).expect("a file is written");
    let path = file.to_string_lossy();
    let said = person
        .kubectl(&["apply", "--dry-run=server", "-f", &path])
        .await;
    std::fs::remove_file(&file).expect("it is there");
    said
}

/// What counts, and for how much.
fn counted(status: &ChangeTicketStatus) -> Vec<(&str, i32)> {
    let risk = status.risk.as_ref().expect("it was weighed");
    let reasons = risk.reasons.iter();
    reasons.map(|one| (&*one.rule, one.score)).collect()
}

#[tokio::test]
async fn a_risky_change_is_warned_of_kept_back_and_made_with_more_reviewers() {
    let (changes, policy) = scene("risk").await;
    let mut spec = ticket("ivan", &["bob"]);
    let alone = changes.ticket("move", &spec);
    let warned = eventually("a warning", PATIENCE, || async {
        let word = format!("{}-move", changes.stage.name());
        let said = tries(&changes.rita, &alone, &word).await;
        assert_eq!(said.code, Some(0), "{}", said.err);
        said.err.contains("firstTime").then_some(said.err)
    })
    .await;
    let told = "Warning: ReviewTooSmall: the risk is 80 of 100 (sale 50, firstTime 30)";
    assert!(warned.contains(told), "no {told:?} in {warned}");

    changes.plans("move", &spec).await;
    let status = changes.ready("move", "ReviewTooSmall").await;
    assert_eq!(counted(&status), [("sale", 50), ("firstTime", 30)]);
    assert_eq!((&status.digest, status.live), (&None, Some(false)));
    let submitted = find_condition(&status.conditions, "Submitted").expect("it says so");
    assert_eq!(
        (&*submitted.status, &*submitted.reason),
        ("False", "ReviewTooSmall")
    );
    let risk = status.risk.expect("it was weighed");
    assert_eq!((risk.score, risk.review_levels), (80, Some(2)));
    assert_eq!(risk.policy, policy.name());
    let said = changes.rita.pilothouse(&["ticket", "show", "move"]).await;
    for told in ["risk 80 of 100", "lacks: ", "the shop is sold from it"] {
        assert!(said.out.contains(told), "no {told:?} in {said:#?}");
    }

    // Bob would agree for both levels.
    spec["review"] = ticket("ivan", &["bob", "bob"])["review"].clone();
    changes.plans("move", &spec).await;
    let status = changes.ready("move", "ReviewTooSmall").await;
    assert_eq!(status.digest, None);

    spec["review"] = ticket("ivan", &["bob", "carol"])["review"].clone();
    changes.plans("move", &spec).await;
    let status = changes.ready("move", "AwaitingApproval").await;
    assert!(condition_is_true(&status.conditions, "Submitted"));
    assert_eq!(status.risk.and_then(|risk| risk.lacks), None);
    changes.agreed("move").await;
    let how = ["--verified", "in-window", "--note", "orders come in"];
    ends(&changes, "move", &how, "Succeeded").await;
    let status = changes.ready("move", "Succeeded").await;
    assert_eq!(counted(&status), [("sale", 50), ("firstTime", 30)]);
}

#[tokio::test]
async fn people_who_have_done_it_well_need_fewer_reviewers_and_those_who_failed_need_more() {
    let (changes, policy) = scene("people").await;
    changes
        .plans("first", &ticket("ivan", &["bob", "carol"]))
        .await;
    changes.agreed("first").await;
    let well = ["--verified", "in-window"];
    ends(&changes, "first", &well, "Succeeded").await;

    changes.plans("second", &ticket("ivan", &["bob"])).await;
    let status = changes.ready("second", "AwaitingApproval").await;
    assert_eq!(counted(&status), [("sale", 50)]);
    changes.plans("by-eve", &ticket("eve", &["bob"])).await;
    let status = changes.ready("by-eve", "ReviewTooSmall").await;
    assert_eq!(counted(&status), [("sale", 50), ("firstTime", 30)]);

    // What was agreed to is asked again at the start.
    changes.agrees(&changes.bob, "second").await;
    changes.ready("second", "AwaitingStart").await;
    policy.rewritten(&scale(&json!({"blockAt": 50}))).await;
    policy.until("a state", |_| true).await;
    let said = changes
        .ivan
        .pilothouse(&["ticket", "start", "second"])
        .await;
    assert_eq!(said.code, Some(3), "{said:#?}");
    assert!(said.err.contains("RiskTooHigh"), "{said:#?}");
    changes.ready("second", "RiskTooHigh").await;
    policy.rewritten(&scale(&json!({}))).await;

    let failed = ["--failed", "--note", "taken back"];
    ends(&changes, "second", &failed, "ChangeFailed").await;
    changes.plans("third", &ticket("ivan", &["bob"])).await;
    let status = changes.ready("third", "ReviewTooSmall").await;
    assert_eq!(counted(&status), [("sale", 50), ("recentFailures", 20)]);
}

#[tokio::test]
async fn a_rule_that_does_not_compile_is_refused_with_its_name_and_position() {
    let (changes, policy) = scene("typo").await;
    let typo = json!({"name": "typo", "sort": "Process", "when": "ticket.spec.level ==", "score": 10, "why": "w"});
    let mut spec = scale(&json!({"rules": [typo]}));
    spec["reason"] = "r".into();
    spec["namespaces"] = json!([changes.stage.name()]);
    let rewritten = Manifest::of("ProtectionPolicy", policy.name(), &spec);
    let administrator = Terminal::of_the_administrator(changes.stage.name());
    let refused = eventually("a refusal", PATIENCE, || async {
        let word = format!("{}-policy", changes.stage.name());
        let said = tries(&administrator, &rewritten, &word).await;
        said.err.contains("rules[typo]").then_some(said.err)
    })
    .await;
    for told in ["spec.require.ticket.risk.rules[typo].when", ":1:"] {
        assert!(refused.contains(told), "no {told:?} in {refused}");
    }
    let there: ProtectionPolicy = policy.api().get(policy.name()).await.expect("it is there");
    let risk = there.spec.require.ticket.and_then(|ticketed| ticketed.risk);
    assert_eq!(
        risk.map(|risk| risk.rules[0].name.clone()).as_deref(),
        Some("sale")
    );
}
