use super::*;
use crds::v1alpha1::JobSpec;
use decide::{
    Limits,
    calls::Contents,
    freeze::{Findings, freeze},
    parameters,
    plan::{PlannedTarget, SecretSource},
};

const RUN: template::Run<'_> = template::Run {
    name: "restart-xxxxx",
    namespace: "n",
};

fn plan(seconds: i64) -> Plan {
    let job: JobSpec = serde_json::from_value(serde_json::json!({
        "targets": {"hosts": {"names": ["vm1", "vm2", "vm3"]}},
        "strategy": {"batches": ["1", "100%"]},
        "parameters": [{"name": "unit", "default": "nginx"}, {"name": "password", "sensitive": true}],
        "steps": [
            {"name": "after", "needs": ["first"], "pod": {"image": "i", "command": ["echo", "{{ params.unit }}"]}},
            {"name": "first", "inline": {"content": "systemctl restart \"$UNIT\"\n", "env": {
                "UNIT": "{{ params.unit }}", "ME": "{{ target.address }}", "PASSWORD": "{{ params.password }}"}}},
        ],
    }))
    .expect("a job");
    let place =
        serde_json::from_value(serde_json::json!({"name": "db", "key": "pw"})).expect("a place");
    let given = parameters::Given {
        secret: [("password".to_owned(), place)].into(),
        ..parameters::Given::default()
    };
    let values = parameters::resolve(&job.parameters, &given, &[].into()).expect("values");
    let host = |name: &str, address: &str| PlannedTarget {
        name: name.into(),
        uid: format!("{name}-uid"),
        address: address.into(),
        ..PlannedTarget::default()
    };
    let source = SecretSource {
        name: "db".into(),
        key: "pw".into(),
        uid: "u".into(),
        resource_version: "1".into(),
    };
    let found = Findings {
        job_name: "restart",
        job: &job,
        account: "pilothouse-runner",
        run: RUN,
        values,
        reached: Contents::default(),
        revision: None,
        targets: vec![
            vec![PlannedTarget {
                uid: format!("run-{seconds}"),
                ..PlannedTarget::default()
            }],
            vec![
                host("vm1", "10.0.0.1"),
                host("vm2", "10.0.0.2"),
                host("vm3", "10.0.0.1"),
            ],
        ],
        secrets: [("password".to_owned(), source)].into(),
        files: [].into(),
    };
    freeze(
        &found,
        &Limits::default(),
        Timestamp::from_second(seconds).expect("a time"),
    )
    .expect("a plan")
}

#[test]
fn a_plan_reads_in_the_order_in_which_it_runs() {
    let shown = show(&plan(0), RUN, vec!["a note".into()]).expect("shown");
    let text = text(&shown, false);
    let digest = &shown.content_digest;
    let wanted = format!(
        "\
job       restart
account   pilothouse-runner
targets   4
strategy  at most 50 at once; pause between batches 0s; more than 0 failed targets: Stop
content   {digest}
plan hash a preview has none; it is made when the run is planned
parameter unit=nginx

1. first: inline Shell; timeout 10m, to be reached within 2m, 0 retries
   batch 1: vm1
   batch 2: vm2, vm3
   on vm1, vm3:
   ME=10.0.0.1
   PASSWORD=*** (Secret db, key pw)
   UNIT=nginx
   on vm2:
   ME=10.0.0.2
   PASSWORD=*** (Secret db, key pw)
   UNIT=nginx
   | systemctl restart \"$UNIT\"

2. after: pod of i, after first; timeout 10m, to be reached within 2m, 0 retries
   once
   command: [\"echo\",\"nginx\"]

note: a note
"
    );
    assert_eq!(text, wanted);
}

#[test]
fn runs_that_do_the_same_have_the_same_content() {
    let digest = |seconds| {
        show(&plan(seconds), RUN, Vec::new())
            .expect("shown")
            .content_digest
    };
    assert_eq!(digest(1), digest(2));
    assert_ne!(plan(1).seal().1, plan(2).seal().1);
}

#[test]
fn wide_names_addresses() {
    let shown = show(&plan(0), RUN, Vec::new()).expect("shown");
    assert!(text(&shown, true).contains("vm1 [10.0.0.1, vm1-uid]"));
}

#[test]
fn whom_a_step_asks_is_shown_with_what_they_have_decided() {
    let asks = serde_json::json!({"approvals": 2, "groups": ["leads"], "users": ["eve"], "message": "fine?", "expiresAfter": "4h"});
    let mut plan = plan(0);
    plan.steps[0].body = Body::Approval(serde_json::from_value(asks).expect("a step"));
    let told = serde_json::json!({"steps": [{"name": "after", "pending": 0, "running": 1, "succeeded": 0, "failed": 0, "skipped": 0,
        "approval": {"attempt": 1, "needed": 2, "since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "decisions": [],
            "message": "1 of 2 approvals (bob)"}}]});
    let told = serde_json::from_value(told).expect("a status");
    let shown = show(&plan, RUN, Vec::new()).expect("shown");
    let text = text(&shown.with_decisions(&told), false);
    for line in [
        "2. after: approval by 2 of members of leads, and eve, within 4h, or it fails, after first",
        "   asks: fine?",
        "   1 of 2 approvals (bob)",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}
