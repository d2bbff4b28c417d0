//! Who gets a place when there are fewer places than work. A team may hold a fixed multiple of what is free, so that a flood by one always leaves places for
//! the others, and a team that is alone uses nearly all of them.

use std::collections::{HashMap, VecDeque};

/// Places that a team may hold for each one that is free.
const FOR_EACH_FREE: usize = 4;

/// Places, those who hold some, and those who wait.
#[derive(Debug)]
pub struct Shares<W> {
    free: usize,
    /// What a team may hold at most, whatever is free.
    most: usize,
    held: HashMap<String, usize>,
    /// Lines by team, none of them empty: whoever waits with their number in the order in which all came.
    waiting: HashMap<String, VecDeque<(u64, W)>>,
    came: u64,
}

impl<W> Shares<W> {
    pub fn new(places: usize) -> Self {
        Self {
            free: places.max(1),
            most: usize::MAX,
            held: HashMap::new(),
            waiting: HashMap::new(),
            came: 0,
        }
    }

    /// Lines up for a place of a team; those who have one now, the newcomer among them or not.
    pub fn come(&mut self, team: &str, who: W) -> Vec<W> {
        self.came += 1;
        let line = self.waiting.entry(team.to_owned()).or_default();
        line.push_back((self.came, who));
        self.admitted()
    }

    /// Gives a team's place back; those who have one now.
    pub fn go(&mut self, team: &str) -> Vec<W> {
        self.free += 1;
        if let Some(held) = self.held.get_mut(team) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(team);
            }
        }
        self.admitted()
    }

    /// Has no team take more while it holds so many; those who have a place now.
    pub fn bound(&mut self, most: usize) -> Vec<W> {
        self.most = most.max(1);
        self.admitted()
    }

    /// How many of a team wait.
    pub fn waiting(&self, team: &str) -> usize {
        self.waiting.get(team).map_or(0, VecDeque::len)
    }

    /// The first of each team in the order in which they came, as far as their teams may hold more.
    fn admitted(&mut self) -> Vec<W> {
        let mut admitted = Vec::new();
        while let Some(team) = self.next() {
            let line = self.waiting.get_mut(&team).expect("it was just seen");
            admitted.extend(line.pop_front().map(|(_, who)| who));
            if line.is_empty() {
                self.waiting.remove(&team);
            }
            self.free -= 1;
            *self.held.entry(team).or_default() += 1;
        }
        admitted
    }

    /// The team that may hold one more and whose first came before those of the others.
    fn next(&self) -> Option<String> {
        let lines = self.waiting.iter().filter(|(team, _)| self.may_take(team));
        let first = lines.min_by_key(|(_, line)| line.front().map(|(came, _)| *came));
        first.map(|(team, _)| team.clone())
    }

    fn may_take(&self, team: &str) -> bool {
        let held = self.held.get(team).copied().unwrap_or(0);
        self.free > 0 && held < self.most.min(self.free * FOR_EACH_FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flooded() -> (Shares<usize>, usize) {
        let mut shares = Shares::new(500);
        let admitted = (0..5_000).map(|n| shares.come("loud", n).len()).sum();
        (shares, admitted)
    }

    #[test]
    fn a_team_that_is_alone_gets_most_places_and_never_all() {
        let (shares, admitted) = flooded();
        assert_eq!((admitted, shares.waiting("loud")), (400, 4_600));
        assert_eq!(shares.waiting("quiet"), 0);
        assert_eq!(Shares::new(1).come("a", 1), [1], "one place is a place");
    }

    #[test]
    fn whoever_comes_to_a_flood_gets_a_place_at_once() {
        let (mut shares, _) = flooded();
        for team in 0..50 {
            let name = format!("quiet-{team}");
            assert_eq!(shares.come(&name, 9_000 + team), [9_000 + team]);
        }
    }

    #[test]
    fn a_place_that_is_given_back_goes_to_the_first_who_may_have_it() {
        let (mut shares, admitted) = flooded();
        assert_eq!(shares.go("loud"), [admitted]);
        assert_eq!(shares.go("loud"), [admitted + 1]);
    }

    #[test]
    fn a_team_that_holds_too_much_takes_no_more_and_keeps_nobody_else_out() {
        let (mut shares, _) = flooded();
        assert!(shares.bound(10).is_empty());
        assert_eq!(shares.go("loud"), [0; 0], "it still holds more");
        assert_eq!(shares.come("quiet", 9_000), [9_000]);
        let back = (0..389).flat_map(|_| shares.go("loud")).count();
        assert_eq!((back, shares.held["loud"]), (0, 10));
        assert_eq!(shares.go("loud").len(), 1, "one for one");
        assert_eq!(shares.bound(12).len(), 2);
    }

    #[test]
    fn in_the_end_all_have_had_a_place_and_all_places_are_free() {
        let mut shares = Shares::new(7);
        let mut inside: VecDeque<usize> = VecDeque::new();
        let team = |n: usize| ["a", "b", "c"][n % 3];
        for n in 0..100 {
            inside.extend(shares.come(team(n), n));
        }
        let mut seen = 0;
        while let Some(n) = inside.pop_front() {
            seen += 1;
            inside.extend(shares.go(team(n)));
        }
        assert_eq!((seen, shares.free, shares.held.len()), (100, 7, 0));
    }
}
