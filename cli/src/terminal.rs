//! Terminals: foreign text is stripped of what would steer one, and tables know how much room there is.

use std::{
    borrow::Cow,
    io::{IsTerminal as _, stdout},
};

/// Whether a person reads standard output.
pub fn is_terminal() -> bool {
    stdout().is_terminal()
}

/// Rows of the terminal.
pub fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(stdout()).ok();
    size.map(|s| usize::from(s.ws_row))
        .filter(|&rows| rows > 0)
        .unwrap_or(24)
}

/// The text without control sequences; line ends and tabs stay.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text
        .chars()
        .any(|c| is_control(c) && c != '\n' && c != '\t')
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\u{1b}' => escaped(after),
            '\u{9b}' => csi(after).unwrap_or(after),
            '\r' if after.starts_with('\n') => after,
            '\r' => {
                out.push(' ');
                after
            }
            '\n' | '\t' => {
                out.push(c);
                after
            }
            c if is_control(c) => after,
            c => {
                out.push(c);
                after
            }
        };
    }
    Cow::Owned(out)
}

/// Controls of both sets, and marks that turn the order of what is read.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What follows an escape sequence. One that never ends hides nothing: only its escape is dropped.
fn escaped(after: &str) -> &str {
    match after.chars().next() {
        Some('[') => csi(&after[1..]).unwrap_or(after),
        Some(']' | 'P' | 'X' | '^' | '_') => text_sequence(&after[1..]).unwrap_or(after),
        Some(c @ (' '..='/')) => after[c.len_utf8()..]
            .chars()
            .next()
            .map_or("", |last| &after[1 + last.len_utf8()..]),
        Some(c @ '0'..='~') => &after[c.len_utf8()..],
        _ => after,
    }
}

fn csi(body: &str) -> Option<&str> {
    let end = body.find(|c: char| !matches!(c, ' '..='?'))?;
    let last = body[end..].chars().next()?;
    matches!(last, '@'..='~').then(|| &body[end + 1..])
}

fn text_sequence(body: &str) -> Option<&str> {
    let ends = [("\u{7}", 1), ("\u{1b}\\", 2), ("\u{9c}", 2)];
    let line = body.find('\n').unwrap_or(body.len());
    let found = ends
        .iter()
        .filter_map(|(end, size)| body[..line].find(end).map(|at| at + size));
    found.min().map(|at| &body[at..])
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn text_stays_as_it_is() {
        assert_eq!(clean("plain äöü 漢字\n\ttab"), "plain äöü 漢字\n\ttab");
    }

    #[test]
    fn sequences_that_steer_a_terminal_are_gone() {
        for (foreign, shown) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[2J\u{1b}[Hgone", "gone"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}P1;2q\u{1b}\\x", "x"),
            ("\u{9b}31mred", "red"),
            ("\u{1b}(Bx\u{1b}cy", "xy"),
            ("a\u{8}\u{8}b\u{7}\0", "ab"),
            ("10%\r20%\r\nend", "10% 20%\nend"),
            ("a\u{202e}b", "ab"),
        ] {
            assert_eq!(clean(foreign), shown, "{foreign:?}");
        }
    }

    #[test]
    fn a_sequence_without_an_end_hides_nothing() {
        assert_eq!(clean("\u{1b}]0;rm -rf /\nnext"), "]0;rm -rf /\nnext");
        assert_eq!(clean("\u{1b}[12ä"), "[12ä");
        assert_eq!(clean("\u{1b}"), "");
    }
}
