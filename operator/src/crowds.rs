//! Runs that do not begin while much work of their namespace waits for places: a flood waits as objects that nobody reads, not as tasks in memory.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

use crds::v1alpha1::JobRun;
use jiff::Timestamp;
use kube::ResourceExt as _;

/// Runs that were held back, by namespace; the oldest first.
pub struct Crowds {
    long: usize,
    held: Mutex<HashMap<String, BTreeSet<(Timestamp, String)>>>,
}

impl Crowds {
    /// A line of so many is long enough to keep any place from being empty.
    pub fn new(long: usize) -> Self {
        Self {
            long,
            held: Mutex::default(),
        }
    }

    /// Whether a run had better wait until the line of its namespace is shorter; it is told of in its turn.
    pub fn holds(&self, run: &JobRun, line: usize) -> bool {
        let Some(namespace) = run.namespace().filter(|_| line >= self.long) else {
            return false;
        };
        let since = run.creation_timestamp().map(|at| at.0).unwrap_or_default();
        let mut held = self.held.lock().expect("no holder panics");
        held.entry(namespace)
            .or_default()
            .insert((since, run.name_any()));
        true
    }

    /// The run that may begin now that the line has so many, once less than half is left of a long one.
    pub fn next(&self, namespace: &str, line: usize) -> Option<String> {
        let mut held = self.held.lock().expect("no holder panics");
        let waiting = held.get_mut(namespace).filter(|_| line * 2 < self.long)?;
        let next = waiting.pop_first();
        if waiting.is_empty() {
            held.remove(namespace);
        }
        next.map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn whoever_was_held_back_first_begins_first_once_the_line_is_short() {
        let run = |name: &str, at: i64| {
            let spec = serde_json::from_str(r#"{"jobRef": {"name": "j"}}"#).expect("a spec");
            let mut run = JobRun::new(name, spec);
            run.metadata.namespace = Some("shop".into());
            run.metadata.creation_timestamp = Some(Time(Timestamp::constant(at, 0)));
            run
        };
        let crowds = Crowds::new(10);
        assert!(!crowds.holds(&run("early", 1), 9));
        assert!(crowds.holds(&run("third", 3), 10) && crowds.holds(&run("second", 2), 400));
        assert_eq!(crowds.next("shop", 5), None, "it is long enough");
        assert_eq!(crowds.next("bank", 0), None);
        assert_eq!(crowds.next("shop", 4).as_deref(), Some("second"));
        assert_eq!(crowds.next("shop", 4).as_deref(), Some("third"));
        assert_eq!(crowds.next("shop", 0), None);
    }
}
