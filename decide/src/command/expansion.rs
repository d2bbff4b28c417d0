//! From a word as it is written to the words that a command gets: quotes, variables, substitutions, braces, fields.
//! brush's own parser of words is not used: it keeps what it is given in a cache for all, and its work doubles with every level of quotes.

use super::{
    At, Part, Why, Word, bounds,
    names::Value,
    scan,
    stream::Stream,
    walker::{Choice, Walker},
};

/// How a text is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A word of a command.
    Word,
    /// What is assigned: it is not split, and its patterns mean themselves.
    Value,
    /// The body of a here-document, and what is within double quotes.
    Quoted,
}

/// Words in the making.
#[derive(Default)]
struct Fields {
    done: Vec<Word>,
    open: Option<Word>,
}

impl Fields {
    fn push(&mut self, part: Part) {
        self.open.get_or_insert_default().push(part);
    }

    fn text(&mut self, text: &str) {
        self.push(Part::Text(text.to_owned()));
    }

    fn end(&mut self) {
        self.done.extend(self.open.take());
    }
}

/// Text that means itself however it is read.
fn is_plain(raw: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,+%@^".contains(&b);
    raw.bytes().all(plain)
}

impl Walker {
    /// The words that one word of a command stands for.
    pub fn words(&mut self, raw: &str, at: At) -> Vec<Word> {
        if is_plain(raw) {
            return vec![Word::text(raw)];
        }
        let Some(all) = scan::braces(raw, bounds::WORDS) else {
            self.unknown(Why::TooMuch, raw, at);
            return vec![Word::unknown(raw)];
        };
        let mut fields = Fields::default();
        for one in all {
            self.read(&one, at, Mode::Word, &mut fields);
            fields.end();
        }
        fields.done
    }

    /// The one word that a text stands for where nothing is split.
    pub fn value(&mut self, raw: &str, at: At, mode: Mode) -> Word {
        if is_plain(raw) {
            return Word::text(raw);
        }
        let mut fields = Fields::default();
        self.read(raw, at, mode, &mut fields);
        fields.end();
        let mut whole = Word::default();
        for (index, word) in fields.done.iter().enumerate() {
            if index > 0 {
                whole.push(Part::Text(" ".to_owned()));
            }
            whole.extend(word);
        }
        whole
    }

    fn read(&mut self, raw: &str, at: At, mode: Mode, fields: &mut Fields) {
        let (mut index, mut before, mut here) = (0, 0, at);
        while let Some(character) = raw[index..].chars().next() {
            if self.is_exhausted() {
                fields.push(unknown(&raw[index..], true, false));
                return;
            }
            let rest = &raw[index + character.len_utf8()..];
            if !self.scope.loose && matches!(character, '$' | '`' | '"') {
                here = here.after(&raw[before..index]);
                before = index;
            }
            let taken = match character {
                '\\' => Some(escaped(rest, mode, fields)),
                '\'' if mode != Mode::Quoted => single(rest, fields),
                '"' if mode != Mode::Quoted => self.double(rest, here, fields),
                '$' => self.dollar(rest, here, mode, fields),
                '`' => scan::until(rest, '`').map(|(inner, length)| {
                    let program = unquoted_backquotes(inner);
                    let word = self.substitution(&program, here);
                    self.insert(&word, mode, fields);
                    length
                }),
                _ if mode == Mode::Quoted => Some(literal(character, fields)),
                '?' | '*' | '+' | '@' | '!' if rest.starts_with('(') && mode == Mode::Word => {
                    self.pattern(character, rest, here, fields)
                }
                '*' | '?' if mode == Mode::Word => Some(glob(character, fields)),
                '[' if mode == Mode::Word && rest.contains(']') => Some(glob(character, fields)),
                // The parser ends a word at these; where one is left, it and this reading differ.
                ';' | '|' | '&' | '(' | ')' | '<' | '>' | ' ' | '\t' | '\n' => None,
                _ => Some(literal(character, fields)),
            };
            let Some(taken) = taken else {
                self.unknown(Why::Unparsed, raw, here);
                fields.push(unknown(&raw[index..], true, false));
                return;
            };
            index += character.len_utf8() + taken;
        }
    }

    fn double(&mut self, rest: &str, at: At, fields: &mut Fields) -> Option<usize> {
        let end = scan::closing(rest, '"')?;
        fields.text("");
        self.read(&rest[..end], at.plus(1, 2), Mode::Quoted, fields);
        Some(end + 1)
    }

    /// An extended pattern, such as `@(a|b)`.
    fn pattern(&mut self, first: char, rest: &str, at: At, fields: &mut Fields) -> Option<usize> {
        let end = scan::closing(&rest[1..], '(')? + 2;
        let mut within = Fields::default();
        self.read(&rest[1..end - 1], at, Mode::Quoted, &mut within);
        fields.push(Part::Glob(format!("{first}{}", &rest[..end])));
        Some(end)
    }

    /// What follows a dollar sign; how many bytes of it were read.
    fn dollar(&mut self, rest: &str, at: At, mode: Mode, fields: &mut Fields) -> Option<usize> {
        let next = rest.chars().next();
        match next {
            Some('(') => {
                let end = scan::closing(&rest[1..], '(')? + 1;
                let inner = &rest[1..end];
                if is_arithmetic(inner) {
                    self.value(&inner[1..inner.len() - 1], at, Mode::Quoted);
                    fields.push(unknown(&format!("$({inner})"), false, true));
                } else {
                    let word = self.substitution(inner, at.plus(1, 3));
                    self.insert(&word, mode, fields);
                }
                Some(end + 1)
            }
            Some('{') => {
                let end = scan::closing(&rest[1..], '{')? + 1;
                self.parameter(&rest[1..end], at, mode, fields);
                Some(end + 1)
            }
            Some('[') => {
                let (inner, length) = scan::until(&rest[1..], ']')?;
                self.value(inner, at, Mode::Quoted);
                fields.push(unknown(&format!("$[{inner}]"), false, true));
                Some(length + 1)
            }
            Some('\'') if mode != Mode::Quoted => {
                let (inner, length) = scan::until(&rest[1..], '\'')?;
                fields.text(&scan::unescape(inner));
                Some(length + 1)
            }
            Some('"') if mode != Mode::Quoted => Some(0),
            _ => Some(self.unbraced(rest, mode, fields)),
        }
    }

    fn unbraced(&mut self, rest: &str, mode: Mode, fields: &mut Fields) -> usize {
        let first = rest.chars().next().unwrap_or(' ');
        let length = match first {
            'a'..='z' | 'A'..='Z' | '_' => rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len()),
            '0'..='9' | '@' | '*' | '#' | '?' | '$' | '!' | '-' => 1,
            _ => 0,
        };
        if length == 0 {
            fields.text("$");
        } else {
            let values = self.values(&rest[..length], None);
            self.insert_list(&values, mode, fields);
        }
        length
    }

    /// What is between `${` and `}`.
    fn parameter(&mut self, inner: &str, at: At, mode: Mode, fields: &mut Fields) {
        let shown = format!("${{{inner}}}");
        let measured = inner.len() > 1 && inner.starts_with('#');
        if measured || inner.starts_with('!') {
            self.value(&inner[1..], at, Mode::Quoted);
            return fields.push(unknown(&shown, !measured, measured));
        }
        let (name, subscript, operation) = split_parameter(inner);
        if let Some(subscript) = subscript {
            self.value(subscript, at, Mode::Quoted);
        }
        let colon = operation.strip_prefix(':').unwrap_or(operation);
        let operand = colon.get(1..).unwrap_or_default();
        match colon.chars().next() {
            None if operation.is_empty() => {
                let values = self.values(name, subscript);
                self.insert_list(&values, mode, fields);
            }
            Some('-' | '=' | '+' | '?') => {
                self.conditional(&shown, (name, subscript), colon, (at, mode), fields);
            }
            _ => {
                self.value(operand, at, Mode::Quoted);
                let values = self.values(name, subscript);
                if self.choose(&shown, 2) == 0 {
                    fields.push(unknown(&shown, true, false));
                } else {
                    self.insert_list(&values, mode, fields);
                }
            }
        }
    }

    /// `${name-word}` and its kin; `operation` begins with the sign.
    fn conditional(
        &mut self,
        shown: &str,
        (name, subscript): (&str, Option<&str>),
        operation: &str,
        (at, mode): (At, Mode),
        fields: &mut Fields,
    ) {
        let (sign, word) = operation.split_at(1);
        if sign == "?" {
            self.value(word, at, Mode::Quoted);
            let values = self
                .values(name, subscript)
                .iter()
                .map(surely)
                .collect::<Vec<_>>();
            return self.insert_list(&values, mode, fields);
        }
        let other = self.value(
            word,
            at,
            if mode == Mode::Quoted {
                mode
            } else {
                Mode::Value
            },
        );
        if sign == "=" {
            self.assign(name, Value::Scalar(other.clone()), at);
        }
        let chosen = self.choose(shown, 2);
        let values = match (sign, chosen) {
            ("+", 0) => Vec::new(),
            ("+", _) | (_, 1) => vec![other],
            // Where it is nothing, the other word is taken.
            _ => self.values(name, subscript).iter().map(surely).collect(),
        };
        self.insert_list(&values, mode, fields);
    }

    /// Runs a substitution and gives what it prints, where that is known.
    fn substitution(&mut self, program: &str, at: At) -> Word {
        let shown = format!("$({program})");
        match self.substituted(program, at) {
            Stream::Text(text) => Word::text(text.trim_end_matches('\n')),
            _ => Word {
                parts: vec![unknown(&shown, true, prints_a_plain_word(program))],
            },
        }
    }

    fn insert_list(&mut self, words: &[Word], mode: Mode, fields: &mut Fields) {
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                if mode == Mode::Value {
                    fields.text(" ");
                } else {
                    fields.end();
                }
            }
            self.insert(word, mode, fields);
        }
    }

    /// Inserts a value: outside quotes it is split, and its patterns mean files.
    fn insert(&mut self, word: &Word, mode: Mode, fields: &mut Fields) {
        for part in &word.parts {
            match part {
                Part::Text(text) if mode == Mode::Word => self.insert_split(text, fields),
                part => fields.push(part.clone()),
            }
        }
    }

    fn insert_split(&mut self, text: &str, fields: &mut Fields) {
        let separates = |c: char| c.is_ascii_whitespace() || self.separators.contains(c);
        for (index, piece) in text.split(separates).enumerate() {
            if index > 0 {
                fields.end();
            }
            if !piece.is_empty() {
                let globs = piece.contains(['*', '?']);
                let part = if globs { Part::Glob } else { Part::Text };
                fields.push(part(piece.to_owned()));
            }
        }
    }

    /// One of several ways in which a command may be read; each is taken once.
    pub fn choose(&mut self, key: &str, count: usize) -> usize {
        if count <= 1 {
            return 0;
        }
        if let Some(made) = self.choices.iter().find(|choice| choice.key == key) {
            return made.index.min(count - 1);
        }
        self.choices.push(Choice {
            key: key.to_owned(),
            index: 0,
            count,
        });
        0
    }

    /// Does this once for each combination of values of the variables that it reads.
    pub fn variants<T: PartialEq>(&mut self, mut read: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let (choices, muted) = (std::mem::take(&mut self.choices), self.muted);
        let mut all = Vec::new();
        let mut rounds = 0;
        loop {
            let one = read(self);
            if !all.contains(&one) {
                all.push(one);
            }
            rounds += 1;
            while self.choices.last().is_some_and(|c| c.index + 1 >= c.count) {
                self.choices.pop();
            }
            let Some(last) = self.choices.last_mut() else {
                break;
            };
            last.index += 1;
            if !self.may_step() {
                break;
            }
            if rounds == bounds::VARIANTS {
                self.muted = muted;
                self.unknown(Why::TooMuch, "", self.scope.at);
                break;
            }
            // What is within substitutions was told the first time.
            self.muted = true;
        }
        (self.choices, self.muted) = (choices, muted);
        all
    }
}

/// The place of a byte of a text that begins here.
pub fn offset(at: At, text: &str, index: usize) -> At {
    at.after(&text[..index])
}

pub fn unknown(shown: &str, empty: bool, plain: bool) -> Part {
    Part::Unknown {
        shown: shown.to_owned(),
        empty,
        plain,
    }
}

/// The same, of which something is there for certain.
fn surely(word: &Word) -> Word {
    let mut word = word.clone();
    for part in &mut word.parts {
        if let Part::Unknown { empty, .. } = part {
            *empty = false;
        }
    }
    word
}

fn literal(character: char, fields: &mut Fields) -> usize {
    fields.text(character.encode_utf8(&mut [0; 4]));
    0
}

fn glob(character: char, fields: &mut Fields) -> usize {
    fields.push(Part::Glob(character.to_string()));
    0
}

fn escaped(rest: &str, mode: Mode, fields: &mut Fields) -> usize {
    let Some(next) = rest.chars().next() else {
        fields.text("\\");
        return 0;
    };
    if next != '\n' {
        if mode == Mode::Quoted && !matches!(next, '$' | '`' | '"' | '\\') {
            fields.text("\\");
        }
        fields.text(next.encode_utf8(&mut [0; 4]));
    }
    next.len_utf8()
}

fn single(rest: &str, fields: &mut Fields) -> Option<usize> {
    let end = rest.find('\'')?;
    fields.text(&rest[..end]);
    Some(end + 1)
}

fn unquoted_backquotes(inner: &str) -> String {
    let mut program = String::with_capacity(inner.len());
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        let special = |c: &char| matches!(c, '`' | '\\' | '$');
        match character {
            '\\' => program.push(characters.next_if(special).unwrap_or('\\')),
            other => program.push(other),
        }
    }
    program
}

/// Whether `$(inner)` is `$((…))`, and not a substitution that begins with a subshell.
fn is_arithmetic(inner: &str) -> bool {
    let within = inner.strip_prefix('(');
    within.is_some_and(|rest| scan::closing(rest, '(') == Some(rest.len().wrapping_sub(1)))
}

/// The name, the subscript and the rest.
fn split_parameter(inner: &str) -> (&str, Option<&str>, &str) {
    let named = inner
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(inner.len());
    let length = if named == 0 {
        inner.chars().next().map_or(0, char::len_utf8)
    } else {
        named
    };
    let (name, rest) = inner.split_at(length);
    let subscript = rest
        .strip_prefix('[')
        .and_then(|rest| Some((rest, rest.find(']')?)));
    match subscript {
        Some((rest, end)) => (name, Some(&rest[..end]), &rest[end + 1..]),
        None => (name, None, rest),
    }
}

/// Whether what a program prints is one word without meaning to a shell.
fn prints_a_plain_word(program: &str) -> bool {
    let mut words = program.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let plain = [
        "date", "hostname", "id", "nproc", "uname", "whoami", "arch", "tput",
    ];
    let simple = |b: u8| b.is_ascii_alphanumeric() || b" +%-_:.".contains(&b);
    let breaks = program.contains("%n") || program.contains("%t");
    plain.contains(&name) && program.bytes().all(simple) && !breaks
}
