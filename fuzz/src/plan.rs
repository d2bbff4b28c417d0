//! Whatever plan is read back and whatever has happened: the next moves are the same every time, keep to the plan's bounds, and lead to an end.
#![no_main]

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Result, Unstructured};
use crds::{
    execution::{Execution, State, Via},
    v1alpha1::Share,
};
use decide::{
    control::Control,
    graph,
    ledger::{Attempt, Ledger},
    plan::{Plan, Task, hash},
    run::{Hold, Next, Phase, Standing, next},
    template::Run,
};
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::{Value, from_value, json};

/// The run as templates and conditions name it.
const RUN: Run<'_> = Run {
    name: "r",
    namespace: "n",
};

// A text that begins with a brace is a stored plan with its rows; anything else is the stuff of which a sound plan is made.
fuzz_target!(|data: &[u8]| {
    if data.first() == Some(&b'{') {
        if let Ok(stored) = serde_json::from_slice::<Stored>(data) {
            read_back(stored);
        }
    } else if let Ok((plan, ledger, control)) = made(&mut Unstructured::new(data)) {
        let now = at(0);
        moves(&plan, &ledger, &control, now);
        ends(&plan, ledger, now);
    }
});

/// What a ControllerRevision and the records say of a run.
#[derive(Deserialize)]
struct Stored {
    plan: Value,
    #[serde(default)]
    rows: Vec<Execution>,
    #[serde(default)]
    in_flight: bool,
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    now: i32,
}

fn read_back(stored: Stored) {
    let sealed = hash(&stored.plan);
    let Ok(plan) = from_value::<Plan>(stored.plan) else {
        return;
    };
    let (again, resealed) = plan.seal();
    assert_eq!(hash(&again), resealed);
    assert_eq!(from_value::<Plan>(again).expect("as sealed"), plan);
    assert_eq!(sealed.len(), resealed.len());
    if !plan.is_coherent() {
        return;
    }
    let ledger = Ledger::new(&plan, &stored.rows, |_| stored.in_flight);
    let control = Control {
        cancel: stored.cancel,
        ..Control::default()
    };
    moves(&plan, &ledger, &control, at(stored.now.into()));
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("32 bits of seconds")
}

/// The next moves, after they were held against the plan.
fn moves(plan: &Plan, ledger: &Ledger, control: &Control, now: Timestamp) -> Next {
    let found = next(plan, RUN, ledger, control, now);
    assert_eq!(
        found,
        next(plan, RUN, ledger, control, now),
        "the same world"
    );
    let shape: Vec<_> = found.tasks.iter().map(Vec::len).collect();
    let steps = 0..plan.steps.len();
    let planned: Vec<_> = steps.map(|s| plan.lane(s).targets.len()).collect();
    assert_eq!(shape, planned, "every task stands somewhere");
    let all = [&found.start, &found.settle, &found.cancel];
    let tasks: BTreeSet<_> = all
        .iter()
        .flat_map(|of| of.iter().map(|(t, _)| t))
        .collect();
    let count: usize = all.iter().map(|of| of.len()).sum();
    assert_eq!(tasks.len(), count, "one move a task");
    let known = |task| ledger.get(task).filter(|a| !a.state.is_terminal());
    let fresh: Vec<_> = found
        .start
        .iter()
        .filter(|(task, number)| match known(*task) {
            Some(old) => {
                assert!(old.via.attaches() && old.number == *number && !old.in_flight);
                false
            }
            None => {
                assert!(
                    ledger
                        .get(*task)
                        .is_none_or(|old| old.number < *number || *number == i32::MAX)
                );
                true
            }
        })
        .collect();
    assert!(fresh.is_empty() || !(control.cancel || control.suspend));
    let parallel = control.max_parallel.unwrap_or(plan.strategy.max_parallel);
    let parallel = usize::try_from(parallel).unwrap_or(1).max(1);
    let busy = ledger.in_flight() + found.start.len();
    assert!(fresh.is_empty() || busy <= parallel, "within maxParallel");
    assert!(
        found
            .settle
            .iter()
            .all(|(t, _)| known(*t).is_some_and(|a| !a.via.attaches()))
    );
    assert!(found.cancel.is_empty() || control.cancel);
    assert!(
        found.again.is_none_or(|again| again > now),
        "a wait is ahead"
    );
    let is_open = |s: &Standing| matches!(s, Standing::Pending | Standing::Running);
    let open = found.tasks.iter().flatten().any(is_open);
    match found.phase {
        Phase::Ended(_) => assert!(!open),
        // Over its threshold it pauses also when nothing else is left.
        Phase::Suspended(Hold::ThresholdExceeded) => {}
        _ => assert!(open),
    }
    found
}

/// With every attempt ending well, a plan comes to its end.
fn ends(plan: &Plan, mut ledger: Ledger, mut now: Timestamp) {
    let tasks: usize = (0..plan.steps.len())
        .map(|s| plan.lane(s).targets.len())
        .sum();
    for _ in 0..=3 * tasks + 1 {
        let found = moves(plan, &ledger, &Control::default(), now);
        if matches!(found.phase, Phase::Ended(_) | Phase::Suspended(_)) {
            return;
        }
        let mut end = |task, number, state| {
            let attempt = Attempt {
                number,
                state,
                via: Via::Journal,
                started_at: None,
                finished_at: Some(now),
                in_flight: false,
            };
            ledger.set(task, attempt);
        };
        let began = found.start.iter().map(|&(t, n)| (t, n, State::Succeeded));
        let lost = found.settle.iter().map(|&(t, n)| (t, n, State::Unknown));
        began.chain(lost).for_each(|(t, n, s)| end(t, n, s));
        for (step, row) in found.tasks.iter().enumerate() {
            for target in (0..row.len()).filter(|&t| row[t] == Standing::Running) {
                end(Task { step, target }, 1, State::Succeeded);
            }
        }
        now = found.again.map_or(now, |again| now.max(again));
    }
    panic!("the run goes on for ever");
}

/// A plan as it would be frozen, with rows and wishes.
fn made(of: &mut Unstructured<'_>) -> Result<(Plan, Ledger, Control)> {
    let lanes: Vec<usize> = (0..of.int_in_range(1..=3)?)
        .map(|_| of.int_in_range(0..=6))
        .collect::<Result<_>>()?;
    let steps = of.int_in_range(1..=6)?;
    let lane_of: Vec<usize> = (0..steps)
        .map(|_| of.choose_index(lanes.len()))
        .collect::<Result<_>>()?;
    let needs: Vec<Vec<usize>> = (0..steps)
        .map(|s| {
            (0..s)
                .filter_map(|n| of.ratio(1, 3).map(|yes| yes.then_some(n)).transpose())
                .collect()
        })
        .collect::<Result<_>>()?;
    let stages = graph::stages(&needs, &lane_of, &vec![false; steps]);
    let steps = (0..steps).map(|s| {
        Ok(json!({
            "name": format!("s{s}"), "lane": lane_of[s], "stage": stages[s], "needs": needs[s],
            "body": {"script": {"interpreter": "Shell", "content": "true", "env": {}}},
            "timeout": "60s", "deliveryTimeout": "60s",
            "retries": of.int_in_range(0..=10)?, "backoff": format!("{}ms", u64::arbitrary(of)?),
        }))
    });
    let steps = steps.collect::<Result<Vec<_>>>()?;
    let lanes: Vec<_> = lanes
        .iter()
        .enumerate()
        .map(|(lane, &count)| {
            let target = |t| json!({"name": format!("t{lane}-{t}"), "uid": format!("u{lane}-{t}")});
            json!({"kind": "Host", "targets": (0..count).map(target).collect::<Vec<_>>()})
        })
        .collect();
    let batches: Vec<Share> = (0..of.int_in_range(0..=3)?)
        .map(|_| share(of))
        .collect::<Result<_>>()?;
    let plan = json!({
        "version": 1, "job": "j", "account": "a", "frozenAt": at(0), "sharing": "Exclusive",
        "strategy": {
            "batches": batches, "maxParallel": i32::arbitrary(of)?, "maxFailures": share(of)?,
            "pauseBetween": format!("{}ms", u64::arbitrary(of)?),
            "onThreshold": of.choose(&["Stop", "Pause"])?,
        },
        "lanes": lanes, "steps": steps, "params": {}, "secrets": {},
    });
    let plan: Plan = from_value(plan).expect("made to be a plan");
    assert!(plan.is_coherent());
    let mut ledger = Ledger::default();
    for step in 0..plan.steps.len() {
        for target in 0..plan.lane(step).targets.len() {
            if of.ratio(1, 3)? {
                ledger.set(Task { step, target }, attempt(of)?);
            }
        }
    }
    let mut control = Control {
        cancel: of.arbitrary()?,
        suspend: of.arbitrary()?,
        forgiven: of.arbitrary()?,
        max_parallel: of.arbitrary()?,
        ..Control::default()
    };
    for step in 0..plan.steps.len() {
        if of.ratio(1, 8)? {
            control.skipped.insert(step);
        }
    }
    // In their order, so that a find can be repeated.
    for task in ledger.tasks().collect::<BTreeSet<_>>() {
        if of.ratio(1, 4)? {
            control.granted.insert(task, of.arbitrary()?);
        }
    }
    Ok((plan, ledger, control))
}

fn share(of: &mut Unstructured<'_>) -> Result<Share> {
    let count = of.arbitrary()?;
    Ok(if of.arbitrary()? {
        Share::Count(count)
    } else {
        Share::Percent(count)
    })
}

fn attempt(of: &mut Unstructured<'_>) -> Result<Attempt> {
    let state = *of.choose(&[
        State::Started,
        State::Succeeded,
        State::Failed,
        State::Unknown,
        State::Cancelled,
    ])?;
    let second = i64::from(i32::arbitrary(of)?);
    Ok(Attempt {
        number: of.int_in_range(1..=11)?,
        state,
        via: *of.choose(&[Via::Journal, Via::Plain, Via::Exec, Via::Pod])?,
        started_at: None,
        finished_at: state
            .is_terminal()
            .then(|| at(0) + SignedDuration::from_secs(second)),
        in_flight: !state.is_terminal() && of.arbitrary()?,
    })
}
