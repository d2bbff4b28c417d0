//! An action on an object of the cluster, as the run's account.

use std::sync::atomic::AtomicBool;

use crds::{
    execution::{LogChunk, State, TargetKind},
    v1alpha1::ActionStep,
};
use reach::object::{self, Progress, Task};
use tokio::sync::mpsc;

use super::{
    Outcome, Work,
    look::{Rests, Seen},
    outcome::LOOK_UP_FAILED,
};

/// More bytes than the lines of one second have.
const LINES: u64 = 64 << 10;

/// Carries the operation out, or takes it up again.
pub async fn operation(work: &Work, action: &ActionStep) -> Outcome {
    let prepared = || async { Ok((work.resolver()?.client, task(work, action)?)) };
    let (client, task) = match work.prepared(prepared).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let (lines, said) = mpsc::unbounded_channel();
    let writing = tokio::spawn(written(
        work.ctx.desk.clone(),
        work.row.key.clone(),
        work.run.namespace.clone(),
        first_byte(work),
        said,
    ));
    let tell = |line: &str| {
        // Its reader ends with its sender.
        let _ = lines.send(format!("{line}\n"));
    };
    let look = || async {
        Ok(match object::bring_about(&client, &task).await? {
            Progress::Done(said) => {
                tell(&said);
                Seen::There
            }
            Progress::Waiting(said) => Seen::Waits(said),
        })
    };
    let patience = work.left(work.step().timeout);
    let ended = work.look(patience, Rests::growing(), look, tell).await;
    drop(lines);
    let output_bytes = writing.await.expect("writing does not panic");
    Outcome {
        output_bytes,
        ..ended
    }
}

impl From<object::Error> for Outcome {
    fn from(error: object::Error) -> Self {
        if error.is_passing() {
            return Self::undeliverable(LOOK_UP_FAILED, error.said());
        }
        Self::new(State::Failed, error.reason(), error.said())
    }
}

/// Where this operator's part of the log begins: behind all that an earlier one can have said, so that neither is written over.
fn first_byte(work: &Work) -> u64 {
    if work.joining {
        work.passed().as_secs().max(1) * LINES
    } else {
        0
    }
}

/// Hands lines to records as the log of the execution; gives how many bytes they were.
async fn written(
    desk: crate::desk::Desk,
    key: crds::key::EffectKey,
    namespace: String,
    mut offset: u64,
    mut lines: mpsc::UnboundedReceiver<String>,
) -> u64 {
    while let Some(line) = lines.recv().await {
        let (key, data) = (key.clone(), line.into_bytes());
        let bytes = data.len() as u64;
        desk.log(&namespace, LogChunk { key, offset, data }).await;
        offset += bytes;
    }
    offset
}

fn task(work: &Work, action: &ActionStep) -> Result<Task, Outcome> {
    let target = work.target();
    let kind = work.row.target_kind;
    // A host is drained as the node that it is.
    let name = if kind == TargetKind::Host {
        &target.node
    } else {
        &target.name
    };
    Ok(Task {
        namespace: work.run.namespace.clone(),
        kind,
        name: name.clone(),
        uid: target.uid.clone(),
        action: rendered(work, action)?,
        mark: work.row.key.digest(),
        began: work.row.started_at.unwrap_or_else(jiff::Timestamp::now),
        scaled: AtomicBool::new(false),
    })
}

/// The action with its templates filled in.
fn rendered(work: &Work, action: &ActionStep) -> Result<ActionStep, Outcome> {
    let mut action = action.clone();
    for (field, text) in action.texts() {
        *text = work.render(&field, text)?;
    }
    Ok(action)
}
