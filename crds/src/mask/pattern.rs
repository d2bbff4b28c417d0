//! All the ways in which a secret may stand in a text: plain, and as base64, hex, URL, JSON and shell encoders write it.

use std::{collections::BTreeSet, fmt::Write as _};

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A line of a secret with several lines is a secret of its own from this length on.
const LINE_BYTES_MIN: usize = 8;

/// What to look for.
#[derive(Debug, Default)]
pub struct Patterns {
    /// Looked for byte by byte.
    pub exact: BTreeSet<Vec<u8>>,
    /// Looked for also where an encoder broke the line.
    pub wrapped: BTreeSet<Vec<u8>>,
}

impl Patterns {
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for secret in secrets {
            all.add(secret);
            all.add(secret.trim());
            let lines = secret.lines().map(str::trim);
            lines
                .filter(|l| l.len() >= LINE_BYTES_MIN)
                .for_each(|line| all.add(line));
        }
        all
    }

    fn add(&mut self, secret: &str) {
        self.exact.insert(secret.as_bytes().to_vec());
        self.exact.extend(json(secret).map(String::into_bytes));
        self.exact.extend(url(secret));
        self.exact.extend(quoted(secret).map(String::into_bytes));
        let bytes = secret.as_bytes();
        for skipped in 0..3 {
            self.wrapped
                .insert(base64_inside(&STANDARD_NO_PAD, bytes, skipped));
            self.wrapped
                .insert(base64_inside(&URL_SAFE_NO_PAD, bytes, skipped));
        }
        self.wrapped.insert(hex::encode(bytes).into_bytes());
        self.wrapped.insert(hex::encode_upper(bytes).into_bytes());
    }
}

/// The base64 digits that depend on the secret alone when it stands `skipped` bytes after a group's begin; the digits at its edges also depend on its neighbours.
fn base64_inside(engine: &impl base64::Engine, secret: &[u8], skipped: usize) -> Vec<u8> {
    let mut text = vec![0; skipped];
    text.extend_from_slice(secret);
    let digits = engine.encode(&text).into_bytes();
    let first = (skipped * 8).div_ceil(6);
    let last = text.len() * 8 / 6;
    digits[first..last].to_vec()
}

/// As JSON encoders write it: least escapes, only ASCII, safe for HTML, with escaped slashes.
fn json(secret: &str) -> impl Iterator<Item = String> {
    let least = serde_json::to_string(secret).expect("a string is JSON");
    let least = least[1..least.len() - 1].to_owned();
    let ascii: String = least
        .chars()
        .map(|c| {
            if c.is_ascii() {
                c.to_string()
            } else {
                utf16_escape(c)
            }
        })
        .collect();
    let html = |text: &str| -> String {
        let unsafe_in_html = |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        text.chars()
            .map(|c| {
                if unsafe_in_html(c) {
                    utf16_escape(c)
                } else {
                    c.to_string()
                }
            })
            .collect()
    };
    let slashed = |text: &str| text.replace('/', "\\/");
    [
        html(&least),
        html(&ascii),
        slashed(&least),
        slashed(&ascii),
        least,
        ascii,
    ]
    .into_iter()
}

fn utf16_escape(c: char) -> String {
    c.encode_utf16(&mut [0; 2])
        .iter()
        .fold(String::new(), |mut text, unit| {
            let _ = write!(text, "\\u{unit:04x}");
            text
        })
}

/// As URL encoders write it: they differ in what they leave alone, in the case of digits, and in the space of forms.
fn url(secret: &str) -> impl Iterator<Item = Vec<u8>> {
    const KEPT: [&[u8]; 5] = [
        b"-._~",
        b"-._~/",
        b"-_.!~*'()",
        b"-_.!~*'();,/?:@&=+$#",
        b"-._*",
    ];
    KEPT.into_iter().flat_map(move |kept| {
        let encode = |upper: bool, space: &str| -> Vec<u8> {
            let mut text = String::new();
            for &byte in secret.as_bytes() {
                match byte {
                    b' ' => text.push_str(space),
                    _ if byte.is_ascii_alphanumeric() || kept.contains(&byte) => {
                        text.push(char::from(byte));
                    }
                    _ if upper => {
                        let _ = write!(text, "%{byte:02X}");
                    }
                    _ => {
                        let _ = write!(text, "%{byte:02x}");
                    }
                }
            }
            text.into_bytes()
        };
        [
            encode(true, "%20"),
            encode(false, "%20"),
            encode(true, "+"),
            encode(false, "+"),
        ]
    })
}

/// As shells (`set -x`, `printf %q`) and Python (`repr`) write it.
fn quoted(secret: &str) -> impl Iterator<Item = String> {
    let ansi = |c: char| match c {
        '\x07' => "\\a".into(),
        '\x08' => "\\b".into(),
        '\x1b' => "\\E".into(),
        '\x0c' => "\\f".into(),
        '\x0b' => "\\v".into(),
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        '\\' | '\'' => format!("\\{c}"),
        c if c.is_ascii_control() => format!("\\{:03o}", u32::from(c)),
        c => c.to_string(),
    };
    let python = |c: char| match c {
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        '\\' => "\\\\".into(),
        c if c.is_ascii_control() => format!("\\x{:02x}", u32::from(c)),
        c => c.to_string(),
    };
    let backslashed = |c: char| {
        if c.is_ascii_alphanumeric() || !c.is_ascii() || "-_./:=@%+".contains(c) {
            c.to_string()
        } else {
            format!("\\{c}")
        }
    };
    let repr: String = secret.chars().map(python).collect();
    [
        secret.replace('\'', "'\\''"),
        secret.replace('\'', "'\"'\"'"),
        secret.chars().map(ansi).collect(),
        secret.chars().map(backslashed).collect(),
        repr.replace('\'', "\\'"),
        repr,
    ]
    .into_iter()
}

#[cfg(test)]
mod tests {
    use super::{Patterns, base64_inside};
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

    #[test]
    fn base64_is_known_wherever_the_secret_stands() {
        for before in 0..6 {
            for after in 0..4 {
                let text = [vec![b'x'; before], b"hunter22".to_vec(), vec![b'y'; after]].concat();
                let inside = base64_inside(&STANDARD_NO_PAD, b"hunter22", before % 3);
                let inside = String::from_utf8(inside).expect("digits");
                assert!(
                    STANDARD.encode(text).contains(&inside),
                    "{before} before, {after} after"
                );
            }
        }
    }

    #[test]
    fn every_encoding_is_a_pattern() {
        let all = Patterns::of(["a/b 'c\"\u{e9}<\nsecond line"]);
        let exact = |text: &str| assert!(all.exact.contains(text.as_bytes()), "{text}");
        exact("a/b 'c\"\u{e9}<\nsecond line");
        exact("second line");
        exact(r#"a/b 'c\"é<\nsecond line"#);
        exact(r#"a\/b 'c\"\u00e9<\nsecond line"#);
        exact(r#"a/b 'c\"é\u003c\nsecond line"#);
        exact("a%2Fb%20%27c%22%C3%A9%3C%0Asecond%20line");
        exact("a/b+%27c%22%c3%a9%3c%0asecond+line");
        exact(r#"a/b \'c"é<\nsecond line"#);
        assert!(
            all.wrapped
                .contains(hex::encode_upper("second line").as_bytes())
        );
    }
}
