//! An action on an object of the cluster, as the run's account.

use std::sync::atomic::AtomicBool;

use crds::{
    execution::{State, TargetKind},
    v1alpha1::ActionStep,
};
use reach::object::{self, Progress, Task};

use super::{
    Outcome, Work,
    lines::Lines,
    look::{Rests, Seen},
    outcome::LOOK_UP_FAILED,
};

/// Carries the operation out, or takes it up again.
pub async fn operation(work: &Work, action: &ActionStep) -> Outcome {
    let prepared = || async { Ok((work.resolver()?.client, task(work, action)?)) };
    let (client, task) = match work.prepared(prepared).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let lines = Lines::open(work);
    let tell = |line: &str| lines.tell(line);
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
    let output_bytes = lines.close().await;
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
