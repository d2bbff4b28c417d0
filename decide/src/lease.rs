//! Who leads: a replica takes the Lease once nobody can hold it any more, and each time it changes hands its epoch grows.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The Lease, as a replica that does not lead has watched it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub holder: &'a str,
    /// How long its holder counts on it without renewing it.
    pub promised: Duration,
    /// How long the replica has seen it unchanged, by its own clock; no clock is ever compared with another.
    pub unchanged: Duration,
}

/// What such a replica does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Take,
    Wait,
}

/// A Lease that is held by this very name is that of an earlier life, which has ended.
pub fn next(me: &str, seen: Seen<'_>) -> Next {
    let free = seen.holder.is_empty() || seen.holder == me;
    if free || seen.unchanged > seen.promised {
        Next::Take
    } else {
        Next::Wait
    }
}

/// How long a leader may start effects after it has asked for a renewal: shorter than promised, so that what was started at the last moment has arrived before another leads.
pub fn counted_on(promised: Duration) -> Duration {
    promised * 4 / 5
}

/// Whether a Lease that is taken is one of long ago, as an etcd that was set back brings it: its count of hands may have been passed, so it has to be made anew.
pub fn is_of_the_past(renewed: Option<Timestamp>, promised: Duration, now: Timestamp) -> bool {
    let long = SignedDuration::try_from(promised * 4).unwrap_or(SignedDuration::MAX);
    renewed.is_some_and(|at| now.duration_since(at) > long)
}

/// Bits of an epoch that count changes of hands; a Lease that was deleted and made anew starts above all of the old one.
const HANDS: u32 = 20;

/// A number that only grows, which hosts compare: the second in which the Lease was made, and how often it has changed hands since.
pub fn epoch(made: i64, hands: i32) -> i64 {
    (made << HANDS) + i64::from(hands)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str, unchanged: u64) -> Seen<'_> {
        Seen {
            holder,
            promised: Duration::from_secs(15),
            unchanged: Duration::from_secs(unchanged),
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_left_over_or_no_longer_renewed() {
        assert_eq!(next("a", seen("", 0)), Next::Take);
        assert_eq!(next("a", seen("a", 0)), Next::Take);
        assert_eq!(next("a", seen("b", 16)), Next::Take);
        assert_eq!(next("a", seen("b", 15)), Next::Wait);
    }

    #[test]
    fn a_lease_that_was_renewed_long_ago_is_made_anew() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let promised = Duration::from_secs(15);
        let past = |renewed| is_of_the_past(renewed, promised, at(1_000));
        assert!(past(Some(at(939))));
        assert!(!past(Some(at(940))) && !past(Some(at(2_000))) && !past(None));
    }

    #[test]
    fn a_leader_stops_before_another_may_begin() {
        let promised = Duration::from_secs(15);
        assert!(counted_on(promised) < promised);
    }

    #[test]
    fn an_epoch_grows_with_each_change_of_hands_and_over_a_lease_made_anew() {
        assert!(epoch(100, 1) < epoch(100, 2));
        assert!(epoch(100, 1 << 19) < epoch(101, 0));
    }
}
