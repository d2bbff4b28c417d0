//! A simple command: its words and redirections are expanded, and it is followed to wherever it leads.

use std::rc::Rc;

use brush_parser::ast::{
    Assignment, AssignmentName, AssignmentValue, CommandPrefixOrSuffixItem as Item, SimpleCommand,
};
use crds::v1alpha1::{CommandShape, SqlStatement};

use super::{
    Assign, At, Command, Why, Word,
    expansion::Mode,
    names::{Process, Value},
    shell::Redirected,
    stream::{self, Stream},
    walker::{Positionals, Walker},
};

/// A variable that is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub name: String,
    pub value: Value,
    /// Whether it is added to what is there.
    pub adds: bool,
}

/// A command whose words are expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub argv: Vec<Word>,
    pub settings: Vec<Setting>,
    pub outputs: Vec<Word>,
    pub input: Stream,
    /// Where what comes in is written, or the command is.
    pub input_at: At,
    /// What is in the file that a process substitution stands for.
    pub file: Option<Stream>,
    pub at: At,
    /// How many of its first words may be nothing, so that the next one is its name.
    pub doubtful: usize,
}

/// The name that stands for a process substitution.
pub const PIECE: &str = "/dev/fd/63";

impl Call {
    pub fn of(argv: Vec<Word>, input: Stream, at: At) -> Self {
        Self {
            argv,
            settings: Vec::new(),
            outputs: Vec::new(),
            input,
            input_at: at,
            file: None,
            at,
            doubtful: 0,
        }
    }

    /// The same with another command, which is a part of this one.
    pub fn with(&self, argv: Vec<Word>) -> Self {
        Self {
            argv,
            settings: Vec::new(),
            outputs: Vec::new(),
            doubtful: 0,
            ..self.clone()
        }
    }

    pub fn arguments(&self) -> &[Word] {
        self.argv.get(1..).unwrap_or_default()
    }
}

impl Walker {
    pub fn simple(&mut self, simple: &SimpleCommand) -> Stream {
        let first = simple
            .word_or_name
            .as_ref()
            .and_then(|word| word.loc.as_ref());
        let prefix = simple.prefix.iter().flat_map(|prefix| &prefix.0);
        let set = prefix.clone().find_map(|item| match item {
            Item::AssignmentWord(_, word) => word.loc.as_ref(),
            _ => None,
        });
        let at = self.place(first.or(set));
        let calls = self.variants(|walker| walker.prepare(simple, at));
        let several = calls.len() > 1;
        let mut printed = Stream::Nothing;
        for call in calls {
            printed = self.run(&call);
        }
        if several && !matches!(printed, Stream::Downloaded | Stream::Decoded) {
            return Stream::Other;
        }
        printed
    }

    fn prepare(&mut self, simple: &SimpleCommand, at: At) -> Call {
        let mut call = Call::of(Vec::new(), self.scope.input.clone(), at);
        let mut redirected = Redirected::default();
        for item in simple.prefix.iter().flat_map(|prefix| &prefix.0) {
            match item {
                Item::AssignmentWord(assignment, _) => {
                    call.settings.push(self.setting(assignment, at));
                }
                Item::IoRedirect(redirect) => self.redirect(redirect, at, &mut redirected),
                Item::Word(_) | Item::ProcessSubstitution(..) => {}
            }
        }
        if let Some(name) = &simple.word_or_name {
            call.argv = self.words(&name.value, self.place(name.loc.as_ref()));
            if self.may_vanish(&name.value) {
                call.doubtful = call.argv.len();
            }
        }
        let declares = call
            .argv
            .first()
            .and_then(Word::as_text)
            .is_some_and(declares);
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.suffix(item, declares, &mut call, &mut redirected);
        }
        if let Some((input, place)) = redirected.input {
            (call.input, call.input_at) = (input, place);
        }
        call.outputs = redirected.outputs;
        call
    }

    /// What follows the name of a command.
    fn suffix(
        &mut self,
        item: &Item,
        declares: bool,
        call: &mut Call,
        redirected: &mut Redirected,
    ) {
        match item {
            Item::AssignmentWord(assignment, _) if declares => {
                call.settings.push(self.setting(assignment, call.at));
            }
            Item::AssignmentWord(set, word) if matches!(set.value, AssignmentValue::Array(_)) => {
                call.argv.push(Word::unknown(word.value.as_str()));
            }
            Item::AssignmentWord(_, word) | Item::Word(word) => {
                let words = self.words(&word.value, self.place(word.loc.as_ref()));
                call.argv.extend(words);
            }
            Item::IoRedirect(redirect) => self.redirect(redirect, call.at, redirected),
            Item::ProcessSubstitution(kind, subshell) => {
                let reads = matches!(kind, brush_parser::ast::ProcessSubstitutionKind::Read);
                let place = self.place(Some(&subshell.loc));
                call.file = Some(self.piece(&subshell.list, place, reads));
                call.argv.push(Word::text(PIECE));
            }
        }
    }

    fn setting(&mut self, assignment: &Assignment, at: At) -> Setting {
        let place = self.place(Some(&assignment.loc));
        let (name, element) = match &assignment.name {
            AssignmentName::VariableName(name) => (name, false),
            AssignmentName::ArrayElementName(name, index) => {
                self.value(index, at, Mode::Quoted);
                (name, true)
            }
        };
        // What it is set to may be what it was before and more.
        let outer = self.setting.replace(name.clone());
        let value = match &assignment.value {
            AssignmentValue::Scalar(word) => {
                let value = self.value(&word.value, place, Mode::Value);
                if element {
                    Value::List(vec![value])
                } else {
                    Value::Scalar(value)
                }
            }
            AssignmentValue::Array(words) => {
                let read =
                    |(_, word): &(_, brush_parser::ast::Word)| self.words(&word.value, place);
                Value::List(words.iter().flat_map(read).collect())
            }
        };
        self.setting = outer;
        Setting {
            name: name.clone(),
            value,
            adds: assignment.append || element,
        }
    }

    /// Remembers what it sets, and follows it.
    pub fn run(&mut self, call: &Call) -> Stream {
        let child = !call.argv.is_empty() && !self.keeps(&call.argv[0]);
        for setting in &call.settings {
            if setting.adds {
                self.append(&setting.name, &setting.value, call.at);
            } else if child {
                self.hand(&setting.name, setting.value.clone(), call.at);
            } else {
                self.assign(&setting.name, setting.value.clone(), call.at);
            }
            if is_run_later(&setting.name)
                && let Value::Scalar(program) = &setting.value
            {
                self.assembled_here(&setting.name, program, call.at);
            }
        }
        if call.argv.is_empty() {
            if !call.settings.is_empty() || !call.outputs.is_empty() {
                self.found(call, &[], None);
            }
            self.write(&call.outputs);
            return Stream::Nothing;
        }
        let rest = call.argv.get(call.doubtful..).unwrap_or_default();
        let named = |word: &Word| word.as_text().is_some_and(|text| !text.starts_with('-'));
        if call.doubtful > 0 && rest.first().is_some_and(named) {
            self.invoke(&call.with(rest.to_vec()));
        }
        self.invoke(call)
    }

    /// Whether the name of a command is a variable that may not be set yet, or only on a condition.
    fn may_vanish(&self, raw: &str) -> bool {
        let name = raw.strip_prefix('$').unwrap_or_default();
        let name = name
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
            .unwrap_or(name);
        self.known.variables.contains_key(name) && !self.certain.contains(name)
    }

    /// Whether what is set before a command stays set for it to read, since no program is started: builtins, functions and aliases.
    fn keeps(&self, name: &Word) -> bool {
        let name = name.as_text().unwrap_or_default();
        declares(name)
            || matches!(
                name,
                "eval" | "." | "source" | "set" | "trap" | "alias" | "read"
            )
            || self.known.functions.contains_key(name)
            || self.known.variables.contains_key(&alias(name))
    }

    /// Follows a command that has a name.
    pub fn invoke(&mut self, call: &Call) -> Stream {
        let name = match name(call) {
            Ok(name) => name,
            Err(why) => {
                self.unknown(why, &call.argv[0].shown(), call.at);
                self.found(call, &[], None);
                // Where it turns out to be nothing, the next word is the command.
                let vanishes = call.argv[0].least().is_some_and(|least| least.is_empty());
                if vanishes && call.argv.len() > 1 {
                    self.invoke(&call.with(call.arguments().to_vec()));
                }
                return Stream::Other;
            }
        };
        let sql = self.sql(&name, call);
        self.found(call, &sql, None);
        self.written(&name, call);
        self.seen.called.insert(name.clone());
        let known = Rc::clone(&self.known);
        if let Some(values) = known.variables.get(&alias(&name)) {
            return self.call_alias(&name, values, call);
        }
        if let Some(bodies) = known.functions.get(&name)
            && !call.argv[0].shown().contains('/')
        {
            let bodies = bodies.values();
            return bodies.fold(Stream::Nothing, |printed, body| {
                printed.then(self.call_function(&name, body, call))
            });
        }
        let printed = self.follow(&name, call);
        printed.unwrap_or_else(|| stream::printed(&name, &call.argv, &call.input))
    }

    /// Where it leads, beyond itself; what that prints where it prints something else.
    fn follow(&mut self, name: &str, call: &Call) -> Option<Stream> {
        self.unwrap(name, call)
            .or_else(|| self.interpret(name, call))
            .or_else(|| self.builtin(name, call))
            .or_else(|| self.remote(name, call))
            .or_else(|| self.searching(name, call))
            .or_else(|| self.carried(name, call))
            .or_else(|| self.filter(name, call))
    }

    /// An alias is what it stands for, with the arguments after it.
    fn call_alias(&mut self, name: &str, values: &[Value], call: &Call) -> Stream {
        if self.scope.calling.iter().any(|outer| outer == name) {
            return Stream::Other;
        }
        for value in values {
            let Value::Scalar(program) = value else {
                continue;
            };
            // After one that ends with a blank the next word may be an alias, too.
            let further = program.shown().ends_with([' ', '\t']);
            for arguments in self.further(call.arguments(), further) {
                let whole = joined(&[std::slice::from_ref(program), &arguments].concat());
                let calling = name.to_owned();
                self.within(
                    call.at,
                    |scope| scope.calling.push(calling),
                    |walker| walker.assembled_here(name, &whole, call.at),
                );
            }
        }
        Stream::Other
    }

    /// What the arguments of an alias may be.
    fn further(&self, arguments: &[Word], expands: bool) -> Vec<Vec<Word>> {
        let mut all = vec![arguments.to_vec()];
        let name = arguments.first().and_then(Word::as_text);
        if let Some(name) = name.filter(|_| expands) {
            let values = self.known.variables.get(&alias(name));
            for value in values.into_iter().flatten() {
                if let Value::Scalar(program) = value {
                    all.push([std::slice::from_ref(program), &arguments[1..]].concat());
                }
            }
        }
        all
    }

    fn call_function(
        &mut self,
        name: &str,
        body: &brush_parser::ast::FunctionBody,
        call: &Call,
    ) -> Stream {
        let words = call.arguments().to_vec();
        // One that calls itself is gone through once more, with whatever it is given.
        let outer = self.scope.calling.iter().filter(|outer| *outer == name);
        let positionals = match outer.count() {
            0 => Some(vec![Positionals {
                words,
                shifted: false,
            }]),
            1 if self.scope.positionals.is_some() && !self.is_given(&words) => None,
            _ => return Stream::Other,
        };
        let walked = self.within(
            call.at,
            |scope| {
                scope.calling.push(name.to_owned());
                scope.through.push(name.to_owned());
                scope.positionals = positionals;
                scope.input = call.input.clone();
                scope.conditional = false;
            },
            |walker| walker.call(body),
        );
        walked.unwrap_or(Stream::Other)
    }

    /// Whether the positional parameters are these words already.
    fn is_given(&self, words: &[Word]) -> bool {
        let all = self.scope.positionals.as_deref();
        matches!(all, Some([one]) if !one.shifted && one.words == words)
    }

    /// Adds the command to what was found.
    pub fn found(&mut self, call: &Call, sql: &[SqlStatement], shape: Option<CommandShape>) {
        let assigns = call.settings.iter().map(|setting| Assign {
            name: setting.name.clone(),
            value: match &setting.value {
                Value::Scalar(word) => word.clone(),
                Value::List(words) => joined(words),
            },
        });
        let command = Command {
            argv: call.argv.clone(),
            assigns: assigns.collect(),
            outputs: call.outputs.clone(),
            folder: self.scope.folder.clone(),
            sql: sql.to_vec(),
            shape,
            at: call.at,
            through: self.scope.through.clone(),
        };
        self.command(command);
    }

    /// Remembers files that it writes, and holds it where it is such a file itself.
    fn written(&mut self, name: &str, call: &Call) {
        self.write(&call.outputs);
        match name {
            "tee" | "cp" | "mv" | "install" | "ln" | "curl" | "wget" | "dd" | "rsync" | "scp" => {
                // A download is written under the last name of its address.
                let files = call
                    .arguments()
                    .iter()
                    .filter(|word| !word.beginning().starts_with('-'));
                let paths: Vec<Word> = files.cloned().collect();
                self.write(&paths);
            }
            _ => {}
        }
        if self.is_own_file(&call.argv[0]) {
            self.unknown(Why::OwnFile, &call.argv[0].shown(), call.at);
        }
    }

    /// Whether what is in a file is only known when it runs: the program writes it, or anybody may.
    pub fn is_own_file(&self, file: &Word) -> bool {
        let path = super::path::normal(&file.shown());
        let open = [
            "/tmp/",
            "/var/tmp/",
            "/dev/shm/",
            "/dev/fd/",
            "/dev/stdin",
            "/proc/",
        ];
        open.iter().any(|folder| path.starts_with(folder))
            || self.known.written.contains(last(&path))
    }

    /// Follows a program that is put together from words and given to a shell of its own.
    pub fn assembled(&mut self, through: &str, program: &Word, at: At) -> Stream {
        self.scope.process.push(Process { at, fresh: true });
        let printed = self.assembled_here(through, program, at);
        self.scope.process.pop();
        printed
    }

    /// Follows a program that is put together from words and run by the same shell, as `eval` does.
    pub fn assembled_here(&mut self, through: &str, program: &Word, at: At) -> Stream {
        if program.is_open() {
            self.unknown(Why::DynamicProgram, &program.shown(), at);
            // What is written out in it is looked at nevertheless.
            if program.parts.len() == 1 {
                return Stream::Other;
            }
        }
        let text = placed(program);
        let walked = self.within(
            at,
            |scope| {
                scope.through.push(through.to_owned());
                scope.loose = true;
            },
            |walker| walker.program(&text, at),
        );
        walked.unwrap_or(Stream::Other)
    }

    /// Follows a command that is a part of this one.
    pub fn inner(&mut self, through: &str, call: &Call, argv: &[Word]) -> Stream {
        if argv.is_empty() {
            return Stream::Other;
        }
        let inner = call.with(argv.to_vec());
        let walked = self.within(
            call.at,
            |scope| scope.through.push(through.to_owned()),
            |walker| walker.invoke(&inner),
        );
        walked.unwrap_or(Stream::Other)
    }
}

/// The name of a command without its folder.
fn name(call: &Call) -> Result<String, Why> {
    let word = &call.argv[0];
    if word.has_glob() {
        return Err(Why::DynamicName);
    }
    let name = match word.known() {
        Some(known) => last(&known).to_owned(),
        // `$JAVA_HOME/bin/java` is java, wherever it is.
        None => match word.parts.last() {
            Some(super::Part::Text(end)) if end.contains('/') && !end.ends_with('/') => {
                last(end).to_owned()
            }
            _ => return Err(Why::DynamicName),
        },
    };
    match name {
        name if !name.is_ascii() => Err(Why::Hidden),
        name if name.contains('$') => Err(Why::DynamicName),
        name => Ok(name),
    }
}

/// A program with a variable that nobody knows for each value that nobody knows.
pub fn placed(program: &Word) -> String {
    let mut text = String::new();
    for part in &program.parts {
        match part {
            super::Part::Text(known) | super::Part::Glob(known) => text.push_str(known),
            super::Part::Unknown { plain: true, .. } => text.push('0'),
            super::Part::Unknown { .. } => text.push_str("${PILOTHOUSE_UNKNOWN}"),
        }
    }
    text
}

/// Words as one, with blanks between them.
pub fn joined(words: &[Word]) -> Word {
    let mut whole = Word::default();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            whole.push(super::Part::Text(" ".to_owned()));
        }
        whole.extend(word);
    }
    whole
}

/// Builtins whose arguments set variables.
fn declares(name: &str) -> bool {
    matches!(
        name,
        "export" | "declare" | "typeset" | "local" | "readonly"
    )
}

/// Variables whose values are run by shells and programs.
fn is_run_later(name: &str) -> bool {
    name.ends_with("_COMMAND")
        || name.ends_with("PAGER")
        || name.ends_with("EDITOR")
        || name == "VISUAL"
}

/// The name under which an alias is remembered; no variable has one like it.
pub fn alias(name: &str) -> String {
    format!("alias {name}")
}

/// A path without its folder.
pub fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
