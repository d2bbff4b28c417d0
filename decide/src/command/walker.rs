//! The walk over a program and the programs within it: what it has found so far, and where it is.

use std::{collections::BTreeSet, rc::Rc};

use super::{
    Analysis, At, Command, Unknown, Why, Word,
    analysis::clip,
    bounds,
    names::{Names, Process, Value},
    stream::Stream,
};

/// Which of several values is taken, where a command may have several.
pub struct Choice {
    pub key: String,
    pub index: usize,
    pub count: usize,
}

/// The arguments `$1`, `$2` of a program or a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positionals {
    pub words: Vec<Word>,
    /// Some of the first may be gone; how many is not known.
    pub shifted: bool,
}

/// Where the walk is.
#[derive(Clone)]
pub struct Scope {
    /// The place of the text that is being read.
    pub at: At,
    pub input: Stream,
    /// What the positional parameters may be; nothing where that is not known.
    pub positionals: Option<Vec<Positionals>>,
    pub through: Vec<String>,
    /// The way from the process of the program to the one that this is read in.
    pub process: Vec<Process>,
    /// Functions that are being called.
    pub calling: Vec<String>,
    /// Programs within programs.
    pub depth: usize,
    /// Whether what is read may be left out when it runs.
    pub conditional: bool,
    /// The folder that the program went to last, where that is known.
    pub folder: Option<String>,
    /// Whether quotes were taken off, so that columns are not known.
    pub loose: bool,
}

/// A walk over a program.
pub struct Walker {
    pub found: Analysis,
    /// What the round before has found.
    pub known: Rc<Names>,
    /// What this round finds.
    pub seen: Names,
    pub scope: Scope,
    pub choices: Vec<Choice>,
    /// Whether what is found was told before.
    pub muted: bool,
    /// Variables that were set so far, and on no condition.
    pub certain: BTreeSet<String>,
    /// What was said to be unknown, and where.
    told: BTreeSet<(Why, At)>,
    /// Characters besides blanks at which values are split.
    pub separators: String,
    /// The variable that is being set.
    pub setting: Option<String>,
    /// Whether the stack has room for what is nested deeply.
    pub roomy: bool,
    parsed: usize,
    steps: usize,
    stopped: Option<Stop>,
}

/// Why a walk ends before its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The stack has no room for what is nested.
    Cramped,
    /// A bound is reached.
    Exhausted,
}

impl Walker {
    pub fn new(input: Stream, roomy: bool) -> Self {
        Self {
            found: Analysis::default(),
            known: Rc::default(),
            seen: Names::default(),
            scope: Scope {
                at: At::START,
                input,
                positionals: None,
                through: Vec::new(),
                process: Vec::new(),
                calling: Vec::new(),
                depth: 0,
                conditional: false,
                folder: None,
                loose: false,
            },
            choices: Vec::new(),
            muted: false,
            certain: BTreeSet::new(),
            told: BTreeSet::new(),
            separators: String::new(),
            setting: None,
            roomy,
            parsed: 0,
            steps: 0,
            stopped: None,
        }
    }

    /// Walks until what variables may be has settled, and gives what was found; nothing where the stack has no room for it.
    pub fn settle(mut self, walk: impl Fn(&mut Self)) -> Option<Analysis> {
        let input = self.scope.input.clone();
        for round in 1.. {
            walk(&mut self);
            if self.stopped == Some(Stop::Cramped) {
                return None;
            }
            let settled = self.seen.same(&self.known) || self.stopped.is_some();
            if !settled && round == bounds::ROUNDS {
                self.unknown(Why::TooMuch, "", At::START);
            }
            if settled || round == bounds::ROUNDS {
                break;
            }
            let separators = self.separators.clone();
            let mut next = Self::new(input.clone(), self.roomy);
            next.known = Rc::new(self.seen);
            next.separators = separators;
            self = next;
        }
        Some(self.found)
    }

    /// Says that something cannot be known; once for each place.
    pub fn unknown(&mut self, why: Why, what: &str, at: At) {
        if !self.muted && self.has_room(at) && self.told.insert((why, at)) {
            let what = clip(what);
            self.found.unknowns.push(Unknown { why, what, at });
        }
    }

    pub fn command(&mut self, command: Command) {
        let at = command.at;
        if !self.muted && self.has_room(at) && self.found.commands.last() != Some(&command) {
            self.found.commands.push(command);
        }
    }

    /// Whether more may be found. The first time that there is no room it is told.
    fn has_room(&mut self, at: At) -> bool {
        let found = self.found.commands.len() + self.found.unknowns.len();
        if found >= bounds::COMMANDS {
            self.exhaust(at);
        }
        self.stopped.is_none()
    }

    /// Counts what is about to be parsed; false where that is too much.
    pub fn may_parse(&mut self, text: &str, at: At) -> bool {
        self.parsed += text.len() + bounds::PARSE;
        if self.parsed > bounds::PARSED {
            self.exhaust(at);
        }
        self.stopped.is_none()
    }

    /// Counts a command that is about to be read; false where that is one too many.
    pub fn may_step(&mut self) -> bool {
        self.steps += 1;
        if self.steps > bounds::STEPS {
            self.exhaust(self.scope.at);
        }
        self.stopped.is_none()
    }

    fn exhaust(&mut self, at: At) {
        if self.stopped.is_none() {
            self.stopped = Some(Stop::Exhausted);
            self.found.unknowns.push(Unknown {
                why: Why::TooMuch,
                what: String::new(),
                at,
            });
        }
    }

    /// Ends the walk since the stack has no room for what is next.
    pub fn cramp(&mut self) {
        self.stopped = Some(Stop::Cramped);
    }

    pub fn is_exhausted(&self) -> bool {
        self.stopped.is_some()
    }

    /// Goes on elsewhere, one level deeper, and comes back.
    pub fn within<T>(
        &mut self,
        at: At,
        change: impl FnOnce(&mut Scope),
        walk: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        if self.scope.depth >= bounds::PROGRAMS {
            self.unknown(Why::TooDeep, "", at);
            return None;
        }
        let outer = self.scope.clone();
        let choices = std::mem::take(&mut self.choices);
        self.scope.depth += 1;
        change(&mut self.scope);
        let done = walk(self);
        self.scope = outer;
        self.choices = choices;
        Some(done)
    }

    /// Remembers that a variable may have this value.
    pub fn assign(&mut self, name: &str, value: Value, at: At) {
        if name == "IFS"
            && let Value::Scalar(word) = &value
        {
            let others = word.shown();
            let others = others.chars().filter(|c| !self.separators.contains(*c));
            self.separators = self.separators.chars().chain(others).take(64).collect();
        }
        if let Value::Scalar(word) = &value
            && substitutes_in_an_index(word)
        {
            self.unknown(Why::DynamicProgram, &word.shown(), at);
        }
        self.settle_in(name);
        if !self.seen.assign(name, value) {
            self.unknown(Why::TooMuch, name, at);
        }
    }

    /// Remembers that a program which is started here is given this variable.
    pub fn hand(&mut self, name: &str, value: Value, at: At) {
        self.scope.process.push(Process { at, fresh: true });
        self.assign(name, value, at);
        self.scope.process.pop();
        self.seen.exported.insert(name.to_owned());
    }

    fn settle_in(&mut self, name: &str) {
        let certain = !self.scope.conditional && self.scope.process.is_empty();
        if certain && !self.certain.contains(name) {
            self.certain.insert(name.to_owned());
        }
        let homes = self.seen.homes.entry(name.to_owned()).or_default();
        if homes.len() < bounds::VALUES && !homes.contains(&self.scope.process) {
            homes.insert(self.scope.process.clone());
        }
    }

    pub fn append(&mut self, name: &str, value: &Value, at: At) {
        self.settle_in(name);
        if !self.seen.append(name, value) {
            self.unknown(Why::TooMuch, name, at);
        }
    }

    /// The words that a parameter stands for, by the choices that are made.
    pub fn values(&mut self, name: &str, subscript: Option<&str>) -> Vec<Word> {
        let shown = format!("${name}");
        let sure = |plain| {
            vec![Word {
                parts: vec![super::expansion::unknown(&shown, false, plain)],
            }]
        };
        if name.is_empty() || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return match name {
                "@" | "*" => self.all_positionals(),
                "0" => sure(false),
                "#" | "?" | "$" | "!" | "-" => sure(true),
                number => self.positional(number.parse().unwrap_or(usize::MAX)),
            };
        }
        if self.setting.as_deref() == Some(name) {
            return vec![Word::unknown(shown)];
        }
        // In the first round it has the values that it was given so far.
        let round = Rc::clone(&self.known);
        let known = round.variables.get(name);
        let names = if known.is_some() { &*round } else { &self.seen };
        let is_set = names.has(name, &self.scope.process);
        let Some(count) = names.variables.get(name).map(Vec::len) else {
            return match name {
                "HOME" => vec![Word::text("~")],
                "IFS" => vec![Word::text(" ")],
                "PWD" | "OLDPWD" | "SHELL" | "USER" | "LOGNAME" => sure(false),
                "LINENO" | "RANDOM" | "UID" | "EUID" | "PPID" | "SECONDS" | "BASHPID"
                | "HOSTNAME" | "EPOCHSECONDS" => sure(true),
                _ => vec![Word::unknown(shown)],
            };
        };
        // Where it is set elsewhere only, it may be anything here, and most often is nothing.
        let chosen = self.choose(name, count + usize::from(!is_set));
        let names = if known.is_some() { &*round } else { &self.seen };
        let values = names.variables.get(name);
        match values.and_then(|values| values.get(chosen)).cloned() {
            Some(Value::Scalar(word)) => vec![word],
            Some(Value::List(words)) => self.elements(name, &words, subscript),
            None => vec![Word::unknown(shown)],
        }
    }

    fn elements(&mut self, name: &str, words: &[Word], subscript: Option<&str>) -> Vec<Word> {
        match subscript {
            Some("@" | "*") => words.to_vec(),
            None | Some("0") => words.first().cloned().into_iter().collect(),
            Some(index) => {
                let number = index.parse::<usize>().ok().filter(|n| *n < words.len());
                let chosen =
                    number.unwrap_or_else(|| self.choose(&format!("{name}[{index}]"), words.len()));
                words.get(chosen).cloned().into_iter().collect()
            }
        }
    }

    /// One of the lists that `$@` may be; none where that is not known.
    fn positionals(&mut self) -> Option<Vec<Word>> {
        let all = self.scope.positionals.clone()?;
        let one = all.get(self.choose("@", all.len()))?.clone();
        let gone = if one.shifted {
            self.choose("shift", one.words.len() + 1)
        } else {
            0
        };
        Some(one.words[gone.min(one.words.len())..].to_vec())
    }

    fn all_positionals(&mut self) -> Vec<Word> {
        self.positionals()
            .unwrap_or_else(|| vec![Word::unknown("$@")])
    }

    fn positional(&mut self, number: usize) -> Vec<Word> {
        if number == 0 {
            return vec![Word::unknown("$0")];
        }
        match self.positionals() {
            Some(words) => words
                .get(number.wrapping_sub(1))
                .cloned()
                .into_iter()
                .collect(),
            None => vec![Word::unknown(format!("${number}"))],
        }
    }
}

/// Whether arithmetic that names a variable of this value would run a program: `a[$(…)]`.
fn substitutes_in_an_index(value: &Word) -> bool {
    let substitutes = |text: &String| text.contains("[$(") || text.contains("[`");
    let written = |part: &super::Part| matches!(part, super::Part::Text(text) if substitutes(text));
    value.parts.iter().any(written)
}
