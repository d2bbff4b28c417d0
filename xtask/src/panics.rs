//! What failed tests said, picked from all that a test program prints, to be told again where a reader looks first: at the end.

/// Lines of one message that are kept; a message can be an object or a log.
const LONGEST: usize = 60;

#[derive(Clone, Default)]
pub struct Panics {
    kept: Vec<String>,
    /// How much of the message that is being printed may still be kept.
    room: usize,
}

impl Panics {
    /// Takes in the next line that was printed.
    pub fn hear(&mut self, line: &str) {
        if line.contains("' panicked at ")
            || line.contains("' (") && line.contains(") panicked at ")
        {
            self.room = LONGEST;
        } else if line.starts_with("note: run with") || line.starts_with("---- ") {
            self.room = 0;
        }
        if self.room > 0 {
            self.room -= 1;
            self.kept.push(line.to_owned());
        }
    }

    pub fn kept(&self) -> &[String] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_kept_and_what_is_around_it_is_not() {
        let mut panics = Panics::default();
        let printed = "test a::b ... FAILED\n---- a::b stdout ----\nkubectl get\nthread 'a::b' (17) panicked at e2e/a.rs:1:2:\n\
            no \"x\" in y\nz\nnote: run with `RUST_BACKTRACE=1`\n---- a::c stdout ----\nthread 'a::c' panicked at e2e/a.rs:3:4:\nother";
        printed.lines().for_each(|line| panics.hear(line));
        let kept = [
            "thread 'a::b' (17) panicked at e2e/a.rs:1:2:",
            "no \"x\" in y",
            "z",
            "thread 'a::c' panicked at e2e/a.rs:3:4:",
            "other",
        ];
        assert_eq!(panics.kept(), kept);
        (0..200).for_each(|_| panics.hear("more"));
        assert_eq!(panics.kept().len(), 3 + LONGEST);
    }
}
