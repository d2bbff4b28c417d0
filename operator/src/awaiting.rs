//! Runs that wait for somebody's decision, so that they are looked at when there is one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

/// Names of runs by namespace.
#[derive(Default)]
pub struct Awaiting(Mutex<HashMap<String, BTreeSet<String>>>);

impl Awaiting {
    pub fn note(&self, namespace: &str, name: &str) {
        let mut all = self.0.lock().expect("no holder panics");
        all.entry(namespace.to_owned())
            .or_default()
            .insert(name.to_owned());
    }

    /// Those of a namespace, or all; whoever still waits when it is looked at is noted anew.
    pub fn take(&self, namespace: Option<&str>) -> Vec<(String, String)> {
        let mut all = self.0.lock().expect("no holder panics");
        let (taken, left) = all
            .drain()
            .partition(|(of, _)| namespace.is_none_or(|only| only == of));
        *all = left;
        let named = |(namespace, names): (String, BTreeSet<String>)| {
            names.into_iter().map(move |name| (namespace.clone(), name))
        };
        HashMap::into_iter(taken).flat_map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Awaiting;

    #[test]
    fn those_of_a_namespace_are_taken_once() {
        let awaiting = Awaiting::default();
        for (namespace, name) in [("shop", "a"), ("bank", "b"), ("shop", "a")] {
            awaiting.note(namespace, name);
        }
        assert_eq!(awaiting.take(Some("web")), []);
        assert_eq!(awaiting.take(Some("shop")), [("shop".into(), "a".into())]);
        assert_eq!(awaiting.take(None), [("bank".into(), "b".into())]);
        assert_eq!(awaiting.take(None), []);
    }
}
