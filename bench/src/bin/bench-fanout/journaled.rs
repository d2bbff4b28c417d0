//! The journal's side of the bench: the same effect on 200 hosts by `reach` alone, and by a JobRun through a real API server, operator and records.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{
    journal::{self, Interpreter, Program, Request},
    key::EffectKey,
};
use futures::{StreamExt as _, stream};
use reach::{
    host::{self, Outcome, Toolkit, Windows},
    ssh::{Fleet, Limits, Target},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{FEW, REPETITIONS, Result, fixture::Fixture, ours};

const PATIENCE: Duration = Duration::from_mins(2);

/// The best wall time of `reach` alone, with new connections each time.
pub async fn alone(fixture: &Fixture, port: u16) -> Result<Duration> {
    let targets = ours::targets(fixture, port, FEW)?;
    let toolkit = Arc::new(Toolkit::new("light"));
    let mut best = Duration::MAX;
    for run in 0..REPETITIONS {
        let fleet = Fleet::new(Limits::default());
        let began = Instant::now();
        let tasks = targets.iter().cloned().map(|target| {
            let (fleet, toolkit) = (fleet.clone(), Arc::clone(&toolkit));
            tokio::spawn(async move { effect(&fleet, &toolkit, &target, run).await })
        });
        let mut ends = stream::iter(tasks).buffer_unordered(FEW);
        while let Some(ended) = ends.next().await {
            ended??;
        }
        best = best.min(began.elapsed());
    }
    Ok(best)
}

/// One effect, followed to its end and forgotten, as the operator does it.
async fn effect(fleet: &Fleet, toolkit: &Toolkit, target: &Target, run: usize) -> Result<()> {
    let key = EffectKey {
        attempt: 1,
        cluster: "bench".into(),
        plan: "bench".into(),
        run: run.to_string(),
        step: "one".into(),
        target: target.name.clone(),
    };
    let request = Request {
        version: journal::VERSION,
        key: key.clone(),
        epoch: 1,
        program: Program::Script {
            interpreter: Interpreter::Shell,
            content: "true".into(),
        },
        env: [].into(),
        mask: Vec::new(),
        run_as: None,
        workdir: None,
        timeout_seconds: Some(60),
        grace_seconds: journal::GRACE_SECONDS,
        keep_bytes: journal::KEEP_BYTES,
        resume_from: 0,
    };
    let windows = Windows {
        delivery: PATIENCE,
        reattach: PATIENCE,
        begun: false,
    };
    // Two pieces come of each effect, and nobody has to read them while it runs.
    let (sink, _pieces) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let outcome = host::run(fleet, toolkit, target, &request, windows, &sink, &cancel).await?;
    if !matches!(&outcome, Outcome::Ended(end) if end.exit_code == Some(0)) {
        return Err(format!("{}: {outcome:?}", target.name).into());
    }
    let key = journal::KeyRequest {
        version: journal::VERSION,
        key,
        epoch: 1,
    };
    host::forget(fleet, toolkit, target, &key, PATIENCE).await?;
    Ok(())
}
