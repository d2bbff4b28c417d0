//! When a Host is looked at again, and what its status says after a look.

use crds::v1alpha1::{Facts, HostStatus, Verdict, set_condition};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Wait between looks at a host that answers.
const STEADY: SignedDuration = SignedDuration::from_mins(5);
/// First wait after a look that failed.
const FIRST: SignedDuration = SignedDuration::from_secs(10);

/// What a look at a machine found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Seen {
        facts: Facts,
        first_key: Option<String>,
    },
    Failed {
        reason: &'static str,
        message: String,
    },
}

/// How long until the next look.
pub fn wait(status: &HostStatus) -> SignedDuration {
    match status.failures.unwrap_or(0) {
        0 => STEADY,
        n => (1..n.min(8))
            .fold(FIRST, |wait, _| wait.saturating_add(wait))
            .min(STEADY),
    }
}

/// Whether the host is due: never seen in this form, or its wait is over.
pub fn is_due(status: &HostStatus, generation: Option<i64>, now: Timestamp) -> bool {
    status.observed_generation != generation
        || status
            .last_tried
            .as_ref()
            .is_none_or(|at| now.duration_since(at.0) >= wait(status))
}

/// The status after a look.
pub fn status(old: &HostStatus, look: Look, generation: Option<i64>, now: Timestamp) -> HostStatus {
    let mut status = HostStatus {
        observed_generation: generation,
        last_tried: Some(Time(now)),
        ..old.clone()
    };
    let verdict: fn(&'static str, &'static str, String) -> Verdict;
    let (reason, message);
    match look {
        Look::Seen { facts, first_key } => {
            message = format!("{} answered", facts.os);
            status.facts = Some(facts);
            status.pinned_host_key = first_key.or(status.pinned_host_key);
            status.failures = Some(0);
            status.last_seen = Some(Time(now));
            (verdict, reason) = (|t, r, m| Verdict::yes(t, r, m), "Answered");
        }
        Look::Failed {
            reason: why,
            message: text,
        } => {
            status.failures = Some(old.failures.unwrap_or(0).saturating_add(1));
            message = text;
            (verdict, reason) = (|t, r, m| Verdict::no(t, r, m), why);
        }
    }
    for type_ in ["Ready", "Reachable"] {
        set_condition(
            &mut status.conditions,
            &verdict(type_, reason, message.clone()),
            generation,
            now,
        );
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("valid")
    }

    fn failed() -> Look {
        Look::Failed {
            reason: "Connect",
            message: "refused".into(),
        }
    }

    #[test]
    fn looks_at_a_dead_host_back_off_to_five_minutes() {
        let (mut status_, mut waits) = (HostStatus::default(), Vec::new());
        for _ in 0..7 {
            status_ = status(&status_, failed(), Some(1), at(0));
            waits.push(wait(&status_).as_secs());
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        assert!(!is_due(&status_, Some(1), at(299)) && is_due(&status_, Some(1), at(300)));
        assert!(
            is_due(&status_, Some(2), at(1)),
            "a changed host is looked at at once"
        );
    }

    #[test]
    fn the_first_key_is_kept() {
        let seen = |key: Option<&str>| Look::Seen {
            facts: Facts::default(),
            first_key: key.map(Into::into),
        };
        let first = status(&HostStatus::default(), seen(Some("key")), Some(1), at(0));
        assert_eq!(
            status(&first, seen(None), Some(1), at(9))
                .pinned_host_key
                .as_deref(),
            Some("key")
        );
    }
}
