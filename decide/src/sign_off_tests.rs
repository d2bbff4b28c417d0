//! Whose decisions on a step count, what they come to, and what is written down before it is carried out.

use crds::v1alpha1::{StepStatus, Strategy};
use serde_json::{Value, json};

use super::*;
use crate::{
    control::Control,
    ledger::{Attempt, Ledger},
    plan::Body,
    run::{self, tests as world},
};

const HASH: &str = "sha256:plan";
/// When the step began, and when its time is over.
const BEGAN: i64 = 100;
const UNTIL: i64 = 160;

/// A host, then people, then the host again.
fn plan(asked: &Value) -> Plan {
    let mut fields = json!({"approvals": 1, "expiresAfter": "60s"});
    let given = asked.as_object().expect("fields").clone();
    fields.as_object_mut().expect("fields").extend(given);
    let asked = serde_json::from_value(fields).expect("a step");
    let mut steps = vec![
        world::step("canary", 0, &[]),
        world::step("sign-off", 1, &[0]),
        world::step("rest", 0, &[1]),
    ];
    steps[1].body = Body::Approval(asked);
    Plan {
        writers: ["ann", "rob"].map(str::to_owned).into(),
        ..world::plan(&[1, 1], steps, Strategy::default())
    }
}

fn waiting(number: i32) -> Attempt {
    Attempt {
        started_at: Some(world::at(BEGAN)),
        in_flight: false,
        ..world::attempt(number, State::Started, 0)
    }
}

fn ledger(number: i32) -> Ledger {
    let done = world::attempt(1, State::Succeeded, 50);
    world::ledger(&[
        (world::task(0, 0), done),
        (world::task(1, 0), waiting(number)),
    ])
}

/// An Approval of somebody in a second, with what differs from the usual one.
fn given(by: &str, second: i64, more: &Value) -> Approval {
    let mut spec = json!({"subject": {"kind": "JobRun", "name": "r", "step": "sign-off"}, "digest": HASH, "decision": "Approve",
        "requestedBy": {"user": by, "groups": [format!("{by}s")]}});
    let more = more.as_object().expect("fields").clone();
    spec.as_object_mut().expect("a spec").extend(more);
    let name = format!("{by}-{second}");
    let mut approval = Approval::new(&name, serde_json::from_value(spec).expect("a spec"));
    approval.metadata.uid = Some(name);
    approval.metadata.creation_timestamp = Some(Time(world::at(second)));
    approval
}

fn yes(by: &str) -> Approval {
    given(by, BEGAN + 1, &json!({}))
}

fn no(by: &str) -> Approval {
    let no = json!({"decision": "Reject", "reason": "not today"});
    given(by, BEGAN + 1, &no)
}

/// The next moves with what people have decided.
fn next(
    plan: &Plan,
    (ledger, control): (&Ledger, &Control),
    approvals: &[Approval],
    told: Option<&JobRunStatus>,
    second: i64,
) -> Next {
    let now = world::at(second);
    let mut next = world::next(plan, ledger, control, now);
    let question = Question {
        run: "r",
        plan,
        hash: HASH,
        told,
        approvals,
        now,
    };
    ask(&mut next, &question);
    next
}

/// What it comes to a moment after these were given.
fn come_to(asked: &Value, approvals: &[Approval]) -> Option<ApprovalOutcome> {
    let plan = plan(asked);
    let known = (&ledger(1), &Control::default());
    let next = next(&plan, known, approvals, None, BEGAN + 2);
    next.decided[&1].outcome
}

/// The status of a run that says this of the step.
fn told(approval: StepApproval) -> JobRunStatus {
    let step = StepStatus {
        name: "sign-off".into(),
        approval: Some(approval),
        ..StepStatus::default()
    };
    JobRunStatus {
        steps: vec![step],
        ..JobRunStatus::default()
    }
}

#[test]
fn people_are_counted_once_each_and_one_rejection_outweighs_all() {
    use ApprovalOutcome::{Approved, Rejected};
    let again = given("bob", BEGAN + 2, &json!({}));
    for (asked, approvals, wanted) in [
        (json!({}), vec![], None),
        (json!({}), vec![yes("bob")], Some(Approved)),
        (json!({}), vec![yes("bob"), no("eve")], Some(Rejected)),
        (json!({"approvals": 2}), vec![yes("bob")], None),
        (json!({"approvals": 2}), vec![yes("bob"), again], None),
        (
            json!({"approvals": 2}),
            vec![yes("bob"), yes("eve")],
            Some(Approved),
        ),
        (json!({"approvals": 2}), vec![no("bob")], Some(Rejected)),
    ] {
        let title = format!("{asked} {approvals:?}");
        assert_eq!(come_to(&asked, &approvals), wanted, "{title}");
    }
}

#[test]
fn only_those_who_are_asked_decide_and_never_on_their_own_work() {
    let counts = |asked: Value, by: &str| {
        let approved = come_to(&asked, &[yes(by)]).is_some();
        assert_eq!(come_to(&asked, &[no(by)]).is_some(), approved, "{by}");
        approved
    };
    for (asked, by, wanted) in [
        (json!({}), "bob", true),
        (json!({}), "ann", false),
        (json!({}), "rob", false),
        (json!({}), "", false),
        (json!({"users": ["bob"]}), "bob", true),
        (json!({"users": ["bob"]}), "eve", false),
        (json!({"users": ["ann"]}), "ann", false),
        (json!({"groups": ["bobs"]}), "bob", true),
        (json!({"groups": ["bobs"]}), "eve", false),
        (json!({"groups": ["bobs"], "users": ["eve"]}), "eve", true),
        (json!({"groups": ["bobs"], "users": ["eve"]}), "bob", true),
        (json!({"groups": ["bobs"], "users": ["eve"]}), "dan", false),
    ] {
        assert_eq!(counts(asked.clone(), by), wanted, "{asked} {by:?}");
    }
}

#[test]
fn a_decision_is_about_one_step_of_one_plan_in_its_time() {
    let about = |subject: Value| json!({"subject": subject});
    let usual = json!({"kind": "JobRun", "name": "r", "step": "sign-off"});
    let expires = |second| json!({"expires": world::at(second).to_string()});
    for (second, more, wanted) in [
        (BEGAN + 1, about(usual), true),
        (
            BEGAN + 1,
            about(json!({"kind": "JobRun", "name": "r"})),
            false,
        ),
        (
            BEGAN + 1,
            about(json!({"kind": "JobRun", "name": "r", "step": "rest"})),
            false,
        ),
        (
            BEGAN + 1,
            about(json!({"kind": "JobRun", "name": "q", "step": "sign-off"})),
            false,
        ),
        (BEGAN + 1, json!({"digest": "sha256:another"}), false),
        (BEGAN + 1, expires(BEGAN + 2), false),
        (BEGAN + 1, expires(BEGAN + 3), true),
        (BEGAN - 1, json!({}), false),
        (BEGAN, json!({}), true),
    ] {
        let found = come_to(&json!({}), &[given("bob", second, &more)]);
        assert_eq!(found.is_some(), wanted, "{second} {more}");
    }
}

#[test]
fn an_approval_of_the_whole_run_lets_no_step_go_on_and_the_other_way_round() {
    let writers = BTreeSet::from(["ann".to_owned()]);
    let whole = Content {
        kind: SubjectKind::JobRun,
        name: "r",
        step: None,
        digest: HASH,
        writers: &writers,
    };
    assert_eq!(whole.decided(&[yes("bob")], world::at(BEGAN)), None);
}

#[test]
fn a_run_that_does_nothing_else_is_held_until_its_deadline() {
    let plan = plan(&json!({"approvals": 2, "message": "fine?", "groups": ["leads"]}));
    let control = Control::default();
    let waits = next(&plan, (&ledger(1), &control), &[], None, BEGAN + 2);
    assert!(waits.held && waits.conclude.is_empty() && waits.start.is_empty());
    assert_eq!(waits.again, Some(world::at(UNTIL)));
    assert_eq!(
        waits.decided[&1].message,
        "0 of 2 approvals; members of leads may decide until 1970-01-01T00:02:40Z: fine?"
    );
    let mut busy = ledger(1);
    let works = world::attempt(1, State::Started, 0);
    busy.set(world::task(0, 0), works);
    let busy = next(&plan, (&busy, &control), &[], None, BEGAN + 2);
    assert!(!busy.held, "something else goes on");
}

#[test]
fn an_outcome_is_written_down_before_it_is_carried_out_and_stands() {
    let (plan, control) = (plan(&json!({})), Control::default());
    let found = ledger(1);
    let known = (&found, &control);
    let first = next(&plan, known, &[yes("bob")], None, BEGAN + 2);
    assert!(first.conclude.is_empty() && !first.held);
    assert_eq!(first.again, Some(world::at(BEGAN + 2)));
    let written = told(first.decided[&1].clone());
    // The Approval is gone, and somebody has rejected meanwhile.
    let second = next(&plan, known, &[no("eve")], Some(&written), BEGAN + 3);
    let end = &second.conclude[0];
    assert_eq!((end.state, end.reason), (State::Succeeded, "Approved"));
    assert_eq!(end.message, "approved by bob");
    assert_eq!(second.decided[&1], first.decided[&1]);
}

#[test]
fn each_outcome_ends_the_attempt_in_its_way() {
    let end = |asked: Value, approvals: &[Approval], control: &Control, second: i64| {
        let plan = plan(&asked);
        let found = ledger(1);
        let known = (&found, control);
        let first = next(&plan, known, approvals, None, second);
        let written = told(first.decided[&1].clone());
        let second = next(&plan, known, approvals, Some(&written), second);
        let end = &second.conclude[0];
        (end.state, end.reason, end.message.clone())
    };
    let none = Control::default();
    let rejected = end(json!({}), &[no("eve")], &none, BEGAN + 2);
    let wanted = (State::Failed, "Rejected", "rejected by eve: not today");
    assert_eq!((rejected.0, rejected.1, rejected.2.as_str()), wanted);
    let late = given("bob", UNTIL, &json!({}));
    let expired = end(json!({}), std::slice::from_ref(&late), &none, UNTIL);
    assert_eq!((expired.0, expired.1), (State::TimedOut, "Expired"));
    let continued = end(json!({"onExpiry": "Continue"}), &[late], &none, UNTIL);
    assert_eq!((continued.0, continued.1), (State::Succeeded, "Expired"));
    let in_time = given("bob", UNTIL - 1, &json!({}));
    let after_a_gap = end(json!({}), &[in_time], &none, UNTIL + 600);
    assert_eq!(after_a_gap.1, "Approved", "no operator was there meanwhile");
    let cancelled = Control {
        cancel: true,
        ..Control::default()
    };
    let skipped = Control {
        skipped: [1].into(),
        ..Control::default()
    };
    for control in [cancelled, skipped] {
        let withdrawn = end(json!({}), &[yes("bob")], &control, BEGAN + 2);
        assert_eq!((withdrawn.0, withdrawn.1), (State::Cancelled, "Withdrawn"));
    }
}

#[test]
fn what_was_skipped_counts_as_done_and_what_was_rejected_leaves_out_the_rest() {
    let plan = plan(&json!({}));
    let after = |state, control: &Control| {
        let mut done = ledger(1);
        done.set(world::task(1, 0), world::attempt(1, state, BEGAN + 2));
        world::next(&plan, &done, control, world::at(BEGAN + 3))
    };
    let control = Control::default();
    let rejected = after(State::Failed, &control);
    assert_eq!(rejected.phase, Phase::Ended(run::End::Failed));
    assert_eq!(rejected.tasks[2], [Standing::Skipped]);
    let skipped = Control {
        skipped: [1].into(),
        ..Control::default()
    };
    let passed = after(State::Cancelled, &skipped);
    assert_eq!(world::starts(&passed), [(2, 0, 1)]);
}

#[test]
fn a_step_that_is_tried_again_is_decided_on_anew() {
    let (plan, control) = (plan(&json!({})), Control::default());
    let found = ledger(2);
    let known = (&found, &control);
    let before = told(StepApproval {
        attempt: 1,
        needed: 1,
        since: Time(world::at(10)),
        until: Time(world::at(70)),
        outcome: Some(ApprovalOutcome::Rejected),
        decisions: Vec::new(),
        message: "rejected by eve: no".into(),
    });
    // Of the second in which it began again nobody knows what was first.
    let earlier = given("eve", BEGAN, &json!({"decision": "Reject", "reason": "no"}));
    let waits = next(&plan, known, &[earlier], Some(&before), BEGAN + 2);
    assert_eq!(
        (waits.decided[&1].attempt, waits.decided[&1].outcome),
        (2, None)
    );
    assert!(waits.conclude.is_empty());
    let approved = next(&plan, known, &[yes("bob")], Some(&before), BEGAN + 2);
    assert_eq!(
        approved.decided[&1].outcome,
        Some(ApprovalOutcome::Approved)
    );
}

#[test]
fn a_run_that_stops_asks_nobody_any_more_but_for_its_roll_back() {
    let mut plan = plan(&json!({}));
    plan.steps[1].needs.clear();
    let mut found = world::ledger(&[(world::task(1, 0), waiting(1))]);
    found.set(world::task(0, 0), world::attempt(1, State::Failed, 50));
    let known = (&found, &Control::default());
    let stops = next(&plan, known, &[], None, BEGAN + 2);
    assert_eq!(stops.decided[&1].outcome, Some(ApprovalOutcome::Withdrawn));
    plan.steps[1].on_failure = true;
    let rolls_back = next(&plan, known, &[], None, BEGAN + 2);
    assert_eq!(rolls_back.decided[&1].outcome, None);
    assert!(rolls_back.held && rolls_back.phase == Phase::RollingBack);
}

#[test]
fn asking_takes_nobodys_place() {
    let strategy = Strategy {
        max_parallel: 1,
        ..Strategy::default()
    };
    let mut plan = plan(&json!({}));
    plan.steps[1].needs.clear();
    plan.strategy = strategy;
    let next = world::next(&plan, &Ledger::default(), &Control::default(), world::at(0));
    assert_eq!(world::starts(&next), [(0, 0, 1), (1, 0, 1)]);
    let waits = world::ledger(&[(world::task(1, 0), waiting(1))]);
    let next = world::next(&plan, &waits, &Control::default(), world::at(0));
    assert_eq!(world::starts(&next), [(0, 0, 1)]);
}

#[test]
fn an_approval_is_told_why_it_does_not_count() {
    let plan = plan(&json!({"groups": ["bobs", "eves"]}));
    let step = |outcome: Option<ApprovalOutcome>, by: &[&Approval]| StepApproval {
        attempt: 1,
        needed: 1,
        since: Time(world::at(BEGAN)),
        until: Time(world::at(UNTIL)),
        outcome,
        decisions: by.iter().map(|a| taken(a)).collect(),
        message: "approved by bob".into(),
    };
    let bob = yes("bob");
    let waits = told(step(None, &[]));
    let decided = told(step(Some(ApprovalOutcome::Approved), &[&bob]));
    let of = |step: &str| json!({"subject": {"kind": "JobRun", "name": "r", "step": step}});
    for (approval, status, wanted) in [
        (bob.clone(), None, Err("TooEarly")),
        (bob.clone(), Some(&waits), Ok(())),
        (bob, Some(&decided), Ok(())),
        (yes("eve"), Some(&decided), Err("TooLate")),
        (yes("ann"), Some(&decided), Err("OwnWork")),
        (yes("dan"), Some(&waits), Err("NotEntitled")),
        (
            given("eve", BEGAN - 1, &json!({})),
            Some(&waits),
            Err("TooEarly"),
        ),
        (
            given("eve", UNTIL, &json!({})),
            Some(&waits),
            Err("TooLate"),
        ),
        (
            given("eve", BEGAN, &of("rest")),
            Some(&waits),
            Err("NotFound"),
        ),
        (
            given("eve", BEGAN, &json!({"digest": "sha256:another"})),
            Some(&waits),
            Err("Changed"),
        ),
    ] {
        let spec = serde_json::from_value(json!({"jobRef": {"name": "j"}})).expect("a spec");
        let mut run = JobRun::new("r", spec);
        run.status = status.cloned();
        let found = counts(&approval, &run, (&plan, HASH), world::at(BEGAN + 2));
        let found = found.map_err(|refusal| refusal.reason);
        assert_eq!(found, wanted, "{:?}", approval.spec);
    }
}
