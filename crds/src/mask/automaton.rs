//! Finds any of many patterns in one pass (Aho-Corasick), and tells after each byte how much of the text could still become a match. That depth is
//! what lets a stream be released to the last byte; memory grows with the patterns' bytes only.

use std::collections::VecDeque;

const ROOT: u32 = 0;
/// No state; the root is nobody's child.
const NONE: u32 = 0;

struct State {
    byte: u8,
    first_child: u32,
    sibling: u32,
    fail: u32,
    depth: u32,
    /// Length of the longest pattern that ends here; 0 when none does.
    hit: u32,
}

/// The patterns, ready to be searched for.
pub struct Automaton {
    states: Vec<State>,
    /// Children of the root, where most of a text is spent.
    starts: Box<[u32; 256]>,
}

/// A place within the automaton: what the text so far could be the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    pub const START: Self = Self(ROOT);
}

impl Automaton {
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let root = State {
            byte: 0,
            first_child: NONE,
            sibling: NONE,
            fail: ROOT,
            depth: 0,
            hit: 0,
        };
        let mut new = Self {
            states: vec![root],
            starts: Box::new([NONE; 256]),
        };
        for pattern in patterns.into_iter().filter(|p| !p.is_empty()) {
            new.insert(pattern);
        }
        new.link();
        new
    }

    fn insert(&mut self, pattern: &[u8]) {
        let mut at = ROOT;
        for &byte in pattern {
            at = match self.child(at, byte) {
                NONE => self.add(at, byte),
                child => child,
            };
        }
        self.states[at as usize].hit = self.states[at as usize].depth;
    }

    fn add(&mut self, parent: u32, byte: u8) -> u32 {
        let new = u32::try_from(self.states.len()).expect("secrets are bounded far below 4 GiB");
        let of = &mut self.states[parent as usize];
        let (sibling, depth) = (of.first_child, of.depth + 1);
        of.first_child = new;
        self.states.push(State {
            byte,
            first_child: NONE,
            sibling,
            fail: ROOT,
            depth,
            hit: 0,
        });
        if parent == ROOT {
            self.starts[usize::from(byte)] = new;
        }
        new
    }

    fn child(&self, parent: u32, byte: u8) -> u32 {
        if parent == ROOT {
            return self.starts[usize::from(byte)];
        }
        let mut at = self.states[parent as usize].first_child;
        while at != NONE && self.states[at as usize].byte != byte {
            at = self.states[at as usize].sibling;
        }
        at
    }

    /// Gives each state the longest other beginning that its text ends with, breadth first.
    fn link(&mut self) {
        let mut queue: VecDeque<u32> = self.starts.iter().copied().filter(|&s| s != NONE).collect();
        while let Some(parent) = queue.pop_front() {
            let mut at = self.states[parent as usize].first_child;
            while at != NONE {
                let fail = self
                    .next(
                        Place(self.states[parent as usize].fail),
                        self.states[at as usize].byte,
                    )
                    .0;
                let inherited = self.states[fail as usize].hit;
                let state = &mut self.states[at as usize];
                state.fail = fail;
                state.hit = state.hit.max(inherited);
                queue.push_back(at);
                at = state.sibling;
            }
        }
    }

    pub fn next(&self, place: Place, byte: u8) -> Place {
        let mut at = place.0;
        while at != ROOT {
            match self.child(at, byte) {
                NONE => at = self.states[at as usize].fail,
                child => return Place(child),
            }
        }
        Place(self.starts[usize::from(byte)])
    }

    /// Length of the longest pattern that ends at this place; 0 when none does.
    pub fn hit(&self, place: Place) -> usize {
        self.states[place.0 as usize].hit as usize
    }

    /// How many of the last bytes could still become a match.
    pub fn depth(&self, place: Place) -> usize {
        self.states[place.0 as usize].depth as usize
    }
}

#[cfg(test)]
mod tests {
    use super::{Automaton, Place};

    fn hits(patterns: &[&str], text: &str) -> Vec<(usize, usize)> {
        let automaton = Automaton::new(patterns.iter().map(|p| p.as_bytes()));
        let mut place = Place::START;
        let mut found = Vec::new();
        for (i, &byte) in text.as_bytes().iter().enumerate() {
            place = automaton.next(place, byte);
            if automaton.hit(place) > 0 {
                found.push((i + 1 - automaton.hit(place), i + 1));
            }
        }
        found
    }

    #[test]
    fn overlapping_and_nested_patterns_are_all_found() {
        assert_eq!(hits(&["she", "he", "hers"], "ushers"), [(1, 4), (2, 6)]);
        assert_eq!(hits(&["abcd", "bc"], "abce abcd"), [(1, 3), (6, 8), (5, 9)]);
        assert_eq!(hits(&["aa"], "aaa"), [(0, 2), (1, 3)]);
        assert_eq!(hits(&[], "abc"), []);
    }

    #[test]
    fn the_depth_is_what_may_still_become_a_match() {
        let automaton = Automaton::new([b"secret".as_slice()]);
        let place = b"xsecr"
            .iter()
            .fold(Place::START, |at, &b| automaton.next(at, b));
        assert_eq!(automaton.depth(place), 4);
        assert_eq!(automaton.depth(automaton.next(place, b'x')), 0);
    }
}
