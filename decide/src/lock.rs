//! Machines are worked on by one run at a time. Runs wait in the order in which they were planned.

use std::collections::BTreeSet;

use jiff::Timestamp;

/// A run that has a plan and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub since: Timestamp,
    pub machines: BTreeSet<String>,
    /// The job declares that it can be on a machine together with others of its kind.
    pub shared: bool,
    /// The run has its machines already; it waits for nobody any more.
    pub held: bool,
    /// Somebody has suspended the run; until it is resumed nobody waits for it, unless it has its machines.
    pub suspended: bool,
}

/// The run that this one waits for, if any: the oldest that touches one of its machines and came before.
pub fn blocker<'a>(mine: &Claim, all: &'a [Claim]) -> Option<&'a Claim> {
    if mine.held {
        return None;
    }
    let before = |other: &&Claim| {
        let first = !other.suspended && (other.since, &other.uid) < (mine.since, &mine.uid);
        other.uid != mine.uid && (other.held || first)
    };
    let clashes = |other: &&Claim| {
        let both_share = mine.shared && other.shared;
        !(both_share || mine.machines.is_disjoint(&other.machines))
    };
    all.iter()
        .filter(before)
        .filter(clashes)
        .min_by_key(|other| (!other.held, other.since, &other.uid))
}

/// What a run says while it waits; runs of other namespaces are not named.
pub fn wait_message(mine: &Claim, other: &Claim) -> String {
    let shared: Vec<_> = mine.machines.intersection(&other.machines).collect();
    let whose = if mine.namespace == other.namespace {
        format!("JobRun {}", other.name)
    } else {
        "a run of another namespace".to_owned()
    };
    format!(
        "{whose} works on {} of the same machines; this run starts when it has ended",
        shared.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(uid: &str, second: i64, machines: &[&str]) -> Claim {
        Claim {
            uid: uid.into(),
            namespace: "ns".into(),
            name: uid.into(),
            since: Timestamp::from_second(second).expect("valid"),
            machines: machines.iter().map(ToString::to_string).collect(),
            shared: false,
            held: false,
            suspended: false,
        }
    }

    #[test]
    fn the_run_planned_first_goes_first_and_ties_break_by_uid() {
        let all = [
            claim("a", 5, &["m1", "m2"]),
            claim("b", 5, &["m2"]),
            claim("c", 9, &["m2", "m3"]),
        ];
        assert_eq!(blocker(&all[0], &all), None);
        assert_eq!(blocker(&all[1], &all).map(|c| c.uid.as_str()), Some("a"));
        assert_eq!(blocker(&all[2], &all).map(|c| c.uid.as_str()), Some("a"));
    }

    #[test]
    fn runs_on_other_machines_and_shared_pairs_do_not_wait() {
        let other = claim("d", 9, &["m9"]);
        let mut all = [claim("a", 1, &["m1"]), claim("b", 2, &["m1"])];
        assert_eq!(blocker(&other, &all), None);
        all[1].shared = true;
        assert!(blocker(&all[1], &all).is_some(), "sharing takes two");
        all[0].shared = true;
        assert_eq!(blocker(&all[1], &all), None);
    }

    #[test]
    fn a_run_that_holds_its_machines_waits_for_nobody_and_everybody_waits_for_it() {
        let mut all = [claim("a", 1, &["m"]), claim("b", 2, &["m"])];
        all[1].held = true;
        assert_eq!(blocker(&all[1], &all), None);
        assert_eq!(blocker(&all[0], &all).map(|c| c.uid.as_str()), Some("b"));
    }

    #[test]
    fn a_suspended_run_is_waited_for_only_when_it_has_its_machines() {
        let mut all = [claim("a", 1, &["m"]), claim("b", 2, &["m"])];
        all[0].suspended = true;
        assert_eq!(blocker(&all[1], &all), None);
        all[0].held = true;
        assert_eq!(blocker(&all[1], &all).map(|c| c.uid.as_str()), Some("a"));
    }

    #[test]
    fn another_namespace_is_not_named() {
        let mine = claim("a", 2, &["m"]);
        let other = Claim {
            namespace: "secret".into(),
            ..claim("hidden", 1, &["m"])
        };
        assert!(!wait_message(&mine, &other).contains("hidden"));
    }
}
