//! What kstatus and people are told of a run, turn by turn.

use super::*;
use crate::plan::Body;
use crds::v1alpha1::{Asked, StepApproval};

fn run(status: JobRunStatus) -> JobRun {
    let spec = serde_json::from_str(r#"{"jobRef":{"name":"j"}}"#).expect("valid");
    JobRun {
        status: Some(status),
        ..JobRun::new("r", spec)
    }
}

/// One that failed.
fn turn() -> Turn<'static> {
    Turn {
        frozen: None,
        control: None,
        taken: &[],
        begun: true,
        lets_go: None,
        crowded: false,
        outlook: Outlook::Errored {
            category: "Observe",
            message: "cannot read Scripts",
        },
    }
}

/// What kstatus makes of conditions, where neither the generation nor a deletion says more.
fn kstatus(status: &JobRunStatus) -> &'static str {
    let ready = find_condition(&status.conditions, "Ready").map(|c| c.status.as_str());
    let is = |type_| condition_is_true(&status.conditions, type_);
    match (is("Reconciling"), is("Stalled"), ready) {
        (true, false, Some("Unknown")) => "InProgress",
        (false, true, Some("False")) => "Failed",
        (false, false, Some("True")) => "Current",
        told => panic!("{told:?} contradict each other"),
    }
}

#[test]
fn a_run_stays_as_long_as_it_says_or_else_the_installation() {
    let mut ended = run(JobRunStatus {
        finished_at: Some(Time(Timestamp::UNIX_EPOCH)),
        ..JobRunStatus::default()
    });
    let after = |run: &JobRun, usual: Option<u64>| {
        expires(run, usual.map(Duration::from_secs)).map(Timestamp::as_second)
    };
    assert_eq!(
        (after(&ended, None), after(&ended, Some(60))),
        (None, Some(60))
    );
    ended.spec.ttl_after_finished = Some(Duration::from_secs(5));
    assert_eq!(
        (after(&ended, None), after(&ended, Some(60))),
        (Some(5), Some(5))
    );
    let again = Refusal::new(ALREADY_BEGUN, "");
    let told = Turn {
        outlook: Outlook::Refused(&again),
        ..turn()
    };
    ended.status = Some(status(&ended, &told, Timestamp::UNIX_EPOCH));
    assert_eq!(after(&ended, Some(60)), None, "Git would bring it back");
}

#[test]
fn kstatus_is_told_the_same_by_all_of_its_conditions() {
    let refused = |reason| Refusal::new(reason, "");
    let phase = |phase| Next {
        phase,
        ..Next::default()
    };
    let (missing, again) = (refused("JobNotFound"), refused(ALREADY_BEGUN));
    let [running, held, done, failed] = [
        Phase::Running,
        Phase::Suspended(Hold::ThresholdExceeded),
        Phase::Ended(End::Succeeded),
        Phase::Ended(End::Failed),
    ]
    .map(phase);
    let waiting = Outlook::Waiting {
        reason: "WaitingForMachine",
        message: "",
    };
    let ways = [
        vec![
            (waiting.clone(), "InProgress"),
            (Outlook::Refused(&missing), "Failed"),
        ],
        vec![
            (waiting, "InProgress"),
            (Outlook::Refused(&again), "Current"),
        ],
        vec![
            (Outlook::Moving(&held), "InProgress"),
            (Outlook::Moving(&failed), "Failed"),
        ],
        vec![
            (Outlook::Moving(&running), "InProgress"),
            (Outlook::Moving(&done), "Current"),
        ],
        vec![(Outlook::Cancelled, "Failed")],
    ];
    for way in ways {
        let mut run = run(JobRunStatus::default());
        for (outlook, wanted) in way {
            let turn = Turn { outlook, ..turn() };
            let told = status(&run, &turn, Timestamp::UNIX_EPOCH);
            assert_eq!(kstatus(&told), wanted, "{:?}", turn.outlook);
            run.status = Some(told);
        }
    }
}

#[test]
fn a_run_that_waits_for_people_says_whom_it_asks_and_keeps_what_they_decided() {
    let plan = asking();
    let decided = StepApproval {
        attempt: 1,
        needed: 2,
        since: Time(Timestamp::UNIX_EPOCH),
        until: Time(Timestamp::UNIX_EPOCH),
        outcome: None,
        decisions: Vec::new(),
        message: "1 of 2 approvals (bob)".into(),
    };
    let mut next = Next {
        tasks: vec![vec![Standing::Running]],
        decided: [(0, decided.clone())].into(),
        held: true,
        ..Next::default()
    };
    let frozen = Frozen {
        plan: &plan,
        name: "r-plan",
        hash: "sha256:plan",
    };
    let told = |next: &Next, before: JobRunStatus, lets_go| {
        let turn = Turn {
            frozen: Some(frozen),
            lets_go: Some(lets_go),
            outlook: Outlook::Moving(next),
            ..turn()
        };
        status(&run(before), &turn, Timestamp::UNIX_EPOCH)
    };
    let waits = told(&next, JobRunStatus::default(), true);
    assert_eq!(kstatus(&waits), "InProgress");
    let ready = find_condition(&waits.conditions, "Ready").expect("it is told");
    let wanted = "steps.s: 1 of 2 approvals (bob) (kubectl pilothouse approve run/r --step s)";
    assert_eq!(
        (ready.reason.as_str(), ready.message.as_str()),
        ("AwaitingApproval", wanted)
    );
    assert_eq!(waits.summary.as_deref(), Some("Waiting"));
    assert!(waits.released_at.is_some());
    next.held = false;
    let works = told(&next, waits.clone(), false);
    assert_eq!(works.summary.as_deref(), Some("Running"));
    assert_eq!(
        (works.message.as_deref(), works.released_at),
        (Some(wanted), None)
    );
    next.decided.clear();
    let later = told(&next, waits, false);
    assert_eq!(later.steps[0].approval.as_ref(), Some(&decided));
}

/// A plan with one step, which asks people.
fn asking() -> Plan {
    let mut step = crate::run::tests::step("s", 0, &[]);
    let asked = serde_json::json!({"approvals": 2});
    step.body = Body::Approval(serde_json::from_value(asked).expect("a step"));
    crate::run::tests::plan(&[1], vec![step], crds::v1alpha1::Strategy::default())
}

#[test]
fn a_turn_that_failed_is_told_and_changes_nothing_else() {
    let before = JobRunStatus {
        plan_hash: Some("sha256:0".into()),
        asked: Some(Asked::Suspend),
        progress: Some("1/2".into()),
        ..JobRunStatus::default()
    };
    let after = status(&run(before.clone()), &turn(), Timestamp::UNIX_EPOCH);
    let found = |type_| {
        find_condition(&after.conditions, type_).map(|c| (c.status.as_str(), c.reason.as_str()))
    };
    assert_eq!(found("Running"), Some(("False", "Observe")));
    assert_eq!(found("Planned"), Some(("True", "Frozen")));
    assert_eq!(after.message.as_deref(), Some("cannot read Scripts"));
    assert_eq!(
        (after.asked, after.progress),
        (before.asked, before.progress)
    );
}
