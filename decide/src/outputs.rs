//! What a step hands on: declared by name, found in its output behind a mark that foreign text does not know, bounded, and covered there where it is sensitive.

use std::collections::BTreeMap;

use crds::v1alpha1::Output;
use sha2::{Digest as _, Sha256};

use crate::{Refusal, parameters};

/// Longest value.
const MAX_BYTES: usize = 1024;
/// Longest line that is looked at.
const MAX_LINE: usize = 4096;

/// What may stand between the mark and a name.
const BLANKS: [char; 2] = [' ', '\t'];

/// What stands before `NAME=VALUE` on a line of this execution; what a script merely prints on cannot know it.
pub fn mark(key_digest: &str) -> String {
    let digest = hex::encode(Sha256::digest(format!("output {key_digest}")));
    format!("::output-{}::", &digest[..20])
}

/// Reads marked lines from pieces of output as they come.
#[derive(Debug)]
pub struct Reader {
    mark: String,
    line: Vec<u8>,
    found: BTreeMap<String, String>,
}

impl Reader {
    pub fn new(mark: String) -> Self {
        Self {
            mark,
            line: Vec::new(),
            found: BTreeMap::new(),
        }
    }

    pub fn read(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.keep(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// The values, the last of each name.
    pub fn finish(mut self) -> BTreeMap<String, String> {
        self.end_line();
        self.found
    }

    fn keep(&mut self, part: &[u8]) {
        let room = (MAX_LINE + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let marked = text.trim_end_matches('\r').strip_prefix(&self.mark);
        if let Some((name, value)) =
            marked.and_then(|rest| rest.trim_start_matches(BLANKS).split_once('='))
        {
            self.found.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// Covers the values of sensitive outputs in pieces of output as they come; no byte moves.
#[derive(Debug)]
pub struct Veil {
    mark: Vec<u8>,
    /// What stands before a value that is covered, but for blanks.
    before: Vec<Vec<u8>>,
    /// The line up to its value, as far as it may still be such a line.
    line: Option<Vec<u8>>,
    covering: bool,
}

impl Veil {
    pub fn new(mark: &str, sensitive: &[String]) -> Self {
        let before = sensitive.iter().map(|name| format!("{mark}{name}="));
        Self {
            mark: mark.as_bytes().to_vec(),
            before: before.map(String::into_bytes).collect(),
            line: Some(Vec::new()),
            covering: false,
        }
    }

    pub fn cover(&mut self, piece: &mut [u8]) {
        if self.before.is_empty() {
            return;
        }
        for byte in piece {
            if *byte == b'\n' {
                self.line = Some(Vec::new());
                self.covering = false;
            } else if self.covering {
                *byte = b'*';
            } else {
                self.follow(*byte);
            }
        }
    }

    fn follow(&mut self, byte: u8) {
        let Some(line) = &mut self.line else {
            return;
        };
        if *line == self.mark && BLANKS.contains(&char::from(byte)) {
            return;
        }
        line.push(byte);
        self.covering = self.before.contains(line);
        if self.covering || !self.before.iter().any(|before| before.starts_with(line)) {
            self.line = None;
        }
    }
}

/// What a Job that a step has run hands on: of each name the one value that its steps have given, wherever they ran.
pub fn of_part(
    declared: &[Output],
    rows: &[&BTreeMap<String, String>],
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut given = BTreeMap::new();
    for Output { name, .. } in declared {
        let mut values = rows.iter().filter_map(|row| row.get(name));
        let Some(value) = values.next() else {
            continue;
        };
        if let Some(other) = values.find(|other| *other != value) {
            let message = format!(
                "outputs.{name}: targets of the Job have given {value:?} and {other:?}; have a step that is done once hand on one"
            );
            return Err(Refusal::new("BadOutput", message));
        }
        given.insert(name.clone(), value.clone());
    }
    Ok(given)
}

/// Name of what is created for one attempt of a step. Long names are cut where nobody misses it; the digest of the key makes them differ.
pub fn object_name(run: &str, step: &str, key_digest: &str) -> String {
    let run = run[..run.len().min(150)].trim_end_matches(['-', '.']);
    format!("{run}-{step}-{}", &key_digest[..10])
}

/// The declared ones of what was given; refused where one is missing or is not what it was declared to be.
pub fn accept(
    declared: &[Output],
    mut given: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut accepted = BTreeMap::new();
    for output in declared {
        match given.remove(&output.name) {
            Some(value) => {
                fits(output, &value)?;
                accepted.insert(output.name.clone(), value);
            }
            None if output.default.is_some() => {}
            None => {
                return Err(Refusal::new(
                    "MissingOutput",
                    format!(
                        "the step declares the output {} and gave none: print a line `$PILOTHOUSE_OUTPUT {}=VALUE`, or declare a default",
                        output.name, output.name
                    ),
                ));
            }
        }
    }
    Ok(accepted)
}

fn fits(output: &Output, value: &str) -> Result<(), Refusal> {
    let field = format!("outputs.{}", output.name);
    let wrong = |why: String| Err(Refusal::new("BadOutput", format!("{field}: {why}")));
    if value.len() > MAX_BYTES {
        return wrong(format!(
            "the value has {} bytes; the limit is {MAX_BYTES}",
            value.len()
        ));
    }
    if value.chars().any(char::is_control) {
        return wrong("the value has control characters".into());
    }
    match &output.pattern {
        Some(pattern) if !parameters::compile(&field, pattern)?.is_match(value) => {
            wrong(format!("the value does not match {pattern}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(pattern: Option<&str>, default: Option<&str>) -> Output {
        Output {
            name: "version".into(),
            pattern: pattern.map(str::to_owned),
            default: default.map(str::to_owned),
            sensitive: false,
        }
    }

    #[test]
    fn a_sensitive_value_is_covered_however_the_output_is_cut() {
        let mark = mark("abc");
        let text = format!(
            "a\n{mark} version=1\n{mark} \t token=hidden=x\n{mark}token=hidden=x\nx{mark} token=shown\n"
        );
        let covered = text.replace("hidden=x", "********");
        for size in [1, 3, 7, 1000] {
            let mut veil = Veil::new(&mark, &["token".to_owned()]);
            let mut bytes = text.clone().into_bytes();
            bytes.chunks_mut(size).for_each(|piece| veil.cover(piece));
            assert_eq!(String::from_utf8_lossy(&bytes), covered, "{size}");
        }
    }

    #[test]
    fn a_part_hands_on_what_all_of_its_targets_agree_on() {
        let row = |value: &str| BTreeMap::from([("version".to_owned(), value.to_owned())]);
        let (one, other, none) = (row("1"), row("2"), BTreeMap::new());
        let declared = [declared(None, None)];
        let given = |rows: &[&BTreeMap<String, String>]| of_part(&declared, rows);
        assert_eq!(given(&[&none, &one, &one]), Ok(one.clone()));
        assert_eq!(given(&[&none]), Ok(none.clone()));
        let refused = given(&[&one, &other]).expect_err("two values");
        assert_eq!(refused.reason, "BadOutput");
    }

    #[test]
    fn what_an_attempt_creates_is_named_after_its_run_step_and_key() {
        let (name, key) = (object_name, "0123456789abcdef");
        assert_eq!(name("nightly", "logs", key), "nightly-logs-0123456789");
        let long = name(&format!("{}.x", "a".repeat(149)), "logs", key);
        assert_eq!(long, format!("{}-logs-0123456789", "a".repeat(149)));
        assert!(name(&"a".repeat(253), &"b".repeat(66), key).len() <= 230);
    }

    #[test]
    fn marked_lines_are_found_however_the_output_is_cut() {
        let mark = mark("abc");
        let text = format!(
            "hello\n{mark} version=1.2\nversion=9\n::output-00000000000000000000:: version=8\n{mark} state=a=b\n{mark} version=1.3"
        );
        for size in [1, 3, 7, 1000] {
            let mut reader = Reader::new(mark.clone());
            text.as_bytes()
                .chunks(size)
                .for_each(|piece| reader.read(piece));
            let wanted =
                [("state", "a=b"), ("version", "1.3")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            assert_eq!(reader.finish(), wanted.into(), "{size}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_its_bound() {
        let mut reader = Reader::new(mark("abc"));
        for _ in 0..1000 {
            reader.read(&[b'x'; 1000]);
        }
        assert!(reader.line.len() <= MAX_LINE + 1);
    }

    #[test]
    fn a_value_is_what_it_was_declared_to_be_or_the_step_has_failed() {
        let given = |value: &str| BTreeMap::from([("version".to_owned(), value.to_owned())]);
        let accept = |output: Output, given| accept(&[output], given).map_err(|r| r.reason);
        let digits = || declared(Some("^[0-9.]+$"), None);
        assert_eq!(accept(digits(), given("1.2")), Ok(given("1.2")));
        assert_eq!(accept(digits(), given("$(reboot)")), Err("BadOutput"));
        assert_eq!(
            accept(declared(None, None), given(&"x".repeat(1025))),
            Err("BadOutput")
        );
        assert_eq!(
            accept(declared(None, None), given("a\u{1b}[2J")),
            Err("BadOutput")
        );
        assert_eq!(accept(digits(), BTreeMap::new()), Err("MissingOutput"));
        assert_eq!(
            accept(declared(None, Some("0")), BTreeMap::new()),
            Ok(BTreeMap::new())
        );
    }
}
