//! Lines of iCalendar (RFC 5545, 3.1): folded lines made whole, and each taken apart.

use std::collections::BTreeMap;

/// `NAME;PARAMETER=VALUE:VALUE`; names are in capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub name: String,
    parameters: BTreeMap<String, String>,
    pub value: String,
}

/// Every line of a file, or the one that is none.
pub fn lines(text: &str) -> Result<Vec<Line>, String> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let whole = text.replace("\n ", "").replace("\n\t", "");
    let lines = whole.lines().filter(|line| !line.trim().is_empty());
    lines.map(Line::read).collect()
}

impl Line {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no line of iCalendar, as in DTSTART:20261224");
        let mut quoted = false;
        let is_end = |c: char| {
            quoted ^= c == '"';
            c == ':' && !quoted
        };
        let at = text.find(is_end).ok_or_else(wrong)?;
        let mut parts = parts(&text[..at]).into_iter();
        let name = parts.next().unwrap_or_default().to_ascii_uppercase();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(wrong());
        }
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((
                name.to_ascii_uppercase(),
                value.trim_matches('"').to_owned(),
            ))
        };
        let parameters = parts.map(|part| parameter(part).ok_or_else(wrong));
        Ok(Self {
            name,
            parameters: parameters.collect::<Result<_, _>>()?,
            value: text[at + 1..].trim_end().to_owned(),
        })
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Each of a list of values, as a line of its own.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        self.value.split(',').map(|value| Self {
            value: value.to_owned(),
            ..self.clone()
        })
    }

    /// The value as text, in one line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut characters = self.value.chars();
        while let Some(character) = characters.next() {
            text.push(match character {
                '\\' => match characters.next() {
                    Some('n' | 'N') | None => ' ',
                    Some(escaped) => escaped,
                },
                other => other,
            });
        }
        text.trim().to_owned()
    }
}

/// What stands between semicolons, but for those in quotes.
fn parts(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let is_end = |c: char| {
        quoted ^= c == '"';
        c == ';' && !quoted
    };
    text.split(is_end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_lines_are_one_and_what_is_quoted_ends_nothing() {
        let text = "BEGIN:VEVENT\r\nSUMMARY;ALTREP=\"http://a;b:c\":Books\\, clo\r\n sed\\nuntil\r\n\tlater\r\n\r\ndtstart;tzid=Europe/Berlin:20261224T180000\r\n";
        let lines = lines(text).expect("lines");
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1].text(), "Books, closed untillater");
        assert_eq!(lines[1].parameter("ALTREP"), Some("http://a;b:c"));
        assert_eq!(lines[2].name, "DTSTART");
        assert_eq!(lines[2].parameter("TZID"), Some("Europe/Berlin"));
    }

    #[test]
    fn what_is_no_line_is_quoted() {
        for text in ["no colon", ":1", "A B:1", "DTSTART;VALUE:1", "X;\"a:b"] {
            let refused = lines(text).expect_err(text);
            assert!(refused.contains(&format!("{text:?}")), "{refused}");
        }
    }
}
