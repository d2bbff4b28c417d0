//! Machines are worked on by one run at a time. Runs wait in the order in which they were planned.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use crate::Refusal;

/// A run that has a plan and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub since: Timestamp,
    pub machines: BTreeSet<String>,
    /// UIDs of the runs that it is a part of; their machines are its own too.
    pub family: Vec<String>,
    /// The job declares that it can be on a machine together with others of its kind.
    pub shared: bool,
    /// The run has its machines already; it waits for nobody any more.
    pub held: bool,
    /// Somebody has suspended the run; until it is resumed nobody waits for it, unless it has its machines.
    pub suspended: bool,
}

/// Every claim, by the run's UID.
pub type Claims = HashMap<String, Claim>;

/// The run that this one waits for, if any: the oldest that touches one of its machines and came before. Never one that it is a part of.
pub fn blocker<'a>(mine: &Claim, all: &'a Claims) -> Option<&'a Claim> {
    if mine.held {
        return None;
    }
    let place = place(mine, all);
    let before = |other: &&Claim| {
        let first = || {
            !other.suspended && self::place(other, all) < place && !awaits_family(other, mine, all)
        };
        other.uid != mine.uid && !mine.family.contains(&other.uid) && (other.held || first())
    };
    all.values()
        .filter(|other| clash(mine, other))
        .filter(before)
        .min_by_key(|other| (!other.held, other.since, &other.uid))
}

/// Runs that may have got their machines by what others have given back. All that wait for nobody are among them; of a queue only its head is.
pub fn ready(all: &Claims) -> Vec<&Claim> {
    let mut waiting: Vec<_> = all.values().filter(|claim| !claim.held).collect();
    waiting.sort_by_key(|claim| place(claim, all));
    let mut taken = Taken::default();
    let held = all.values().filter(|claim| claim.held);
    held.for_each(|claim| taken.add(claim));
    let mut ready = Vec::new();
    for claim in waiting {
        // Of what is its run's own a part is not kept out, and nobody waits for one but its kin.
        let is_part = !claim.family.is_empty();
        if is_part || taken.allows(claim) {
            ready.push(claim);
        }
        if !is_part && !claim.suspended {
            taken.add(claim);
        }
    }
    ready
}

/// Machines that somebody has, or has first.
#[derive(Default)]
struct Taken<'a> {
    alone: HashSet<&'a str>,
    shared: HashSet<&'a str>,
}

impl<'a> Taken<'a> {
    fn add(&mut self, claim: &'a Claim) {
        let machines = if claim.shared {
            &mut self.shared
        } else {
            &mut self.alone
        };
        machines.extend(claim.machines.iter().map(String::as_str));
    }

    fn allows(&self, claim: &Claim) -> bool {
        let mut machines = claim.machines.iter().map(String::as_str);
        machines.all(|machine| {
            !self.alone.contains(machine) && (claim.shared || !self.shared.contains(machine))
        })
    }
}

/// A part of a run has the run's place in the order.
fn place<'a>(of: &'a Claim, all: &'a Claims) -> (Timestamp, &'a str) {
    let whole = of.family.iter().filter_map(|uid| all.get(uid));
    let first = whole.map(|claim| claim.since).min();
    (first.unwrap_or(of.since).min(of.since), &of.uid)
}

fn clash(one: &Claim, other: &Claim) -> bool {
    let both_share = one.shared && other.shared;
    !(both_share || one.machines.is_disjoint(&other.machines))
}

/// Whether one that has no machines yet waits for a run that another is a part of: then it cannot come before that part.
fn awaits_family(waiting: &Claim, part: &Claim, all: &Claims) -> bool {
    let mut whole = part.family.iter().filter_map(|uid| all.get(uid));
    whole.any(|claim| claim.held && clash(claim, waiting))
}

/// Whether the run that this one waits for waits itself, however far, for a run that this one is a part of.
pub fn is_circle(mine: &Claim, all: &Claims) -> bool {
    let mut left = Vec::from_iter(blocker(mine, all));
    let mut seen = BTreeSet::new();
    while let Some(next) = left.pop() {
        if mine.family.contains(&next.uid) {
            return true;
        }
        if seen.insert(&next.uid) {
            left.extend(blocker(next, all));
            // It ends when its parts have ended.
            let parts = all.values().filter(|part| part.family.contains(&next.uid));
            left.extend(parts.filter(|part| !part.held));
        }
    }
    false
}

/// What a run says while it waits; runs of other namespaces are not named.
pub fn wait_message(mine: &Claim, other: &Claim) -> String {
    format!(
        "{}; this run starts when it has ended",
        works_on(mine, other)
    )
}

/// The refusal of a part that would wait for ever.
pub fn circle(mine: &Claim, other: &Claim) -> Refusal {
    let message = format!(
        "{}, and waits itself for machines of the run that this one is a part of; name all their machines as targets of the outer Jobs, so that these wait for each other",
        works_on(mine, other)
    );
    Refusal::new("WouldWaitForItself", message)
}

fn works_on(mine: &Claim, other: &Claim) -> String {
    let shared = mine.machines.intersection(&other.machines).count();
    let whose = if mine.namespace == other.namespace {
        format!("JobRun {}", other.name)
    } else {
        "a run of another namespace".to_owned()
    };
    format!("{whose} works on {shared} of the same machines")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(uid: &str, second: i64, machines: &[&str]) -> Claim {
        Claim {
            uid: uid.into(),
            namespace: "ns".into(),
            name: uid.into(),
            since: Timestamp::from_second(second).expect("valid"),
            machines: machines.iter().map(ToString::to_string).collect(),
            family: Vec::new(),
            shared: false,
            held: false,
            suspended: false,
        }
    }

    fn part_of(family: &[&str], part: Claim) -> Claim {
        let family = family.iter().map(ToString::to_string).collect();
        Claim { family, ..part }
    }

    fn held(claim: Claim) -> Claim {
        let held = true;
        Claim { held, ..claim }
    }

    fn all(claims: &[Claim]) -> Claims {
        claims.iter().map(|c| (c.uid.clone(), c.clone())).collect()
    }

    /// Whom a run waits for, and whether that never ends.
    fn waits(uid: &str, claims: &[Claim]) -> (Option<String>, bool) {
        let all = all(claims);
        let blocker = blocker(&all[uid], &all).map(|claim| claim.uid.clone());
        (blocker, is_circle(&all[uid], &all))
    }

    fn blocks(uid: &str, claims: &[Claim]) -> Option<String> {
        waits(uid, claims).0
    }

    #[test]
    fn the_run_planned_first_goes_first_and_ties_break_by_uid() {
        let all = [
            claim("a", 5, &["m1", "m2"]),
            claim("b", 5, &["m2"]),
            claim("c", 9, &["m2", "m3"]),
        ];
        assert_eq!(blocks("a", &all), None);
        assert_eq!(blocks("b", &all).as_deref(), Some("a"));
        assert_eq!(blocks("c", &all).as_deref(), Some("a"));
    }

    #[test]
    fn runs_on_other_machines_and_shared_pairs_do_not_wait() {
        let mut all = [
            claim("a", 1, &["m1"]),
            claim("b", 2, &["m1"]),
            claim("d", 9, &["m9"]),
        ];
        assert_eq!(blocks("d", &all), None);
        all[1].shared = true;
        assert!(blocks("b", &all).is_some(), "sharing takes two");
        all[0].shared = true;
        assert_eq!(blocks("b", &all), None);
    }

    #[test]
    fn a_run_that_holds_its_machines_waits_for_nobody_and_everybody_waits_for_it() {
        let all = [claim("a", 1, &["m"]), held(claim("b", 2, &["m"]))];
        assert_eq!(blocks("b", &all), None);
        assert_eq!(blocks("a", &all).as_deref(), Some("b"));
    }

    #[test]
    fn a_suspended_run_is_waited_for_only_when_it_has_its_machines() {
        let mut all = [claim("a", 1, &["m"]), claim("b", 2, &["m"])];
        all[0].suspended = true;
        assert_eq!(blocks("b", &all), None);
        all[0].held = true;
        assert_eq!(blocks("b", &all).as_deref(), Some("a"));
    }

    #[test]
    fn a_part_has_the_machines_of_its_run_and_goes_before_those_that_wait_for_it() {
        let all = [
            held(claim("run", 5, &["m1"])),
            // It was suspended when the run took the machine.
            claim("older", 1, &["m1", "m2"]),
            claim("younger", 6, &["m1", "m2"]),
            part_of(&["run"], claim("part", 9, &["m1", "m2"])),
            part_of(&["part", "run"], claim("deep", 10, &["m1"])),
        ];
        assert_eq!(waits("part", &all), (None, false));
        assert_eq!(waits("deep", &all), (None, false));
        assert_eq!(blocks("younger", &all).as_deref(), Some("run"));
    }

    #[test]
    fn a_part_waits_for_others_in_the_place_of_its_run_and_for_its_siblings() {
        let all = [
            held(claim("run", 5, &["m1"])),
            claim("before", 4, &["m2"]),
            claim("between", 6, &["m3"]),
            part_of(&["run"], claim("second", 9, &["m2"])),
            part_of(&["run"], claim("third", 9, &["m3"])),
            held(part_of(&["run"], claim("first", 8, &["m4"]))),
            part_of(&["run"], claim("fourth", 9, &["m4"])),
        ];
        assert_eq!(blocks("second", &all).as_deref(), Some("before"));
        assert_eq!(blocks("third", &all), None);
        assert_eq!(waits("fourth", &all), (Some("first".into()), false));
    }

    #[test]
    fn two_runs_whose_parts_want_each_others_machines_are_a_circle() {
        let two = [
            held(claim("a", 1, &["m1"])),
            held(claim("b", 2, &["m2"])),
            part_of(&["a"], claim("of-a", 3, &["m2"])),
        ];
        assert_eq!(waits("of-a", &two), (Some("b".into()), false));
        let of_b = part_of(&["b"], claim("of-b", 4, &["m1"]));
        let both = [&two[..], &[of_b]].concat();
        assert_eq!(waits("of-a", &both), (Some("b".into()), true));
        assert_eq!(waits("of-b", &both), (Some("a".into()), true));
    }

    #[test]
    fn of_a_queue_only_its_head_is_ready() {
        let queue: Vec<_> = (0..50)
            .map(|n| claim(&format!("q{n}"), n, &["m1"]))
            .collect();
        let alone = claim("alone", 99, &["m2"]);
        let all_of = all(&[&queue[..], &[alone]].concat());
        let uids: Vec<_> = ready(&all_of).iter().map(|c| c.uid.as_str()).collect();
        assert_eq!(uids, ["q0", "alone"]);
    }

    /// A claim as numbers: machines, run that it is a part of, moment, and whether it is shared, held and suspended.
    type Drawn = ([u8; 2], Option<u8>, i64, [bool; 3]);

    fn drawn(n: usize, (machines, family, since, [shared, held, suspended]): &Drawn) -> Claim {
        let machines = machines.map(|m| format!("m{m}"));
        let family = family.iter().map(|of| format!("c{of}"));
        let uid = format!("c{n}");
        Claim {
            family: family.filter(|of| *of != uid).collect(),
            shared: *shared,
            held: *held,
            suspended: *suspended,
            ..claim(&uid, *since, &machines.each_ref().map(String::as_str))
        }
    }

    proptest! {
        #[test]
        fn nobody_who_waits_for_nobody_is_left_out(
            claims in proptest::collection::vec(
                (any::<[u8; 2]>().prop_map(|m| m.map(|m| m % 4)), proptest::option::weighted(0.3, 0..8_u8), 0..5_i64, any::<[bool; 3]>()),
                1..8,
            )
        ) {
            let claims: Vec<_> = claims.iter().enumerate().map(|(n, of)| drawn(n, of)).collect();
            let all_of = all(&claims);
            let ready: BTreeSet<_> = ready(&all_of).iter().map(|claim| &claim.uid).collect();
            for claim in all_of.values().filter(|claim| !claim.held) {
                let goes = blocker(claim, &all_of).is_none();
                prop_assert!(!goes || ready.contains(&claim.uid), "{:?}", claim);
            }
        }
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
