//! Commands that run another for each of many things: `find`, `xargs`, `parallel`.

use super::{
    Why, Word, option,
    simple::{Call, joined},
    stream::{self, Stream},
    walker::Walker,
};

/// Options of parallel that take a value in a word of their own.
const PARALLEL: &[&str] = &[
    "-j",
    "-a",
    "-n",
    "-N",
    "-L",
    "-d",
    "-I",
    "-S",
    "--jobs",
    "--sshlogin",
    "--joblog",
    "--delay",
    "--timeout",
];

impl Walker {
    pub fn searching(&mut self, name: &str, call: &Call) -> Option<Stream> {
        match name {
            "find" | "gfind" | "bfs" => {
                self.find(call);
                None
            }
            "fd" | "fdfind" => {
                let words = call.arguments();
                let runs = |word: &Word| {
                    matches!(
                        word.as_text(),
                        Some("-x" | "-X" | "--exec" | "--exec-batch")
                    )
                };
                let at = words.iter().position(runs)?;
                let inner = replaced(&words[at + 1..], "{}", &Word::text("."));
                Some(self.inner("fd -x", call, &inner))
            }
            "xargs" => Some(self.xargs(call)),
            "parallel" | "rush" => Some(self.parallel(call)),
            "entr" | "inotifywait" | "incrontab" | "fswatch" => {
                let words = call.arguments();
                let start = option::leading(words, &[]);
                let inner = words.get(start..).unwrap_or_default();
                (name == "entr").then(|| self.inner("entr", call, inner))
            }
            "run-parts" => call.arguments().last().and_then(|folder| {
                let file = Word::text(format!("{}/x", folder.shown()));
                self.is_own_file(&file).then(|| {
                    self.unknown(Why::OwnFile, &folder.shown(), call.at);
                    Stream::Other
                })
            }),
            _ => None,
        }
    }

    /// What `find` runs gets what it finds; at worst where it begins.
    fn find(&mut self, call: &Call) {
        let words = call.arguments();
        let starts = stream::find_starts(words);
        let here = [Word::text(".")];
        let starts = if starts.is_empty() { &here[..] } else { starts };
        let runs = |word: &Word| {
            matches!(
                word.as_text(),
                Some("-exec" | "-execdir" | "-ok" | "-okdir")
            )
        };
        let mut rest = words;
        while let Some(at) = rest.iter().position(runs) {
            let through = format!("find {}", rest[at].shown());
            let inner = &rest[at + 1..];
            let ends = |word: &Word| matches!(word.as_text(), Some(";" | "+"));
            let length = inner.iter().position(ends).unwrap_or(inner.len());
            if inner
                .first()
                .is_some_and(|word| word.shown().contains("{}"))
            {
                self.unknown(Why::DynamicName, &joined(&call.argv).shown(), call.at);
            }
            for start in starts {
                self.inner(&through, call, &replaced(&inner[..length], "{}", start));
            }
            rest = &inner[length..];
        }
        let writes = option::values(words, &["-fprint", "-fprintf", "-fprint0", "-fls"]);
        if !writes.is_empty() {
            let writing = Call {
                outputs: writes,
                ..call.with(vec![Word::text("find")])
            };
            self.found(&writing, &[], None);
        }
    }

    fn xargs(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        let valued = [
            "-a",
            "-d",
            "-E",
            "-I",
            "-L",
            "-n",
            "-P",
            "-s",
            "--arg-file",
            "--delimiter",
            "--max-args",
            "--max-procs",
            "--max-lines",
            "--replace",
            "--max-chars",
            "--process-slot-var",
            "-J",
            "-R",
        ];
        let start = option::leading(words, &valued);
        let options = &words[..start.min(words.len())];
        let inner = words.get(start..).unwrap_or_default();
        if inner.is_empty() {
            return Stream::Other;
        }
        let marks = option::values(options, &["-I", "--replace", "-J"]);
        let braces = options
            .iter()
            .any(|word| matches!(word.beginning(), "-i" | "--replace"));
        let mark = marks
            .first()
            .map(Word::shown)
            .or(braces.then(|| "{}".to_owned()));
        self.repeated("xargs", call, inner, mark.as_deref())
    }

    fn parallel(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        let separator = words
            .iter()
            .position(|word| word.beginning().starts_with(":::"));
        let (before, given) = words.split_at(separator.unwrap_or(words.len()));
        let start = option::leading(before, PARALLEL);
        let template = before.get(start..).unwrap_or_default();
        let mut values: Vec<Word> = given.iter().skip(1).cloned().collect();
        if separator.is_none() {
            values = call.input.words();
        }
        if template.is_empty() {
            for value in &values {
                self.assembled("parallel", value, call.at);
            }
            return Stream::Other;
        }
        // Its words are read by a shell again.
        let text = joined(template);
        let marked = text.shown().contains("{}");
        for value in values.iter().take(super::bounds::VALUES) {
            let text = if marked {
                joined(&replaced(template, "{}", value))
            } else {
                joined(&[text.clone(), value.clone()])
            };
            // A value is quoted for the shell; only where it is the command does it matter that nobody knows it.
            let text = if value.is_known() {
                text
            } else {
                joined(&replaced(template, "{}", &Word::text("x")))
            };
            self.assembled("parallel", &text, call.at);
        }
        Stream::Other
    }

    /// Runs a command for each word of the input.
    fn repeated(
        &mut self,
        through: &str,
        call: &Call,
        inner: &[Word],
        mark: Option<&str>,
    ) -> Stream {
        if let (Stream::Text(text), None) = (&call.input, mark) {
            let words = text.split_ascii_whitespace().map(Word::text);
            let argv: Vec<Word> = inner.iter().cloned().chain(words).collect();
            let once = Call {
                input: Stream::Nothing,
                ..call.with(Vec::new())
            };
            return self.inner(through, &once, &argv);
        }
        let mut values = call.input.words();
        values.truncate(super::bounds::VALUES);
        for value in &mut values {
            // What comes in is something, though nobody knows what.
            if !value.is_known() {
                value.parts = vec![super::expansion::unknown("…", false, false)];
            }
        }
        if values.is_empty() {
            values.push(Word::default());
        }
        let once = call.with(Vec::new());
        for value in &values {
            let argv = match mark {
                Some(mark) => replaced(inner, mark, value),
                None if value.parts.is_empty() => inner.to_vec(),
                None => [inner, std::slice::from_ref(value)].concat(),
            };
            let one = Call {
                input: Stream::Nothing,
                ..once.clone()
            };
            self.inner(through, &one, &argv);
        }
        Stream::Other
    }
}

/// The same words with something else for a mark.
fn replaced(words: &[Word], mark: &str, value: &Word) -> Vec<Word> {
    let replace = |word: &Word| {
        let mut changed = Word::default();
        for part in &word.parts {
            match part {
                super::Part::Text(text) if text.contains(mark) && !mark.is_empty() => {
                    for (index, piece) in text.split(mark).enumerate() {
                        if index > 0 {
                            changed.extend(value);
                        }
                        if !piece.is_empty() {
                            changed.push(super::Part::Text(piece.to_owned()));
                        }
                    }
                }
                part => changed.push(part.clone()),
            }
        }
        changed
    };
    words.iter().map(replace).collect()
}
