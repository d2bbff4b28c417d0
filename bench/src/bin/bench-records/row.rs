//! Rows as runs over many hosts make them: five steps on 200 targets, then the next run.

use crds::{
    execution::{Batch, Execution, State, TargetKind, VERSION, Via},
    key::EffectKey,
};
use jiff::Timestamp;

const TARGETS: usize = 200;
const STEPS: [&str; 5] = [
    "drain",
    "stop-service",
    "upgrade",
    "start-service",
    "verify",
];

/// The rows of a producer, without end.
pub fn of(producer: usize) -> impl Iterator<Item = Execution> {
    let mut uid = String::new();
    (0..).map(move |n| {
        let (run, step, target) = (
            n / TARGETS / STEPS.len(),
            n / TARGETS % STEPS.len(),
            n % TARGETS,
        );
        if n % (TARGETS * STEPS.len()) == 0 {
            uid = random_uid();
        }
        row(producer, run, &uid, STEPS[step], target)
    })
}

/// Bytes of one row as it is stored.
pub fn bytes() -> usize {
    let row = of(0).next().expect("it is without end");
    serde_json::to_string(&row).expect("a row is JSON").len()
}

pub fn batch(id: usize, rows: Vec<Execution>) -> Batch {
    Batch {
        id: id.to_string(),
        rows,
        ..Batch::default()
    }
}

/// As random as the API server's, since indexes care.
fn random_uid() -> String {
    let (high, low) = (rand::random::<u64>(), rand::random::<u64>());
    let groups = [high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48];
    let [first, second, third, fourth] = groups;
    let last = low & 0xffff_ffff_ffff;
    format!("{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{last:012x}")
}

fn row(producer: usize, run: usize, uid: &str, step: &str, target: usize) -> Execution {
    Execution {
        version: VERSION,
        key: EffectKey {
            attempt: 1,
            cluster: "0b6d2a3e-6a4c-4a56-9df0-3a1d4b9f7c11".into(),
            plan: "9f".repeat(32),
            run: uid.into(),
            step: step.into(),
            target: format!("2d9b7e10-7a5f-4a0a-bb6d-{target:012x}"),
        },
        namespace: "operations".into(),
        namespace_uid: "b52f1c1e-7a5f-4a0a-bb6d-92c1f0f1a001".into(),
        run: format!("upgrade-{producer}-{run}"),
        job: Some("upgrade".into()),
        step: step.into(),
        target_kind: TargetKind::Host,
        target: format!("host-{target}"),
        attempt: 1,
        state: State::Succeeded,
        reason: Some("Exited".into()),
        message: None,
        exit_code: Some(0),
        started_at: Some(Timestamp::UNIX_EPOCH),
        finished_at: Some(Timestamp::UNIX_EPOCH),
        output_bytes: 4096,
        dropped_bytes: 0,
        outputs: std::collections::BTreeMap::new(),
        secret_uid: None,
        via: Via::Journal,
    }
}
