//! An action on an object of the cluster, as the run's account.

use std::collections::BTreeMap;

use crds::{
    execution::{LogChunk, State, TargetKind},
    v1alpha1::{ActionStep, Marks},
};
use reach::object::{self, Outcome as Seen, Task};
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};

use super::{Outcome, Work, wait};

/// Carries the operation out, or takes it up again.
pub async fn operation(work: &Work, action: &ActionStep) -> Outcome {
    let prepared = || async { Ok((work.resolver()?.client, task(work, action)?)) };
    let (client, task) = match work.prepared(prepared).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let deadline = Instant::now() + wait::left(work, work.step().timeout);
    let (lines, said) = mpsc::unbounded_channel();
    let writing = tokio::spawn(written(
        work.ctx.desk.clone(),
        work.row.key.clone(),
        work.run.namespace.clone(),
        said,
    ));
    let tell = |line: &str| {
        // Its reader ends with its sender.
        let _ = lines.send(format!("{line}\n"));
    };
    let seen = object::carry_out(&client, &task, deadline, &work.cancel, tell).await;
    drop(lines);
    let output_bytes = writing.await.expect("writing does not panic");
    Outcome {
        output_bytes,
        ..ended(seen)
    }
}

fn ended(seen: Seen) -> Outcome {
    match seen {
        Seen::Done(_) => Outcome::new(State::Succeeded, "", ""),
        Seen::TimedOut(waits) => Outcome::new(State::TimedOut, "TimedOut", waits),
        Seen::Cancelled(waits) => Outcome::new(State::Cancelled, "Cancelled", waits),
        Seen::Failed(error) => Outcome {
            state: State::Failed,
            ..error.into()
        },
    }
}

impl From<object::Error> for Outcome {
    fn from(error: object::Error) -> Self {
        Self::undeliverable(error.reason(), error.said())
    }
}

/// Hands lines to records as the log of the execution; gives how many bytes they were.
async fn written(
    desk: crate::desk::Desk,
    key: crds::key::EffectKey,
    namespace: String,
    mut lines: mpsc::UnboundedReceiver<String>,
) -> u64 {
    let mut offset = 0;
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
    let name = if kind == TargetKind::Host {
        &target.node
    } else {
        &target.name
    };
    if name.is_empty() {
        return Err(object::Error::NoNode.into());
    }
    Ok(Task {
        namespace: work.run.namespace.clone(),
        kind,
        name: name.clone(),
        uid: target.uid.clone(),
        action: rendered(work, action)?,
        mark: work.row.key.digest(),
        began: work.row.started_at.unwrap_or_else(jiff::Timestamp::now),
    })
}

/// The action with its templates filled in.
fn rendered(work: &Work, action: &ActionStep) -> Result<ActionStep, Outcome> {
    let mut action = action.clone();
    for (field, marks) in [
        ("label", &mut action.label),
        ("annotate", &mut action.annotate),
    ] {
        if let Some(marks) = marks {
            *marks = of_marks(work, field, marks)?;
        }
    }
    if let Some(patch) = &mut action.patch {
        for (key, value) in &mut patch.merge {
            fill(work, &format!("action.patch.merge.{key}"), value)?;
        }
    }
    Ok(action)
}

fn of_marks(work: &Work, field: &str, marks: &Marks) -> Result<Marks, Outcome> {
    let mut set = BTreeMap::new();
    for (key, text) in &marks.set {
        let value = work.render(&format!("action.{field}.set.{key}"), text)?;
        set.insert(key.clone(), value);
    }
    Ok(Marks { set })
}

fn fill(work: &Work, field: &str, value: &mut Value) -> Result<(), Outcome> {
    match value {
        Value::String(text) => *text = work.render(field, text)?,
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| fill(work, field, item))?,
        Value::Object(fields) => {
            fields
                .values_mut()
                .try_for_each(|value| fill(work, field, value))?;
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}
