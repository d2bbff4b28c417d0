//! How ProtectionPolicies weigh, as they are heard of: the rules of each are compiled once, and not in every turn of a ticket.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crds::v1alpha1::ProtectionPolicy;
use decide::change::risk::Scale;

/// UID and generation of a policy, of which there is one spec.
type Version = (Option<String>, Option<i64>);

/// Those of the policies that were asked for last.
#[derive(Default)]
pub struct Scales(Mutex<Known>);

/// Of each policy that weighs.
#[derive(Clone, Default)]
pub struct Known(BTreeMap<Version, Arc<Scale>>);

impl Scales {
    /// Those of all policies that there are by now; what is gone is forgotten.
    pub fn of<'a>(&self, policies: impl Iterator<Item = &'a ProtectionPolicy>) -> Known {
        let before = self.0.lock().expect("no holder panics").clone();
        let scale = |policy: &ProtectionPolicy| {
            let version = version(policy);
            let known = before.0.get(&version).cloned();
            let scale = known.or_else(|| Scale::of(policy).map(Arc::new))?;
            Some((version, scale))
        };
        let all = Known(policies.filter_map(scale).collect());
        self.0.lock().expect("no holder panics").clone_from(&all);
        all
    }
}

impl Known {
    pub fn of(&self, policy: &ProtectionPolicy) -> Option<&Scale> {
        self.0.get(&version(policy)).map(|scale| &**scale)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn version(policy: &ProtectionPolicy) -> Version {
    let meta = &policy.metadata;
    (meta.uid.clone(), meta.generation)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(name: &str, generation: i64, when: &str) -> ProtectionPolicy {
        let rule = json!({"name": "r", "sort": "Business", "when": when, "score": 5, "why": "w"});
        let policy = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ProtectionPolicy",
            "metadata": {"name": name, "uid": name, "generation": generation},
            "spec": {"mode": "Warn", "reason": "r", "rules": [{"resources": ["pods"]}], "require": {"ticket": {"risk": {"rules": [rule]}}}}});
        serde_json::from_value(policy).expect("a policy")
    }

    #[test]
    fn a_policy_is_compiled_once_until_it_says_something_else() {
        let scales = Scales::default();
        let (one, two) = (policy("one", 1, "true"), policy("two", 1, "false"));
        let is_same = |before: &Known, after: &Known, policy: &ProtectionPolicy| {
            let both = before.of(policy).zip(after.of(policy));
            both.is_some_and(|(before, after)| std::ptr::eq(before, after))
        };
        let before = scales.of([&one, &two].into_iter());
        let after = scales.of([&one, &two].into_iter());
        assert!(is_same(&before, &after, &one) && is_same(&before, &after, &two));
        let written = policy("one", 2, "false");
        let after = scales.of([&written, &two].into_iter());
        assert!(after.of(&written).is_some() && is_same(&before, &after, &two));
        assert!(after.of(&one).is_none(), "it says something else by now");
        assert!(scales.of(std::iter::empty()).is_empty());
    }
}
