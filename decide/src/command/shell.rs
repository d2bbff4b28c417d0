//! The walk over a program of the shell: every command of it, wherever it stands, with what comes in and goes out.

use std::rc::Rc;

use brush_parser::{
    ParserOptions, SourceSpan, ast,
    ast::{
        CompoundCommand, CompoundList, IoFileRedirectKind as Kind, IoFileRedirectTarget as Target,
        SourceLocation as _,
    },
    parse_tokens, uncached_tokenize_str,
};
use crds::v1alpha1::CommandShape;

use super::{
    At, Command, Why, Word, bounds, delimiters,
    expansion::Mode,
    names::{Process, Value},
    stream::Stream,
    subshells,
    walker::Walker,
};

/// What redirections change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redirected {
    /// What comes in instead, and where that is written.
    pub input: Option<(Stream, At)>,
    /// Files that are written.
    pub outputs: Vec<Word>,
}

/// Reads a program, or says why that cannot be.
pub fn parse(text: &str, roomy: bool) -> Result<ast::Program, Option<Why>> {
    if text.len() > bounds::LENGTH {
        return Err(Some(Why::TooLong));
    }
    let depth = bounds::depth(text);
    if bounds::is_too_deep(depth) {
        return Err(Some(Why::TooDeep));
    }
    if !roomy && !bounds::is_shallow(depth) {
        return Err(None);
    }
    if !delimiters::are_plain(text) {
        return Err(Some(Why::Unparsed));
    }
    let options = ParserOptions::default();
    let tokens = uncached_tokenize_str(text, &options.tokenizer_options());
    let tokens = subshells::apart(tokens.map_err(|_| Why::Unparsed)?);
    let nesting = bounds::nesting(&tokens).ok_or(Why::TooDeep)?;
    if !roomy && !bounds::is_shallow(nesting) {
        return Err(None);
    }
    Ok(parse_tokens(&tokens, &options).map_err(|_| Why::Unparsed)?)
}

impl Walker {
    /// Walks over a program, and gives what it prints.
    pub fn program(&mut self, text: &str, at: At) -> Stream {
        if !self.may_parse(text, at) {
            return Stream::Other;
        }
        self.hidden(text, at);
        match parse(text, self.roomy) {
            Ok(program) => {
                let outer = std::mem::replace(&mut self.scope.at, at);
                let lists = program.complete_commands.iter();
                let printed =
                    lists.fold(Stream::Nothing, |before, list| before.then(self.list(list)));
                self.scope.at = outer;
                printed
            }
            Err(Some(why)) => {
                self.unknown(why, text, at);
                Stream::Other
            }
            Err(None) => {
                self.cramp();
                Stream::Other
            }
        }
    }

    /// Says where characters do not show.
    fn hidden(&mut self, text: &str, at: At) {
        let hidden = |c: char| {
            matches!(c, '\0'..='\x08' | '\x0b'..='\x0c' | '\x0e'..='\x1f' | '\x7f'
                | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        };
        if let Some(index) = text.find(hidden) {
            self.unknown(Why::Hidden, "", super::expansion::offset(at, text, index));
        }
    }

    /// Walks over the program of a substitution, and gives what it prints.
    pub fn substituted(&mut self, text: &str, at: At) -> Stream {
        let walked = self.within(
            at,
            |scope| {
                scope.through.push("$()".to_owned());
                scope.process.push(Process { at, fresh: false });
            },
            |walker| walker.program(text, at),
        );
        walked.unwrap_or(Stream::Other)
    }

    pub fn place(&self, span: Option<&SourceSpan>) -> At {
        span.map_or(self.scope.at, |span| {
            self.at(span.start.line, span.start.column)
        })
    }

    /// A place in the text that is being read.
    fn at(&self, line: usize, column: usize) -> At {
        // Where quotes are taken off, only the line is known.
        let column = if self.scope.loose && line <= 1 {
            1
        } else {
            column
        };
        self.scope.at.plus(line, column)
    }

    fn list(&mut self, list: &CompoundList) -> Stream {
        let mut printed = Stream::Nothing;
        for ast::CompoundListItem(item, _) in &list.0 {
            if self.is_exhausted() {
                break;
            }
            printed = printed.then(self.pipeline(&item.first));
            let conditional = std::mem::replace(&mut self.scope.conditional, true);
            for more in &item.additional {
                let (ast::AndOr::And(pipeline) | ast::AndOr::Or(pipeline)) = more;
                printed = printed.then(self.pipeline(pipeline));
            }
            self.scope.conditional = conditional;
        }
        printed
    }

    fn pipeline(&mut self, pipeline: &ast::Pipeline) -> Stream {
        let outer = self.scope.input.clone();
        let mut printed = Stream::Nothing;
        for (index, command) in pipeline.seq.iter().enumerate() {
            if index > 0 {
                self.scope.input = printed;
            }
            // Each part is a process of its own, in most shells the last one, too.
            printed = if pipeline.seq.len() > 1 {
                let at = self.place(command.location().as_ref());
                self.split_off(at, |walker| walker.one(command))
            } else {
                self.one(command)
            };
        }
        self.scope.input = outer;
        printed
    }

    /// Goes on in a process that has all that was set before, and of which nothing stays.
    fn split_off<T>(&mut self, at: At, walk: impl FnOnce(&mut Self) -> T) -> T {
        let (folder, positionals) = (self.scope.folder.clone(), self.scope.positionals.clone());
        self.scope.process.push(Process { at, fresh: false });
        let done = walk(self);
        self.scope.process.pop();
        (self.scope.folder, self.scope.positionals) = (folder, positionals);
        done
    }

    fn one(&mut self, command: &ast::Command) -> Stream {
        match command {
            ast::Command::Simple(simple) => self.simple(simple),
            ast::Command::Function(function) => self.define(function),
            ast::Command::Compound(compound, redirects) => {
                self.redirected(redirects.as_ref(), |walker| walker.compound(compound))
            }
            ast::Command::ExtendedTest(test, redirects) => {
                self.redirected(redirects.as_ref(), |walker| walker.test(&test.expr))
            }
        }
    }

    fn redirected(
        &mut self,
        redirects: Option<&ast::RedirectList>,
        walk: impl FnOnce(&mut Self) -> Stream,
    ) -> Stream {
        let redirects = redirects.map_or(&[][..], |list| &list.0);
        let at = self.scope.at;
        let variants = self.variants(|walker| {
            let mut all = Redirected::default();
            for one in redirects {
                walker.redirect(one, at, &mut all);
            }
            all
        });
        let outer = self.scope.input.clone();
        for variant in variants {
            if let Some((input, _)) = variant.input {
                self.scope.input = input;
            }
            if !variant.outputs.is_empty() {
                self.write(&variant.outputs);
                self.command(Command {
                    argv: Vec::new(),
                    assigns: Vec::new(),
                    outputs: variant.outputs,
                    folder: self.scope.folder.clone(),
                    sql: Vec::new(),
                    shape: None,
                    at,
                    through: self.scope.through.clone(),
                });
            }
        }
        let printed = walk(self);
        self.scope.input = outer;
        printed
    }

    /// Remembers files that are written.
    pub fn write(&mut self, files: &[Word]) {
        for file in files {
            let name = file.known().unwrap_or_else(|| file.shown());
            let name = name.rsplit('/').next().unwrap_or_default();
            if !name.is_empty() && name != "null" && self.seen.written.len() < bounds::VALUES {
                self.seen.written.insert(name.to_owned());
            }
        }
    }

    pub fn redirect(&mut self, redirect: &ast::IoRedirect, at: At, into: &mut Redirected) {
        match redirect {
            ast::IoRedirect::File(fd, kind, target) => {
                self.file(*fd, kind, target, at, into);
            }
            ast::IoRedirect::OutputAndError(file, _) => {
                let place = self.place(file.loc.as_ref());
                into.outputs.extend(self.words(&file.value, place));
            }
            ast::IoRedirect::HereString(fd, word) => {
                let place = self.place(word.loc.as_ref());
                let mut text = self.value(&word.value, place, Mode::Value);
                text.push(super::Part::Text("\n".to_owned()));
                if fd.is_none_or(|fd| fd == 0) {
                    into.input = Some((Stream::of(text), place));
                }
            }
            ast::IoRedirect::HereDocument(fd, here) => {
                let place = self.place(here.doc.loc.as_ref());
                let text = if here.requires_expansion {
                    self.value(&here.doc.value, place, Mode::Quoted)
                } else {
                    Word::text(here.doc.value.as_str())
                };
                if fd.is_none_or(|fd| fd == 0) {
                    into.input = Some((Stream::of(text), place));
                }
            }
        }
    }

    fn file(
        &mut self,
        fd: Option<i32>,
        kind: &Kind,
        target: &Target,
        at: At,
        into: &mut Redirected,
    ) {
        let reads = matches!(kind, Kind::Read | Kind::DuplicateInput);
        let standard = fd.is_none_or(|fd| fd == 0);
        match target {
            Target::Filename(file) => {
                let place = self.place(file.loc.as_ref());
                let words = self.words(&file.value, place);
                if !reads {
                    into.outputs.extend(words);
                } else if standard && !words.iter().any(is_standard_input) {
                    into.input = Some((Stream::File, at));
                }
            }
            Target::ProcessSubstitution(_, subshell) => {
                let place = self.place(Some(&subshell.loc));
                let printed = self.piece(&subshell.list, place, reads);
                if reads && standard {
                    into.input = Some((printed, place));
                }
            }
            Target::Duplicate(word) => {
                let words = self.words(&word.value, at);
                if !reads {
                    into.outputs.extend(words.into_iter().filter(is_file));
                } else if standard {
                    into.input = Some((Stream::Other, at));
                }
            }
            Target::Fd(_) => {}
        }
    }

    /// A process substitution: what it prints, where it is read from.
    pub fn piece(&mut self, list: &CompoundList, at: At, reads: bool) -> Stream {
        let input = if reads {
            self.scope.input.clone()
        } else {
            Stream::Other
        };
        let walked = self.within(
            at,
            |scope| {
                scope.input = input;
                scope.process.push(Process { at, fresh: false });
            },
            |walker| walker.list(list),
        );
        walked.unwrap_or(Stream::Other)
    }

    fn body(&mut self, list: &CompoundList) -> Stream {
        let conditional = std::mem::replace(&mut self.scope.conditional, true);
        let printed = self.list(list);
        self.scope.conditional = conditional;
        printed
    }

    fn compound(&mut self, compound: &CompoundCommand) -> Stream {
        let at = self.scope.at;
        match compound {
            CompoundCommand::Arithmetic(arithmetic) => self.arithmetic(Some(&arithmetic.expr)),
            CompoundCommand::ArithmeticForClause(each) => {
                for expression in [&each.initializer, &each.condition, &each.updater] {
                    self.arithmetic(expression.as_ref());
                }
                self.repeated_body(|walker| walker.body(&each.body.list))
            }
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(subshell) => {
                let at = self.place(Some(&subshell.loc));
                self.split_off(at, |walker| walker.list(&subshell.list))
            }
            CompoundCommand::ForClause(each) => self.each(each),
            CompoundCommand::CaseClause(case) => {
                self.value(&case.value.value, at, Mode::Value);
                let mut printed = Stream::Nothing;
                for item in &case.cases {
                    for pattern in &item.patterns {
                        self.words(&pattern.value, self.place(pattern.loc.as_ref()));
                    }
                    if let Some(list) = &item.cmd {
                        printed = printed.then(self.body(list));
                    }
                }
                printed
            }
            CompoundCommand::IfClause(choice) => {
                let condition = self.list(&choice.condition);
                let mut printed = condition.then(self.body(&choice.then));
                for other in choice.elses.iter().flatten() {
                    for list in other.condition.iter().chain([&other.body]) {
                        printed = printed.then(self.body(list));
                    }
                }
                printed
            }
            CompoundCommand::WhileClause(again) | CompoundCommand::UntilClause(again) => {
                self.repeated_body(|walker| walker.body(&again.0).then(walker.body(&again.1.list)))
            }
            CompoundCommand::Coprocess(process) => self.one(&process.body),
        }
    }

    /// Only what is substituted in it runs.
    fn arithmetic(&mut self, expression: Option<&ast::UnexpandedArithmeticExpr>) -> Stream {
        if let Some(expression) = expression {
            self.value(&expression.value, self.scope.at, Mode::Quoted);
        }
        Stream::Nothing
    }

    fn each(&mut self, each: &ast::ForClauseCommand) -> Stream {
        let at = self.place(Some(&each.loc));
        let lists = self.variants(|walker| match &each.values {
            Some(words) => {
                let read =
                    |word: &ast::Word| walker.words(&word.value, walker.place(word.loc.as_ref()));
                words.iter().flat_map(read).collect::<Vec<_>>()
            }
            None => walker.values("@", None),
        });
        for word in lists.into_iter().flatten() {
            self.assign(&each.variable_name, Value::Scalar(word), at);
        }
        self.repeated_body(|walker| walker.body(&each.body.list))
    }

    /// What is run again and again: where it changes the positional parameters, its beginning meets them changed.
    fn repeated_body(&mut self, walk: impl Fn(&mut Self) -> Stream) -> Stream {
        let before = self.scope.positionals.clone();
        let printed = walk(self);
        if self.scope.positionals == before {
            return printed;
        }
        printed.then(walk(self))
    }

    fn test(&mut self, test: &ast::ExtendedTestExpr) -> Stream {
        use ast::ExtendedTestExpr as Test;
        match test {
            Test::And(left, right) | Test::Or(left, right) => {
                self.test(left);
                self.test(right);
            }
            Test::Not(inner) | Test::Parenthesized(inner) => drop(self.test(inner)),
            Test::UnaryTest(_, word) => self.operand(word),
            Test::BinaryTest(predicate, left, right) => {
                self.operand(left);
                // A regular expression is no word: it may have parentheses.
                if matches!(predicate, ast::BinaryPredicate::StringMatchesRegex) {
                    self.value(&right.value, self.place(right.loc.as_ref()), Mode::Quoted);
                } else {
                    self.operand(right);
                }
            }
        }
        Stream::Nothing
    }

    /// An operand may be arithmetic, which runs what an index substitutes.
    fn operand(&mut self, word: &ast::Word) {
        let at = self.place(word.loc.as_ref());
        let read = self.value(&word.value, at, Mode::Value).shown();
        if read.contains("[$(") || read.contains("[`") {
            self.unknown(Why::DynamicProgram, &word.value, at);
        }
    }

    fn define(&mut self, function: &ast::FunctionDefinition) -> Stream {
        let name = function.fname.value.clone();
        let at = self.place(function.fname.loc.as_ref());
        if bombs(&name, &function.body.0) {
            self.command(Command {
                argv: vec![Word::text(name.as_str())],
                assigns: Vec::new(),
                outputs: Vec::new(),
                folder: None,
                sql: Vec::new(),
                shape: Some(CommandShape::ForkBomb),
                at,
                through: self.scope.through.clone(),
            });
        }
        // What is called is followed with what it is called with; unless there are several of that name.
        let single = self
            .known
            .functions
            .get(&name)
            .is_some_and(|bodies| bodies.len() == 1);
        if !(single && self.known.called.contains(&name)) {
            let through = name.clone();
            self.within(
                at,
                |scope| {
                    scope.positionals = None;
                    scope.conditional = true;
                    scope.calling.push(through);
                },
                |walker| walker.call(&function.body),
            );
        }
        let bodies = self.seen.functions.entry(name).or_default();
        bodies.insert(at, Rc::new(function.body.clone()));
        Stream::Nothing
    }

    /// The body of a function.
    pub fn call(&mut self, body: &ast::FunctionBody) -> Stream {
        let ast::FunctionBody(compound, redirects) = body;
        self.redirected(redirects.as_ref(), |walker| walker.compound(compound))
    }
}

/// `>&FILE`, and not `>&2` or `>&-`.
fn is_file(word: &Word) -> bool {
    let text = word.shown();
    !text
        .trim_end_matches('-')
        .bytes()
        .all(|b| b.is_ascii_digit())
}

fn is_standard_input(word: &Word) -> bool {
    let text = word.known().unwrap_or_default();
    matches!(
        text.as_str(),
        "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0"
    )
}

/// Whether a function starts itself twice, or leaves itself behind.
fn bombs(name: &str, body: &CompoundCommand) -> bool {
    let list = match body {
        CompoundCommand::BraceGroup(group) => &group.list,
        CompoundCommand::Subshell(subshell) => &subshell.list,
        _ => return false,
    };
    let calls = |pipeline: &ast::Pipeline| {
        let itself = |command: &&ast::Command| match command {
            ast::Command::Simple(simple) => {
                let called = simple.word_or_name.as_ref();
                called.is_some_and(|word| word.value == name)
            }
            ast::Command::Compound(inner, _) => bombs(name, inner),
            _ => false,
        };
        pipeline.seq.iter().filter(itself).count()
    };
    list.0.iter().any(|ast::CompoundListItem(item, separator)| {
        let left_behind = matches!(separator, ast::SeparatorOperator::Async);
        let most = if left_behind { 1 } else { 2 };
        item.iter().any(|(_, pipeline)| calls(pipeline) >= most)
    })
}
