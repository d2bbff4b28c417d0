//! Who is next where many hand things in: each team has a line of bounded length, and the lines take turns, so that a flood of one holds up nobody else.

use std::collections::{HashMap, VecDeque};

/// How much of a team may stand in its line.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub items: usize,
    pub weight: usize,
}

/// Lines of teams. A team without a line has nothing to wait for.
#[derive(Debug)]
pub struct Turns<T> {
    room: Room,
    lines: HashMap<String, Line<T>>,
    /// Teams with a line, the next first.
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Line<T> {
    items: VecDeque<(usize, T)>,
    weight: usize,
}

impl<T> Turns<T> {
    pub fn new(room: Room) -> Self {
        Self {
            room,
            lines: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Puts an item at the end of its team's line; gives it back when the line is full. An empty line takes any item.
    pub fn offer(&mut self, team: &str, weight: usize, item: T) -> Result<(), T> {
        let Some(line) = self.lines.get_mut(team) else {
            let items = VecDeque::from([(weight, item)]);
            self.lines.insert(team.to_owned(), Line { items, weight });
            self.order.push_back(team.to_owned());
            return Ok(());
        };
        if line.items.len() >= self.room.items || line.weight + weight > self.room.weight {
            return Err(item);
        }
        line.weight += weight;
        line.items.push_back((weight, item));
        Ok(())
    }

    /// The first of the team whose turn it is, with its weight.
    pub fn take(&mut self) -> Option<(usize, T)> {
        let team = self.order.pop_front()?;
        let line = self
            .lines
            .get_mut(&team)
            .expect("a team in the order has a line");
        let (weight, item) = line.items.pop_front().expect("a line is not empty");
        line.weight -= weight;
        if line.items.is_empty() {
            self.lines.remove(&team);
        } else {
            self.order.push_back(team);
        }
        Some((weight, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns() -> Turns<String> {
        Turns::new(Room {
            items: 3,
            weight: 100,
        })
    }

    fn offered(turns: &mut Turns<String>, team: &str, weight: usize, item: &str) -> bool {
        turns.offer(team, weight, item.to_owned()).is_ok()
    }

    #[test]
    fn whoever_comes_to_a_flood_is_next_but_one() {
        let mut turns = turns();
        for item in ["l1", "l2", "l3"] {
            assert!(offered(&mut turns, "loud", 1, item));
        }
        assert!(!offered(&mut turns, "loud", 1, "l4"), "its line is full");
        assert!(offered(&mut turns, "quiet", 1, "q1"));
        let order: Vec<_> = std::iter::from_fn(|| turns.take()).collect();
        let names: Vec<_> = order.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["l1", "q1", "l2", "l3"]);
        assert!(offered(&mut turns, "loud", 1, "l5"), "there is room again");
    }

    #[test]
    fn a_line_is_bounded_by_weight_and_an_empty_one_takes_anything() {
        let mut turns = turns();
        assert!(offered(&mut turns, "a", 500, "huge"));
        assert!(!offered(&mut turns, "a", 1, "more"));
        assert_eq!(turns.take(), Some((500, "huge".to_owned())));
        assert_eq!(turns.take(), None);
        assert!(offered(&mut turns, "a", 60, "one") && !offered(&mut turns, "a", 60, "two"));
    }
}
