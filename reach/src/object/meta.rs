//! Labels, annotations and merge patches.

use crds::v1alpha1::Marks;
use kube::{
    Client,
    api::{Patch, PatchParams},
};
use serde_json::{Map, Value, json};

use super::{Error, Progress, Task, look};

/// Merges what the task says into its object. Doing so again changes nothing.
pub async fn merge(client: &Client, task: &Task) -> Result<Progress, Error> {
    let action = &task.action;
    let mut patch = action
        .patch
        .as_ref()
        .map_or_else(Map::new, |patch| patch.merge.clone());
    let metadata = patch.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("uid".into(), json!(task.uid));
        for (field, marks) in [("labels", &action.label), ("annotations", &action.annotate)] {
            if let Some(marks) = marks {
                metadata.insert(field.into(), of(marks));
            }
        }
    }
    send(client, task, &Value::Object(patch)).await?;
    Ok(Progress::Done(format!("{} is changed", look::what(task))))
}

/// An empty value removes its key.
fn of(marks: &Marks) -> Value {
    let set = marks.set.iter().map(|(key, value)| {
        let value = if value.is_empty() {
            Value::Null
        } else {
            json!(value)
        };
        (key.clone(), value)
    });
    Value::Object(set.collect())
}

/// Sends a merge patch for the task's object.
pub async fn send(client: &Client, task: &Task, patch: &Value) -> Result<(), Error> {
    let sent = look::api(client, task)
        .patch(&task.name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    sent.map(|_| ()).map_err(|source| Error::Request {
        verb: "patch",
        what: look::what(task),
        source,
    })
}
