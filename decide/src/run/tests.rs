//! Tables and properties of `run::next`, over a small simulated world.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    execution::{State, TargetKind, Via},
    v1alpha1::{
        Duration, Interpreter, JobRunStatus, OnThreshold, RunActionSpec, Share, Sharing,
        Strategy as Rolling,
    },
};
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::control::{Control, Taken};
use crate::plan::{Body, Lane, PlannedTarget, ScriptBody, VERSION};

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("valid")
}

pub fn step(name: &str, lane: usize, needs: &[usize]) -> PlannedStep {
    PlannedStep {
        name: name.into(),
        lane,
        stage: 0,
        needs: needs.to_vec(),
        run_on: RunOn::Success,
        when: None,
        item: String::new(),
        outputs: Vec::new(),
        continue_on_failure: false,
        on_failure: false,
        body: Body::Script(ScriptBody {
            interpreter: Interpreter::Shell,
            content: "true".into(),
            ..ScriptBody::default()
        }),
        run_as: None,
        timeout: Duration::from_secs(60),
        delivery_timeout: Duration::from_secs(60),
        retries: 0,
        backoff: Duration::from_secs(5),
    }
}

pub fn plan(targets: &[usize], mut steps: Vec<PlannedStep>, strategy: Rolling) -> Plan {
    let needs: Vec<_> = steps.iter().map(|s| s.needs.clone()).collect();
    let lanes: Vec<_> = steps.iter().map(|s| s.lane).collect();
    let last: Vec<_> = steps.iter().map(|s| s.on_failure).collect();
    for (i, stage) in crate::graph::stages(&needs, &lanes, &last)
        .into_iter()
        .enumerate()
    {
        steps[i].stage = stage;
    }
    let target = |lane: usize, i: usize| PlannedTarget {
        name: format!("t{lane}{i}"),
        uid: format!("u{lane}{i}"),
        ..PlannedTarget::default()
    };
    Plan {
        version: VERSION,
        cluster: None,
        job: "j".into(),
        revision: String::new(),
        writers: BTreeSet::new(),
        account: "a".into(),
        frozen_at: at(0),
        sharing: Sharing::Exclusive,
        strategy,
        lanes: targets
            .iter()
            .enumerate()
            .map(|(l, &n)| Lane {
                kind: TargetKind::Host,
                selector: None,
                targets: (0..n).map(|i| target(l, i)).collect(),
            })
            .collect(),
        steps,
        params: BTreeMap::new(),
        secrets: BTreeMap::new(),
        read: BTreeMap::new(),
    }
}

pub fn next(plan: &Plan, ledger: &Ledger, control: &Control, now: Timestamp) -> Next {
    let run = template::Run {
        name: "r",
        namespace: "n",
    };
    super::next(plan, run, ledger, control, now)
}

pub fn attempt(number: i32, state: State, finished: i64) -> Attempt {
    let final_ = state.is_terminal();
    Attempt {
        number,
        state,
        via: Via::Journal,
        started_at: Some(at(0)),
        finished_at: final_.then(|| at(finished)),
        in_flight: !final_,
    }
}

pub fn task(step: usize, target: usize) -> Task {
    Task { step, target }
}

pub fn ledger(of: &[(Task, Attempt)]) -> Ledger {
    let mut ledger = Ledger::default();
    for &(task, attempt) in of {
        ledger.set(task, attempt);
    }
    ledger
}

pub fn starts(next: &Next) -> Vec<(usize, usize, i32)> {
    next.start
        .iter()
        .map(|(t, n)| (t.step, t.target, *n))
        .collect()
}

#[test]
fn a_batch_starts_when_the_one_before_has_ended_and_rested() {
    let strategy = Rolling {
        batches: vec![Share::Count(1)],
        pause_between: Duration::from_secs(30),
        ..Rolling::default()
    };
    let plan = plan(&[2], vec![step("s", 0, &[])], strategy);
    let first = next(&plan, &Ledger::default(), &Control::default(), at(0));
    assert_eq!(starts(&first), [(0, 0, 1)]);
    let done = ledger(&[(task(0, 0), attempt(1, State::Succeeded, 10))]);
    let resting = next(&plan, &done, &Control::default(), at(20));
    assert_eq!((starts(&resting), resting.again), (vec![], Some(at(40))));
    assert_eq!(
        starts(&next(&plan, &done, &Control::default(), at(40))),
        [(0, 1, 1)]
    );
}

#[test]
fn targets_go_through_their_steps_independently_of_each_other() {
    let plan = plan(
        &[2],
        vec![step("a", 0, &[]), step("b", 0, &[0])],
        Rolling::default(),
    );
    let ledger = ledger(&[
        (task(0, 0), attempt(1, State::Succeeded, 1)),
        (task(0, 1), attempt(1, State::Started, 0)),
    ]);
    assert_eq!(
        starts(&next(&plan, &ledger, &Control::default(), at(2))),
        [(1, 0, 1)]
    );
}

#[test]
fn a_step_on_other_targets_waits_for_the_whole_lane() {
    let plan = plan(
        &[2, 1],
        vec![step("a", 0, &[]), step("b", 1, &[0])],
        Rolling::default(),
    );
    let mut half = ledger(&[
        (task(0, 0), attempt(1, State::Succeeded, 1)),
        (task(0, 1), attempt(1, State::Started, 0)),
    ]);
    assert!(starts(&next(&plan, &half, &Control::default(), at(2))).is_empty());
    half.set(task(0, 1), attempt(1, State::Succeeded, 2));
    assert_eq!(
        starts(&next(&plan, &half, &Control::default(), at(2))),
        [(1, 0, 1)]
    );
}

#[test]
fn lanes_that_wait_for_each_other_across_batches_do_not_lock_up() {
    let strategy = Rolling {
        batches: vec![Share::Count(1)],
        ..Rolling::default()
    };
    let plan = plan(
        &[2, 1],
        vec![step("a", 0, &[]), step("b", 1, &[0]), step("c", 0, &[1])],
        strategy,
    );
    assert_eq!(
        play(&plan, |_, _| State::Succeeded).1,
        Phase::Ended(End::Succeeded)
    );
}

#[test]
fn a_failure_skips_what_needs_it_and_stops_or_pauses_the_rest() {
    let steps = || vec![step("a", 0, &[]), step("b", 0, &[0])];
    let failed = ledger(&[(task(0, 0), attempt(1, State::Failed, 1))]);
    let one_by_one = Rolling {
        batches: vec![Share::Count(1)],
        ..Rolling::default()
    };
    let stopped = next(
        &plan(&[2], steps(), one_by_one.clone()),
        &failed,
        &Control::default(),
        at(2),
    );
    assert_eq!(
        (stopped.phase, stopped.tasks[1][0]),
        (Phase::Ended(End::Failed), Standing::Skipped)
    );
    let pausing = plan(
        &[2],
        steps(),
        Rolling {
            on_threshold: OnThreshold::Pause,
            ..one_by_one.clone()
        },
    );
    let paused = next(&pausing, &failed, &Control::default(), at(2));
    assert_eq!(
        (starts(&paused), paused.phase),
        (vec![], Phase::Suspended(Hold::ThresholdExceeded))
    );
    let resumed = next(
        &pausing,
        &failed,
        &Control {
            forgiven: 1,
            ..Control::default()
        },
        at(2),
    );
    assert_eq!(
        (starts(&resumed), resumed.phase),
        (vec![(0, 1, 1)], Phase::Running)
    );
    let tolerant = plan(
        &[2],
        steps(),
        Rolling {
            max_failures: Share::Percent(50),
            ..one_by_one
        },
    );
    assert_eq!(
        starts(&next(&tolerant, &failed, &Control::default(), at(2))),
        [(0, 1, 1)]
    );
}

#[test]
fn a_run_that_continues_tries_every_target_and_has_failed_all_the_same() {
    let continuing = Rolling {
        batches: vec![Share::Count(1)],
        on_threshold: OnThreshold::Continue,
        ..Rolling::default()
    };
    let plan = plan(&[2], vec![step("a", 0, &[])], continuing);
    let mut tried = ledger(&[(task(0, 0), attempt(1, State::Failed, 1))]);
    let on = next(&plan, &tried, &Control::default(), at(2));
    assert_eq!((starts(&on), on.phase), (vec![(0, 1, 1)], Phase::Running));
    tried.set(task(0, 1), attempt(1, State::Succeeded, 3));
    let over = next(&plan, &tried, &Control::default(), at(4));
    assert_eq!(over.phase, Phase::Ended(End::Failed));
}

#[test]
fn retries_wait_longer_each_time_and_unknown_is_never_repeated() {
    let retried = PlannedStep {
        retries: 2,
        ..step("a", 0, &[])
    };
    let plan = plan(&[1], vec![retried], Rolling::default());
    let once = ledger(&[(task(0, 0), attempt(1, State::TimedOut, 10))]);
    assert_eq!(
        next(&plan, &once, &Control::default(), at(12)).again,
        Some(at(15))
    );
    assert_eq!(
        starts(&next(&plan, &once, &Control::default(), at(15))),
        [(0, 0, 2)]
    );
    let twice = ledger(&[(task(0, 0), attempt(2, State::Failed, 20))]);
    assert_eq!(
        next(&plan, &twice, &Control::default(), at(21)).again,
        Some(at(30))
    );
    let unknown = ledger(&[(task(0, 0), attempt(1, State::Unknown, 10))]);
    assert_eq!(
        next(&plan, &unknown, &Control::default(), at(99)).phase,
        Phase::Ended(End::Failed)
    );
}

#[test]
fn what_another_leader_started_is_joined_or_settled() {
    let plan = plan(&[2], vec![step("a", 0, &[])], Rolling::default());
    let lost = |via| Attempt {
        via,
        in_flight: false,
        ..attempt(1, State::Started, 0)
    };
    let ledger = ledger(&[
        (task(0, 0), lost(Via::Journal)),
        (task(0, 1), lost(Via::Exec)),
    ]);
    let found = next(&plan, &ledger, &Control::default(), at(1));
    assert_eq!(
        (starts(&found), found.settle),
        (vec![(0, 0, 1)], vec![(task(0, 1), 1)])
    );
    let cancelled = next(
        &plan,
        &ledger,
        &Control {
            cancel: true,
            ..Control::default()
        },
        at(1),
    );
    assert_eq!(
        (cancelled.cancel, cancelled.settle),
        (vec![(task(0, 0), 1)], vec![(task(0, 1), 1)])
    );
}

#[test]
fn a_cancelled_run_is_cancelled_unless_all_of_it_had_succeeded() {
    let plan = plan(&[2], vec![step("a", 0, &[])], Rolling::default());
    let cancel = Control {
        cancel: true,
        ..Control::default()
    };
    for (first, second, wanted) in [
        (State::Succeeded, State::Succeeded, End::Succeeded),
        (State::Succeeded, State::Unknown, End::Cancelled),
        (State::Failed, State::Cancelled, End::Cancelled),
        (State::Unknown, State::Unknown, End::Cancelled),
    ] {
        let ended = [
            (task(0, 0), attempt(1, first, 1)),
            (task(0, 1), attempt(1, second, 1)),
        ];
        let found = next(&plan, &ledger(&ended), &cancel, at(2));
        assert_eq!(found.phase, Phase::Ended(wanted), "{first:?}, {second:?}");
    }
}

#[test]
fn nothing_to_do_is_skipped_and_never_failed() {
    let plan = plan(&[0], vec![step("a", 0, &[])], Rolling::default());
    assert_eq!(
        next(&plan, &Ledger::default(), &Control::default(), at(0)).phase,
        Phase::Ended(End::Skipped)
    );
}

/// Plays a run to its end: everything that starts ends a second later as `outcome` says. Returns what started, in order.
fn play(plan: &Plan, outcome: impl Fn(Task, i32) -> State) -> (Vec<(Task, i32)>, Phase) {
    let (mut ledger, mut now, mut started) = (Ledger::default(), at(0), Vec::new());
    for _ in 0..10_000 {
        let found = next(plan, &ledger, &Control::default(), now);
        if let Phase::Ended(_) | Phase::Suspended(_) = found.phase {
            return (started, found.phase);
        }
        let later = now
            .checked_add(SignedDuration::from_secs(1))
            .expect("in range");
        assert!(
            !found.start.is_empty() || found.again.is_some(),
            "the run waits for nothing: {found:?}"
        );
        now = if found.start.is_empty() {
            found.again.expect("checked").max(later)
        } else {
            later
        };
        for (task, number) in found.start {
            started.push((task, number));
            ledger.set(
                task,
                attempt(number, outcome(task, number), now.as_second()),
            );
        }
    }
    panic!("the run never ends")
}

fn worlds() -> impl Strategy<Value = (Plan, Vec<u8>)> {
    let steps = proptest::collection::vec((0..3_usize, any::<u8>(), 0..2_i32), 1..6);
    let rolling = (
        proptest::collection::vec(0..4_i32, 0..3),
        1..5_i32,
        0..4_i32,
        any::<bool>(),
    );
    (
        [0..5_usize, 0..4, 0..2],
        steps,
        rolling,
        proptest::collection::vec(any::<u8>(), 64),
    )
        .prop_map(|(targets, steps, rolling, luck)| {
            let steps = steps.iter().enumerate().map(|(i, &(lane, mask, retries))| {
                let needs: Vec<_> = (0..i).filter(|n| mask >> n & 1 == 1).collect();
                PlannedStep {
                    retries,
                    ..step(&format!("s{i}"), lane, &needs)
                }
            });
            let strategy = Rolling {
                batches: rolling.0.iter().map(|&n| Share::Count(n)).collect(),
                max_parallel: rolling.1,
                max_failures: Share::Count(rolling.2),
                on_threshold: if rolling.3 {
                    OnThreshold::Stop
                } else {
                    OnThreshold::Pause
                },
                ..Rolling::default()
            };
            (plan(&targets, steps.collect(), strategy), luck)
        })
}

/// A run of two steps on three targets that has paused: `a` has failed on two of them.
fn paused() -> (Plan, Ledger) {
    let strategy = Rolling {
        on_threshold: OnThreshold::Pause,
        ..Rolling::default()
    };
    let plan = plan(&[3], vec![step("a", 0, &[]), step("b", 0, &[0])], strategy);
    let ledger = ledger(&[
        (task(0, 0), attempt(1, State::Succeeded, 1)),
        (task(0, 1), attempt(1, State::Failed, 1)),
        (task(0, 2), attempt(1, State::Unknown, 1)),
    ]);
    (plan, ledger)
}

fn asked(action: &str, of: serde_json::Value) -> RunActionSpec {
    let mut spec = serde_json::json!({"runRef": {"name": "r"}, "action": action});
    if let serde_json::Value::Object(of) = of {
        spec.as_object_mut().expect("an object").extend(of);
    }
    serde_json::from_value(spec).expect("an action")
}

/// What an action makes of the paused run, with what its status has kept of it.
fn acted(action: &str, of: serde_json::Value) -> (Plan, Ledger, Control) {
    let (plan, ledger) = paused();
    let mut control = Control::default();
    let taken = control.take_in(&asked(action, of), Some((&plan, &ledger)));
    assert_eq!(taken, Taken::Now);
    let mut status = JobRunStatus::default();
    control.keep(&mut status, Some(&plan));
    assert_eq!(Control::of(Some(&status), Some(&plan)), control);
    (plan, ledger, control)
}

#[test]
fn a_run_over_its_threshold_pauses_also_when_nothing_else_is_left() {
    let (plan, mut ledger) = paused();
    ledger.set(task(1, 0), attempt(1, State::Succeeded, 2));
    let all_done = next(&plan, &ledger, &Control::default(), at(3));
    assert_eq!(all_done.phase, Phase::Suspended(Hold::ThresholdExceeded));
    let resumed = Control {
        forgiven: 2,
        ..Control::default()
    };
    let resumed = next(&plan, &ledger, &resumed, at(3));
    assert_eq!(resumed.phase, Phase::Ended(End::Failed));
}

#[test]
fn what_failed_is_tried_again_at_once_and_once_and_what_is_unknown_is_not() {
    let (plan, mut ledger, mut control) = acted("RetryFailed", serde_json::json!({}));
    control.forgiven = 1;
    assert_eq!(
        starts(&next(&plan, &ledger, &control, at(2))),
        [(0, 1, 2), (1, 0, 1)]
    );
    ledger.set(task(0, 1), attempt(2, State::Failed, 3));
    let again = next(&plan, &ledger, &control, at(99));
    assert_eq!(
        again.tasks[0][1],
        Standing::Failed,
        "one attempt was granted"
    );
    control.take_in(
        &asked("RetryFailed", serde_json::json!({})),
        Some((&plan, &ledger)),
    );
    assert_eq!(
        starts(&next(&plan, &ledger, &control, at(99)))[0],
        (0, 1, 3)
    );
    // A grant whose attempt has not begun is not lost by a second wish.
    let before = control.clone();
    control.take_in(
        &asked("RetryFailed", serde_json::json!({})),
        Some((&plan, &ledger)),
    );
    assert_eq!(control, before);
}

#[test]
fn a_skipped_step_counts_as_done_wherever_it_has_not_succeeded() {
    let (plan, ledger, control) = acted("Skip", serde_json::json!({"step": "a"}));
    let found = next(&plan, &ledger, &control, at(2));
    assert_eq!(
        found.tasks[0],
        [Standing::Succeeded, Standing::Passed, Standing::Passed]
    );
    assert_eq!(starts(&found), [(1, 0, 1), (1, 1, 1), (1, 2, 1)]);
    let done = |target| (task(1, target), attempt(1, State::Succeeded, 3));
    let mut ledger = ledger;
    (0..3)
        .map(done)
        .for_each(|(task, attempt)| ledger.set(task, attempt));
    assert_eq!(
        next(&plan, &ledger, &control, at(4)).phase,
        Phase::Ended(End::Succeeded)
    );
}

#[test]
fn a_run_goes_on_from_a_step_without_what_it_needs() {
    let (plan, ledger, control) = acted("ResumeFrom", serde_json::json!({"step": "b"}));
    assert_eq!(
        starts(&next(&plan, &ledger, &control, at(2))),
        [(1, 0, 1), (1, 1, 1), (1, 2, 1)]
    );
    let mut control = Control::default();
    let refused = control.take_in(
        &asked("ResumeFrom", serde_json::json!({"step": "c"})),
        Some((&plan, &ledger)),
    );
    assert!(matches!(refused, Taken::Never(refusal) if refusal.message.contains("it has a, b")));
    let early = control.take_in(&asked("RetryFailed", serde_json::json!({})), None);
    assert_eq!(early, Taken::Later);
}

#[test]
fn more_or_less_goes_on_at_once_as_somebody_says() {
    let plan = plan(&[9], vec![step("a", 0, &[])], Rolling::default());
    let mut control = Control::default();
    control.take_in(
        &asked("SetMaxParallel", serde_json::json!({"maxParallel": 2})),
        None,
    );
    assert_eq!(
        starts(&next(&plan, &Ledger::default(), &control, at(0))).len(),
        2
    );
}

proptest! {
    #[test]
    fn every_run_ends_or_pauses_and_starts_no_attempt_twice((plan, luck) in worlds()) {
        let fails = |task: Task, number: i32| luck[(task.step * 17 + task.target * 5 + usize::try_from(number).expect("positive")) % luck.len()] < 64;
        let (mut started, _) = play(&plan, |task, number| if fails(task, number) { State::Failed } else { State::Succeeded });
        let count = started.len();
        started.sort();
        started.dedup();
        prop_assert_eq!(started.len(), count);
    }

    #[test]
    fn a_cancelled_run_starts_nothing_and_ends_once_nothing_runs((plan, luck) in worlds(), cut in 0..20_usize) {
        let mut ledger = Ledger::default();
        for (i, (task, number)) in play(&plan, |_, _| State::Succeeded).0.into_iter().take(cut).enumerate() {
            let state = [State::Started, State::Succeeded, State::Failed, State::Unknown][usize::from(luck[i % luck.len()]) % 4];
            ledger.set(task, attempt(number, state, 1));
        }
        let skipped = (0..plan.steps.len()).filter(|step| luck[step % luck.len()] % 3 == 0).collect();
        let granted = ledger.tasks().filter(|task| luck[task.target % luck.len()] % 2 == 0).map(|task| (task, 1)).collect();
        let control = Control { cancel: true, skipped, granted, max_parallel: Some(1), ..Control::default() };
        let found = next(&plan, &ledger, &control, at(5));
        prop_assert!(found.start.is_empty());
        for (task, number) in found.cancel {
            ledger.set(task, attempt(number, State::Cancelled, 6));
        }
        prop_assert!(matches!(next(&plan, &ledger, &control, at(7)).phase, Phase::Ended(_)));
    }
}
