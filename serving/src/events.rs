//! Events: what people see with `kubectl describe`. One recorder, so that repeats become a series.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::telemetry::chain;

/// Bytes of a note that the API server takes.
const NOTE: usize = 1024;

/// Tells events; failing to tell one is logged and changes nothing.
#[derive(Clone)]
pub struct Events(Recorder);

impl Events {
    /// A recorder for one program, `instance` its pod.
    pub fn new(client: Client, program: &str, instance: &str) -> Self {
        let reporter = Reporter {
            controller: program.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self(Recorder::new(client, reporter))
    }

    pub async fn tell(
        &self,
        about: &ObjectReference,
        warning: bool,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            type_: if warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: reason.to_owned(),
            note: Some(note[..note.floor_char_boundary(NOTE)].to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, about).await {
            tracing::warn!(error = chain(&error), reason, "an event was not taken");
        }
    }
}
