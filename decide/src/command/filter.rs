//! Filters whose programs can start commands and write files: `awk` and `sed`.

use super::{Why, Word, option, scan, simple::Call, stream::Stream, walker::Walker};

/// A piece of a program of awk.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    Word(String),
    Sign(char),
}

/// A program that a program of awk starts.
enum Started<'a> {
    Known(&'a str),
    Unknown,
}

impl Walker {
    pub fn filter(&mut self, name: &str, call: &Call) -> Option<Stream> {
        match name {
            "awk" | "gawk" | "mawk" | "nawk" | "original-awk" => self.awk(call),
            "sed" | "gsed" => self.sed(call),
            _ => {}
        }
        None
    }

    fn awk(&mut self, call: &Call) {
        let words = call.arguments();
        let given = option::values(words, &["-e", "--source"]);
        let files = option::values(words, &["-f", "--file"]);
        if files
            .iter()
            .any(|file| self.is_own_file(file) || file.shown() == "-")
        {
            self.unknown(Why::OwnFile, &files[0].shown(), call.at);
        }
        let valued = [
            "-F",
            "-v",
            "-f",
            "-e",
            "-i",
            "-l",
            "--assign",
            "--field-separator",
        ];
        let first = words
            .get(option::leading(words, &valued))
            .filter(|_| files.is_empty() && given.is_empty());
        for program in given.iter().chain(first) {
            let text = program.shown();
            if program.is_open()
                && (text.contains("system")
                    || text.contains('|')
                    || text.contains('>')
                    || program.parts.len() == 1)
            {
                self.unknown(Why::DynamicProgram, &text, call.at);
            }
            self.awk_program(&tokens(&text), &text, call);
        }
    }

    fn awk_program(&mut self, tokens: &[Token], text: &str, call: &Call) {
        for (at, token) in tokens.iter().enumerate() {
            if let (Token::Sign('>'), Some(Token::Text(file))) = (token, tokens.get(at + 1)) {
                let outputs = vec![Word::text(file.as_str())];
                let awk = call.with(vec![Word::text("awk")]);
                self.found(&Call { outputs, ..awk }, &[], None);
            }
            match started(tokens, at) {
                Some(Started::Known(program)) => {
                    self.assembled("awk", &Word::text(program), call.at);
                }
                Some(Started::Unknown) => self.unknown(Why::DynamicProgram, text, call.at),
                None => {}
            }
        }
    }

    fn sed(&mut self, call: &Call) {
        let words = call.arguments();
        let given = option::values(words, &["-e", "--expression"]);
        let files = option::values(words, &["-f", "--file"]);
        if files.iter().any(|file| self.is_own_file(file)) {
            self.unknown(Why::OwnFile, &files[0].shown(), call.at);
        }
        let valued = ["-e", "-f", "-l", "--expression", "--file"];
        let first = words
            .get(option::leading(words, &valued))
            .filter(|_| files.is_empty() && given.is_empty());
        for program in given.iter().chain(first) {
            self.sed_program(&program.shown(), call);
        }
    }

    fn sed_program(&mut self, program: &str, call: &Call) {
        let mut rest = program;
        while let Some(command) = after_address(rest) {
            let letter = command.chars().next().unwrap_or(' ');
            let body = command.get(letter.len_utf8()..).unwrap_or_default();
            let line = body.split('\n').next().unwrap_or_default();
            rest = &body[line.len()..];
            match letter {
                'e' if line.trim().is_empty() => self.unknown(Why::InputProgram, program, call.at),
                'e' => drop(self.assembled("sed", &Word::text(line.trim()), call.at)),
                'w' | 'W' => self.sed_writes(line.trim(), call),
                's' | 'y' => {
                    let (flags, after) = substitution(body);
                    rest = after;
                    if flags.contains('e') && letter == 's' && !flags.contains('w') {
                        self.unknown(Why::DynamicProgram, program, call.at);
                    }
                    if let Some((before, file)) = flags.split_once('w') {
                        self.sed_writes(file.trim(), call);
                        if before.contains('e') {
                            self.unknown(Why::DynamicProgram, program, call.at);
                        }
                    }
                }
                'a' | 'i' | 'c' | 'r' | 'R' | 'b' | 't' | 'T' | ':' | '#' => {}
                _ => rest = body,
            }
        }
    }

    fn sed_writes(&mut self, file: &str, call: &Call) {
        let writing = Call {
            outputs: vec![Word::text(file)],
            ..call.with(vec![Word::text("sed")])
        };
        self.found(&writing, &[], None);
    }
}

/// Whether a program of awk starts another here, and which, where that is written out.
fn started(tokens: &[Token], at: usize) -> Option<Started<'_>> {
    let sign = |at: usize, wanted: char| tokens.get(at) == Some(&Token::Sign(wanted));
    let before = at.checked_sub(1).map(|at| &tokens[at]);
    let (after, then) = (tokens.get(at + 1), tokens.get(at + 2));
    match &tokens[at] {
        Token::Word(word) if word == "system" => Some(match (then, sign(at + 3, ')')) {
            (Some(Token::Text(program)), true) => Started::Known(program),
            _ => Started::Unknown,
        }),
        // `|` before or after a text, and never `||`.
        Token::Sign('|') if sign(at + 1, '|') || before == Some(&Token::Sign('|')) => None,
        Token::Sign('|') => Some(match (before, after, then) {
            (Some(Token::Text(program)), Some(Token::Word(word)), _) if word == "getline" => {
                Started::Known(program)
            }
            (_, Some(Token::Text(_)), Some(Token::Word(_) | Token::Text(_))) => Started::Unknown,
            (_, Some(Token::Text(program)), _) => Started::Known(program),
            _ => Started::Unknown,
        }),
        Token::Sign('@') => Some(Started::Unknown),
        _ => None,
    }
}

/// The next command of sed, without what says to which lines it applies; none at the end.
fn after_address(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches([' ', '\t', '\n', ';', '{', '}']);
    loop {
        let first = rest.chars().next()?;
        rest = match first {
            '0'..='9' | '$' | ',' | '!' | '~' | '+' | ' ' | '{' => &rest[1..],
            '/' => {
                &rest[1 + scan::until(&rest[1..], '/')
                    .map_or(rest.len() - 1, |(_, length)| length)..]
            }
            '\\' => {
                let end = rest[1..].chars().next()?;
                let body = &rest[1 + end.len_utf8()..];
                &body[scan::until(body, end).map_or(body.len(), |(_, length)| length)..]
            }
            'I' | 'M' if text.len() > rest.len() => &rest[1..],
            _ => return Some(rest),
        };
    }
}

/// The flags of `s/a/b/flags`, and what comes after them.
fn substitution(body: &str) -> (&str, &str) {
    let Some(end) = body.chars().next() else {
        return ("", "");
    };
    let mut rest = &body[end.len_utf8()..];
    for _ in 0..2 {
        rest = scan::until(rest, end).map_or("", |(_, length)| &rest[length..]);
    }
    let writes = rest
        .find('w')
        .is_some_and(|at| rest[..at].bytes().all(|b| b.is_ascii_alphanumeric()));
    let ends: &[char] = if writes {
        &['\n']
    } else {
        &['\n', ';', '}', ' ']
    };
    rest.split_at(rest.find(ends).unwrap_or(rest.len()))
}

/// The words, texts and signs of a program of awk, without its regular expressions.
fn tokens(text: &str) -> Vec<Token> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        match first {
            '"' => {
                let (inner, length) = scan::until(after, '"').unwrap_or((after, after.len()));
                found.push(Token::Text(scan::unescape(inner)));
                rest = &after[length..];
            }
            '/' if begins_pattern(found.last()) => {
                let length = scan::until(after, '/').map_or(after.len(), |(_, length)| length);
                found.push(Token::Word("pattern".to_owned()));
                rest = &after[length..];
            }
            '#' => rest = &after[after.find('\n').unwrap_or(after.len())..],
            'a'..='z' | 'A'..='Z' | '_' | '0'..='9' | '$' => {
                let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let length = after.find(|c| !name(c)).unwrap_or(after.len());
                found.push(Token::Word(rest[..=length].to_owned()));
                rest = &after[length..];
            }
            sign => {
                if !sign.is_whitespace() {
                    found.push(Token::Sign(sign));
                }
                rest = after;
            }
        }
    }
    found
}

/// Whether a slash begins a regular expression here, and does not divide.
fn begins_pattern(before: Option<&Token>) -> bool {
    !matches!(
        before,
        Some(Token::Word(_) | Token::Text(_) | Token::Sign(')' | ']'))
    )
}
