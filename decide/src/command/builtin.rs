//! Builtins of the shell that run text, set variables or change the positional parameters.

use super::{
    At, Why, Word,
    names::Value,
    option,
    simple::{self, Call, joined, last},
    stream::{self, Stream},
    walker::{Positionals, Walker},
    wrapper,
};

impl Walker {
    /// Follows a builtin.
    pub fn builtin(&mut self, name: &str, call: &Call) -> Option<Stream> {
        let words = call.arguments();
        match name {
            "eval" => {
                let program = joined(words);
                let text = program.known().unwrap_or_default();
                if program.is_known() && text.trim().is_empty() {
                    return Some(Stream::Nothing);
                }
                Some(self.assembled_here("eval", &program, call.at))
            }
            "source" | "." => Some(self.source(call)),
            "cd" | "pushd" => {
                self.go(call);
                Some(Stream::Nothing)
            }
            "trap" => self.trap(call),
            "alias" => Some(self.aliases(call)),
            "set" => Some(self.set(call)),
            "shift" => {
                let all = self.scope.positionals.iter_mut().flatten();
                all.for_each(|one| one.shifted = true);
                Some(Stream::Nothing)
            }
            "read" => Some(self.read_variables(call)),
            "mapfile" | "readarray" => Some(self.map_file(call)),
            "getopts" => Some(self.option_variable(call)),
            "printf" => self.print_into(call),
            "declare" | "typeset" | "local" | "export" | "readonly" => Some(self.declare(call)),
            _ => {
                self.doubtful(name, call);
                None
            }
        }
    }

    /// Builtins that change what names mean, or may run what an index substitutes.
    fn doubtful(&mut self, name: &str, call: &Call) {
        let words = call.arguments();
        let shown = || joined(&call.argv).shown();
        match name {
            "unset" => {
                self.indexes(words, call.at);
                self.unset(words, call.at);
            }
            "let" | "test" | "[" | "wait" => self.indexes(words, call.at),
            "enable" | "bind" if words.iter().any(|w| matches!(w.beginning(), "-f" | "-x")) => {
                self.unknown(Why::OtherLanguage, &shown(), call.at);
            }
            "hash" if words.iter().any(|word| word.beginning() == "-p") => {
                self.unknown(Why::DynamicName, &shown(), call.at);
            }
            _ => {}
        }
    }

    /// What is taken away is nothing from then on.
    fn unset(&mut self, words: &[Word], at: At) {
        if words.iter().any(|word| option::has_letter(word, 'f')) {
            return;
        }
        for name in words.iter().filter_map(Word::as_text) {
            if self.known.variables.contains_key(name) {
                self.assign(name, Value::Scalar(Word::text("")), at);
            }
        }
    }

    /// What looks like arithmetic may run what an index substitutes.
    fn indexes(&mut self, words: &[Word], at: At) {
        for word in words {
            let text = word.shown();
            if text.contains("[$(") || text.contains("[`") {
                self.unknown(Why::DynamicProgram, &text, at);
            }
        }
    }

    /// What an alias stands for is followed where it is given, and where it is used.
    fn aliases(&mut self, call: &Call) -> Stream {
        let named = |word: &&Word| !word.is_known() && alias(word).is_none();
        if let Some(word) = call.arguments().iter().find(named) {
            self.unknown(Why::DynamicName, &word.shown(), call.at);
        }
        for (name, program) in call.arguments().iter().filter_map(alias) {
            self.assembled_here("alias", &program, call.at);
            self.assign(&simple::alias(&name), Value::Scalar(program), call.at);
        }
        Stream::Nothing
    }

    fn option_variable(&mut self, call: &Call) -> Stream {
        if let Some(variable) = call.arguments().get(1).and_then(Word::as_text) {
            self.assign(variable, Value::Scalar(Word::text("x")), call.at);
            let argument = Word::unknown("$OPTARG");
            self.assign("OPTARG", Value::Scalar(argument), call.at);
        }
        Stream::Nothing
    }

    /// Remembers the folder that the program goes to.
    fn go(&mut self, call: &Call) {
        let words = call.arguments();
        let to = words.get(option::leading(words, &[])).map(Word::known);
        let before = self.scope.folder.take();
        self.scope.folder = match to {
            None => Some("~".to_owned()),
            Some(Some(to)) if to.starts_with(['/', '~']) => Some(to),
            Some(Some(to)) => before.map(|before| format!("{before}/{to}")),
            Some(None) => None,
        };
        if self
            .scope
            .folder
            .as_ref()
            .is_some_and(|folder| folder.len() > 4096)
        {
            self.scope.folder = None;
        }
    }

    fn trap(&mut self, call: &Call) -> Option<Stream> {
        let words = call.arguments();
        let program = words.get(option::leading(words, &[]))?;
        let known = program.known().unwrap_or_else(|| "$".to_owned());
        let resets = known.is_empty() || known == "-" || known.bytes().all(|b| b.is_ascii_digit());
        if !resets && words.len() > 1 {
            self.assembled_here("trap", program, call.at);
        }
        Some(Stream::Nothing)
    }

    /// `set -- a b` sets the positional parameters.
    fn set(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        let start = option::leading(words, &["-o", "+o"]);
        let words = words.get(start..).unwrap_or_default().to_vec();
        let explicit = start > 0 && call.arguments()[start - 1].beginning() == "--";
        if words.is_empty() && !explicit {
            return Stream::Nothing;
        }
        let one = Positionals {
            words,
            shifted: false,
        };
        let before = self.scope.positionals.take();
        self.scope.positionals = match before {
            // What is only set on a condition may have been something else before.
            None if self.scope.conditional => None,
            Some(mut all) if all.len() < 16 => {
                all.push(one);
                Some(all)
            }
            Some(_) => None,
            None => Some(vec![one]),
        };
        Stream::Nothing
    }

    fn read_variables(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        self.indexes(words, call.at);
        let valued = ["-a", "-d", "-i", "-n", "-N", "-p", "-t", "-u"];
        let start = option::leading(words, &valued);
        let named = words.get(start..).unwrap_or_default().to_vec();
        let lists = option::values(words, &["-a"]);
        let mut values = call.input.words();
        if values.is_empty() {
            values.push(Word::unknown("read"));
        }
        for name in named
            .iter()
            .chain(&lists)
            .filter_map(Word::as_text)
            .chain(["REPLY"])
        {
            for value in values.iter().take(super::bounds::VALUES) {
                let shown = if value.is_known() {
                    value.clone()
                } else {
                    Word::unknown(format!("${name}"))
                };
                self.assign(name, Value::Scalar(shown), call.at);
            }
        }
        Stream::Nothing
    }

    fn map_file(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        let start = option::leading(words, &["-d", "-n", "-O", "-s", "-u", "-C", "-c"]);
        let name = words
            .get(start)
            .and_then(Word::as_text)
            .unwrap_or("MAPFILE")
            .to_owned();
        for program in option::values(words, &["-C"]) {
            self.assembled_here("mapfile -C", &program, call.at);
        }
        self.assign(&name, Value::List(call.input.words()), call.at);
        Stream::Nothing
    }

    /// `printf -v NAME FORMAT …`.
    fn print_into(&mut self, call: &Call) -> Option<Stream> {
        let words = call.arguments();
        let [flag, name, rest @ ..] = words else {
            return None;
        };
        if flag.as_text() != Some("-v") {
            return None;
        }
        self.indexes(words, call.at);
        let printed = stream::formatted(rest);
        let value = printed.map_or_else(|| Word::unknown(name.shown()), Word::text);
        if let Some(name) = name.as_text() {
            self.assign(name, Value::Scalar(value), call.at);
        }
        Some(Stream::Nothing)
    }

    fn declare(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        self.indexes(words, call.at);
        let refers = words.iter().any(|word| option::has_letter(word, 'n'));
        let exports = last(&call.argv[0].shown()) == "export";
        if refers && !exports {
            self.unknown(Why::DynamicProgram, &joined(&call.argv).shown(), call.at);
        }
        let hands = exports || words.iter().any(|word| option::has_letter(word, 'x'));
        if hands {
            let set = call.settings.iter().map(|setting| setting.name.clone());
            let named = words.iter().map(Word::beginning);
            let named = named.filter_map(|word| Some(word.split('=').next()?.to_owned()));
            self.seen.exported.extend(set.chain(named));
        }
        for setting in &call.settings {
            if let Value::Scalar(value) = &setting.value {
                self.indexes(std::slice::from_ref(value), call.at);
            }
        }
        for (name, value) in words.iter().filter_map(wrapper::set) {
            self.assign(name, Value::Scalar(value), call.at);
        }
        Stream::Nothing
    }
}

/// The name of an alias and what it stands for.
fn alias(word: &Word) -> Option<(String, Word)> {
    let (name, value) = word.beginning().split_once('=')?;
    let mut program = Word::text(value);
    word.parts[1..]
        .iter()
        .for_each(|part| program.push(part.clone()));
    Some((name.to_owned(), program))
}
