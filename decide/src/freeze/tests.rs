//! Every mistake that only a whole job shows, with the field, the value and the way out in its message.

use crds::v1alpha1::{JobSpec, ScriptSpec, SecretKeyRef};

use super::*;
use crate::{
    calls::{Jobs, Scripts, Written},
    plan::Value,
};

const SCRIPT: &str = r#"{"content":"restart","parameters":[{"name":"UNIT","required":true,"pattern":"[a-z]+"},{"name":"TOKEN","sensitive":true}]}"#;

fn job(extra: &str) -> JobSpec {
    let step = r#"{"name":"restart","script":{"name":"restart","parameters":{"UNIT":"{{ params.unit }}","TOKEN":"{{ params.token }}"}}}"#;
    let json = format!(
        r#"{{"targets":{{"hosts":{{"selector":{{}}}}}},"parameters":[{{"name":"unit","default":"web"}},{{"name":"token","sensitive":true}}],"steps":[{step}{extra}]}}"#
    );
    serde_json::from_str(&json).expect("valid")
}

/// A Job that steps can run.
const CALLED: &str = r#"{"parameters":[{"name":"UNIT","required":true,"pattern":"[a-z]+"},{"name":"TOKEN","sensitive":true}],"steps":[{"name":"rest","pause":{"duration":"1s"}}]}"#;

fn plan_scripts() -> Scripts {
    let script: ScriptSpec = serde_json::from_str(SCRIPT).expect("valid");
    [("restart".to_owned(), (script, "sha256:0".to_owned()))].into()
}

fn other_jobs() -> Jobs {
    let job = serde_json::from_str(CALLED).expect("valid");
    let scripts = Scripts::new();
    [("called".to_owned(), Written { job, scripts })].into()
}

fn named() -> Contents {
    Contents {
        scripts: plan_scripts(),
        jobs: other_jobs(),
        ..Contents::default()
    }
}

fn frozen_with(job: &JobSpec, targets: usize, unit: &str) -> Result<Plan, Refusal> {
    frozen_as(job, targets, unit, None)
}

fn frozen_as(
    job: &JobSpec,
    targets: usize,
    unit: &str,
    revision: Option<&str>,
) -> Result<Plan, Refusal> {
    let secret = [(
        "token".to_owned(),
        SecretKeyRef {
            name: "s".into(),
            key: "k".into(),
            uid: None,
        },
    )]
    .into();
    let given = parameters::Given {
        plain: [("unit".to_owned(), unit.to_owned())].into(),
        secret,
        ..parameters::Given::default()
    };
    let lanes = graph::lanes(job)?.0;
    let target = |i: usize| PlannedTarget {
        name: format!("h{i}"),
        uid: format!("u{i}"),
        ..PlannedTarget::default()
    };
    let found = Findings {
        job_name: "j",
        job,
        account: "runner",
        run: template::Run {
            name: "r",
            namespace: "n",
        },
        values: parameters::resolve(&job.parameters, &given, &kept::Store::new())?,
        reached: named(),
        revision,
        targets: lanes
            .iter()
            .map(|_| (0..targets).map(target).collect())
            .collect(),
        secrets: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    freeze(&found, &Limits::default(), Timestamp::UNIX_EPOCH)
}

fn reason(extra: &str) -> &'static str {
    frozen_with(&job(extra), 1, "web")
        .expect_err("a mistake")
        .reason
}

#[test]
fn a_plan_keeps_the_selector_that_found_its_hosts_and_none_where_they_are_named() {
    let selector = |targets: &str| {
        let mut job = job("");
        job.targets = serde_json::from_str(targets).expect("valid");
        let plan = frozen_with(&job, 2, "web").expect("sound");
        plan.lanes[0].selector.clone()
    };
    let selected = selector(r#"{"hosts":{"selector":{"matchLabels":{"app":"web"}}}}"#);
    assert_eq!(selected.as_deref(), Some("app=web"));
    assert_eq!(selector(r#"{"hosts":{"names":["h0","h1"]}}"#), None);
}

#[test]
fn a_sound_job_freezes_to_the_same_plan_each_time() {
    let plan = frozen_with(&job(""), 200, "web").expect("sound");
    assert_eq!(
        plan.seal().1,
        frozen_with(&job(""), 200, "web").expect("sound").seal().1
    );
    assert!(plan.is_coherent());
    let Body::Script(script) = &plan.steps[0].body else {
        panic!("a script")
    };
    assert_eq!(script.env["TOKEN"], Value::Secret("token".into()));
    let size = serde_json::to_vec(&plan).expect("data").len();
    assert!(size < 64 * 1024, "{size}");
}

#[test]
fn people_are_asked_once_whatever_the_targets_and_not_too_many_of_them() {
    let asks = r#",{"name":"ask","needs":["restart"],"approval":{"approvals":2}}"#;
    let plan = frozen_with(&job(asks), 3, "web").expect("sound");
    assert_eq!(plan.lane(1).kind, TargetKind::None);
    assert!(plan.asks(1).is_some() && plan.asks(0).is_none());
    let many = |n: usize| {
        let step = |i| format!(r#",{{"name":"ask-{i}","approval":{{"approvals":16}}}}"#);
        job(&(0..n).map(step).collect::<String>())
    };
    assert!(frozen_with(&many(3), 1, "web").is_ok());
    let refusal = frozen_with(&many(4), 1, "web").expect_err("too many");
    assert_eq!(refusal.reason, "TooManyApprovals");
}

#[test]
fn a_plan_that_no_object_can_hold_is_refused() {
    let mut job = job("");
    let long = serde_json::from_value(serde_json::json!({
        "name": "long", "inline": {"content": "#".repeat(40_000)},
    }));
    let long: Step = long.expect("valid");
    job.steps.extend((0..40).map(|i| Step {
        name: format!("long{i}"),
        ..long.clone()
    }));
    let refusal = frozen_with(&job, 1, "web").expect_err("1.6 MB");
    assert_eq!(refusal.reason, "PlanTooLarge");
}

#[test]
fn a_target_too_many_is_refused_with_the_number_and_the_way_out() {
    let refusal = frozen_with(&job(""), 201, "web").expect_err("201");
    assert_eq!(refusal.reason, "TooManyTargets");
    assert!(
        refusal.message.contains("201") && refusal.message.contains("2 runs"),
        "{}",
        refusal.message
    );
}

#[test]
fn a_value_that_does_not_fit_the_script_is_refused() {
    assert_eq!(
        frozen_with(&job(""), 1, "WEB")
            .expect_err("upper case")
            .reason,
        "ValueNotAllowed"
    );
}

#[test]
fn mistakes_across_objects_are_named() {
    for (extra, wanted) in [
        (
            r#",{"name":"b","script":{"name":"none"}}"#,
            "ScriptNotFound",
        ),
        (
            r#",{"name":"b","script":{"name":"restart","parameters":{"X":"1"}}}"#,
            "UnknownParameter",
        ),
        (
            r#",{"name":"b","script":{"name":"restart","parameters":{"UNIT":"a","TOKEN":"plain"}}}"#,
            "SensitiveInPlain",
        ),
        (
            r#",{"name":"b","script":{"name":"restart","parameters":{"TOKEN":"{{ params.token }}"}}}"#,
            "MissingParameter",
        ),
        (
            r#",{"name":"b","inline":{"content":"x","env":{"A":"{{ params.nope }}"}}}"#,
            "UnknownValue",
        ),
        (
            r#",{"name":"b","inline":{"content":"x","env":{"A":"x{{ params.token }}"}}}"#,
            "SensitiveInTemplate",
        ),
        (r#",{"name":"b","job":{"name":"none"}}"#, "JobNotFound"),
        (r#",{"name":"b","job":{"name":"j"}}"#, "JobRunsItself"),
        (
            r#",{"name":"b","job":{"name":"called","parameters":{"X":"1"}}}"#,
            "UnknownParameter",
        ),
        (
            r#",{"name":"b","job":{"name":"called","parameters":{"UNIT":"a","TOKEN":"plain"}}}"#,
            "SensitiveInPlain",
        ),
        (
            r#",{"name":"b","job":{"name":"called","parameters":{"TOKEN":"{{ params.token }}"}}}"#,
            "MissingParameter",
        ),
        (
            r#",{"name":"b","job":{"name":"called","parameters":{"UNIT":"A","TOKEN":"{{ params.token }}"}}}"#,
            "ValueNotAllowed",
        ),
        (r#",{"name":"b","exec":{"command":["x"]}}"#, "WrongTargets"),
        (
            r#",{"name":"b","pod":{"image":"i","args":["{{ params.token }}"]}}"#,
            "SensitiveInTemplate",
        ),
        (
            r#",{"name":"b","needs":["c"],"inline":{"content":"x"}},{"name":"c","needs":["b"],"inline":{"content":"x"}}"#,
            "CycleInNeeds",
        ),
    ] {
        assert_eq!(reason(extra), wanted, "{extra}");
    }
}

#[test]
fn thirty_one_parameters_are_refused_with_the_number() {
    let mut job = job("");
    job.parameters.extend((0..29).map(|i| DeclaredParameter {
        name: format!("p{i}"),
        ..DeclaredParameter::default()
    }));
    let refusal = check("j", &job, &Contents::default(), &Limits::default()).expect_err("31");
    assert_eq!(refusal.reason, "TooManyParameters");
    assert!(refusal.message.contains("31"));
}

#[test]
fn a_host_that_names_no_node_cannot_be_drained() {
    assert_eq!(
        reason(r#",{"name":"empty","action":{"drain":{}}}"#),
        "NoNode"
    );
}

#[test]
fn a_job_is_planned_with_what_it_is_now_and_refused_where_somebody_has_seen_another() {
    let step = r#",{"name":"b","job":{"name":"called","parameters":{"UNIT":"{{ params.unit }}","TOKEN":"{{ params.token }}"}}}"#;
    let plan = frozen_with(&job(step), 3, "web").expect("sound");
    let step_of = |plan: &Plan| plan.steps[1].body.clone();
    let Body::Job {
        revision,
        parameters,
        ..
    } = step_of(&plan)
    else {
        panic!("a job")
    };
    assert!(revision.starts_with("sha256:"), "{revision}");
    assert_eq!(parameters["TOKEN"], Value::Secret("token".into()));
    assert_eq!(plan.lane(1).kind, TargetKind::None, "it runs once");
    let asked = |revision: &str| frozen_as(&job(step), 1, "web", Some(revision));
    let own = check("j", &job(step), &named(), &Limits::default());
    assert!(asked(&own.expect("plannable")).is_ok());
    assert_eq!(asked(&revision).expect_err("another").reason, "JobChanged");
}
