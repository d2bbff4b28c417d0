//! How much work one team may have in hand while the processors do not keep up. Whoever waits for a processor waits behind all that is in hand, so less of it takes no longer,
//! and lets others by.

use std::time::Duration;

/// What is put up with: to come so much later than one meant to.
const LATE: Duration = Duration::from_millis(20);
/// No more in hand is taken for a reason to have more.
const PROMPT: Duration = Duration::from_millis(5);
/// What a team may always have in hand, so that work which only waits goes on.
const LEAST: usize = 16;

/// What a team may have in hand now.
#[derive(Debug)]
pub struct Pace {
    most: usize,
    now: usize,
}

impl Pace {
    pub fn new(most: usize) -> Self {
        Self { most, now: most }
    }

    /// The same after somebody who meant to come now came so late.
    pub fn heard(&mut self, late: Duration) -> usize {
        let least = LEAST.min(self.most);
        if late >= LATE {
            self.now = (self.now * 3 / 4).max(least);
        } else if late <= PROMPT {
            self.now = (self.now + self.now / 8 + 1).min(self.most);
        }
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pace: &mut Pace, late: Duration, times: usize) -> usize {
        (0..times).map(|_| pace.heard(late)).last().expect("some")
    }

    #[test]
    fn a_team_has_less_in_hand_while_processors_are_behind_and_all_again_when_they_are_not() {
        let mut pace = Pace::new(500);
        assert_eq!(after(&mut pace, Duration::ZERO, 3), 500);
        assert_eq!(pace.heard(LATE), 375);
        let between = Duration::from_millis(10);
        assert_eq!(after(&mut pace, between, 9), 375, "it does as it is");
        assert_eq!(after(&mut pace, LATE * 5, 30), LEAST, "and never none");
        assert!(after(&mut pace, PROMPT, 5) > LEAST);
        assert_eq!(after(&mut pace, PROMPT, 60), 500);
    }

    #[test]
    fn there_may_be_few_places_at_all() {
        let mut pace = Pace::new(4);
        assert_eq!(after(&mut pace, LATE, 9), 4);
        assert_eq!(after(&mut pace, PROMPT, 9), 4);
    }
}
