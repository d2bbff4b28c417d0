//! Output in pieces becomes whole lines, each with the name of what printed it.

use crate::terminal;

/// A line that is longer is broken, so that a program that never ends one is still shown.
const LONGEST: usize = 16 * 1024;

/// Collects the output of one execution.
#[derive(Debug)]
pub struct Lines {
    prefix: String,
    /// Control sequences are stripped.
    tame: bool,
    open: Vec<u8>,
}

impl Lines {
    pub fn new(prefix: String, tame: bool) -> Self {
        Self {
            prefix,
            tame,
            open: Vec::new(),
        }
    }

    /// Takes in a piece and gives back the lines that it completes.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for part in piece.split_inclusive(|&b| b == b'\n') {
            self.open.extend_from_slice(part);
            if part.ends_with(b"\n") || self.open.len() >= LONGEST {
                self.close(&mut out);
            }
        }
        out
    }

    /// Gives back what was printed after the last end of a line.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.open.is_empty() {
            self.close(&mut out);
        }
        out
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.open);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        out.extend_from_slice(self.prefix.as_bytes());
        if self.tame {
            out.extend_from_slice(
                terminal::clean(&String::from_utf8_lossy(line))
                    .trim_end_matches(' ')
                    .as_bytes(),
            );
        } else {
            out.extend_from_slice(line);
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Lines};

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let mut lines = Lines::new("s/t | ".into(), true);
        assert_eq!(text(lines.push(b"a\nb")), "s/t | a\n");
        assert_eq!(text(lines.push(b"c\n\nd")), "s/t | bc\ns/t | \n");
        assert_eq!(text(lines.finish()), "s/t | d\n");
        assert_eq!(text(lines.finish()), "");
    }

    #[test]
    fn a_terminal_gets_no_control_sequences_and_a_file_gets_every_byte() {
        let wild = b"\x1b[31mr\xff\x1b[0m\n";
        assert_eq!(
            text(Lines::new(String::new(), true).push(wild)),
            "r\u{fffd}\n"
        );
        assert_eq!(Lines::new(String::new(), false).push(wild), wild);
    }

    #[test]
    fn a_line_without_end_is_shown_in_parts() {
        let mut lines = Lines::new(String::new(), true);
        let shown = (0..5)
            .map(|_| lines.push(&[b'x'; LONGEST / 2]).len())
            .sum::<usize>();
        assert_eq!(shown, 2 * (LONGEST + 1));
    }
}
