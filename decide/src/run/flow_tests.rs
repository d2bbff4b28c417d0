//! Tables of what steps depend on: failures of others, conditions, outputs, and the steps of onFailure.

use std::collections::BTreeMap;

use crds::{
    execution::{Execution, State, TargetKind, VERSION as ROW, Via},
    key::EffectKey,
    v1alpha1::{Output, RunOn, Share, Strategy},
};

use super::{
    tests::{at, attempt, ledger, next, plan, starts, step, task},
    *,
};

fn on(run_on: RunOn, name: &str, needs: &[usize]) -> PlannedStep {
    PlannedStep {
        run_on,
        ..step(name, 0, needs)
    }
}

fn last(name: &str, needs: &[usize]) -> PlannedStep {
    PlannedStep {
        on_failure: true,
        ..step(name, 0, needs)
    }
}

fn decided(plan: &Plan, of: &[(Task, Attempt)]) -> Next {
    next(plan, &ledger(of), &Control::default(), at(100))
}

const OK: State = State::Succeeded;
const BAD: State = State::Failed;

#[test]
fn a_step_for_failure_runs_where_something_failed_and_is_left_out_elsewhere() {
    let strategy = Strategy {
        max_failures: Share::Count(1),
        ..Strategy::default()
    };
    let steps = vec![
        step("a", 0, &[]),
        on(RunOn::Failure, "mend", &[0]),
        on(RunOn::Always, "tell", &[0]),
        step("b", 0, &[0]),
    ];
    let plan = plan(&[2], steps, strategy);
    let next = decided(
        &plan,
        &[
            (task(0, 0), attempt(1, OK, 1)),
            (task(0, 1), attempt(1, BAD, 1)),
        ],
    );
    assert_eq!(starts(&next), [(1, 1, 1), (2, 0, 1), (2, 1, 1), (3, 0, 1)]);
    assert_eq!(next.tasks[1][0], Standing::Passed);
    assert_eq!(next.tasks[3][1], Standing::Skipped);
}

#[test]
fn a_run_that_stops_still_takes_what_is_for_failures_and_nothing_else() {
    let steps = vec![
        step("a", 0, &[]),
        on(RunOn::Failure, "mend", &[0]),
        on(RunOn::Always, "tell", &[1]),
        step("b", 0, &[0]),
    ];
    let plan = plan(
        &[2],
        steps,
        Strategy {
            max_parallel: 1,
            ..Strategy::default()
        },
    );
    let stopped = decided(&plan, &[(task(0, 0), attempt(1, BAD, 1))]);
    assert_eq!(
        (starts(&stopped), stopped.phase.clone()),
        (vec![(1, 0, 1)], Phase::Running)
    );
    let mended = [
        (task(0, 0), attempt(1, BAD, 1)),
        (task(1, 0), attempt(1, OK, 2)),
    ];
    assert_eq!(starts(&decided(&plan, &mended)), [(2, 0, 1)]);
    let told = [mended[0], mended[1], (task(2, 0), attempt(1, OK, 3))];
    let over = decided(&plan, &told);
    assert_eq!(
        (starts(&over), over.phase),
        (vec![], Phase::Ended(End::Failed))
    );
}

#[test]
fn a_failure_that_may_be_ignored_neither_counts_nor_holds_anything_up() {
    let steps = vec![
        PlannedStep {
            continue_on_failure: true,
            ..step("a", 0, &[])
        },
        step("b", 0, &[0]),
    ];
    let plan = plan(&[1], steps, Strategy::default());
    let failed = (task(0, 0), attempt(1, BAD, 1));
    assert_eq!(starts(&decided(&plan, &[failed])), [(1, 0, 1)]);
    let over = decided(&plan, &[failed, (task(1, 0), attempt(1, OK, 2))]);
    assert_eq!(
        (over.failed_targets, over.phase),
        (0, Phase::Ended(End::Succeeded))
    );
}

#[test]
fn a_run_that_failed_is_rolled_back_where_it_has_begun_something_one_step_after_the_other() {
    let strategy = Strategy {
        batches: vec![Share::Count(2)],
        ..Strategy::default()
    };
    let plan = plan(
        &[4],
        vec![step("a", 0, &[]), last("undo", &[]), last("tell", &[1])],
        strategy,
    );
    let tried = [
        (task(0, 0), attempt(1, OK, 1)),
        (task(0, 1), attempt(1, BAD, 1)),
    ];
    let back = decided(&plan, &tried);
    assert_eq!(
        (starts(&back), back.phase.clone()),
        (vec![(1, 0, 1), (1, 1, 1)], Phase::RollingBack)
    );
    assert_eq!(
        back.tasks[1][2..],
        [Standing::Passed; 2],
        "nothing was begun there"
    );
    let undone = [
        tried[0],
        tried[1],
        (task(1, 0), attempt(1, OK, 2)),
        (task(1, 1), attempt(1, BAD, 2)),
    ];
    let told = decided(&plan, &undone);
    assert_eq!(
        (starts(&told), told.tasks[2][1]),
        (vec![(2, 0, 1)], Standing::Skipped)
    );
    let over = [undone.as_slice(), &[(task(2, 0), attempt(1, OK, 3))]].concat();
    assert_eq!(decided(&plan, &over).phase, Phase::Ended(End::Failed));
}

#[test]
fn a_run_that_went_well_or_was_cancelled_or_waits_for_somebody_is_not_rolled_back() {
    let pausing = Strategy {
        on_threshold: OnThreshold::Pause,
        ..Strategy::default()
    };
    let stopping = Strategy::default();
    let cancelled = Control {
        cancel: true,
        ..Control::default()
    };
    for (strategy, state, control, phase) in [
        (
            &stopping,
            OK,
            Control::default(),
            Phase::Ended(End::Succeeded),
        ),
        (&stopping, BAD, cancelled, Phase::Ended(End::Cancelled)),
        (
            &pausing,
            BAD,
            Control::default(),
            Phase::Suspended(Hold::ThresholdExceeded),
        ),
    ] {
        let plan = plan(
            &[1],
            vec![step("a", 0, &[]), last("undo", &[])],
            strategy.clone(),
        );
        let ledger = ledger(&[(task(0, 0), attempt(1, state, 1))]);
        let next = next(&plan, &ledger, &control, at(9));
        assert_eq!((starts(&next), next.phase), (vec![], phase));
    }
}

/// A row of the step `a` on target 0, with an output.
fn row(value: &str) -> Execution {
    Execution {
        version: ROW,
        key: EffectKey {
            attempt: 1,
            cluster: "c".into(),
            plan: "p".into(),
            run: "r".into(),
            step: "a".into(),
            target: "u00".into(),
        },
        namespace: "n".into(),
        namespace_uid: "n".into(),
        run: "r".into(),
        job: None,
        step: "a".into(),
        target_kind: TargetKind::Host,
        target: "t00".into(),
        attempt: 1,
        state: OK,
        reason: None,
        message: None,
        exit_code: Some(0),
        secret_uid: None,
        started_at: Some(at(0)),
        finished_at: Some(at(1)),
        output_bytes: 0,
        dropped_bytes: 0,
        outputs: BTreeMap::from([("state".to_owned(), value.to_owned())]),
        via: Via::Journal,
    }
}

#[test]
fn a_condition_over_what_came_before_leaves_a_step_out_and_what_needs_it_goes_on() {
    let outputs = vec![Output {
        name: "state".into(),
        ..Output::default()
    }];
    let steps = vec![
        PlannedStep {
            outputs,
            ..step("a", 0, &[])
        },
        PlannedStep {
            when: Some("outputs.state == 'dirty' && target.name == 't00'".into()),
            ..step("clean", 0, &[0])
        },
        step("b", 0, &[1]),
    ];
    let plan = plan(&[1], steps, Strategy::default());
    let after = |value: &str| {
        let ledger = Ledger::new(&plan, [&row(value)], |_| false);
        starts(&next(&plan, &ledger, &Control::default(), at(9)))
    };
    assert_eq!(after("dirty"), [(1, 0, 1)]);
    assert_eq!(after("tidy"), [(2, 0, 1)]);
}

#[test]
fn a_condition_that_cannot_be_evaluated_is_for_the_attempt_to_report() {
    let steps = vec![PlannedStep {
        when: Some("params.there_is_none == 'x'".into()),
        ..step("a", 0, &[])
    }];
    let plan = plan(&[1], steps, Strategy::default());
    assert_eq!(starts(&decided(&plan, &[])), [(0, 0, 1)]);
}
