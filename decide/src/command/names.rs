//! What a program gives names to: variables and their possible values, functions, and files that it writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use brush_parser::ast::FunctionBody;

use super::{At, Word, bounds};

/// One value that a variable may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Scalar(Word),
    List(Vec<Word>),
}

/// A process that the program starts, by where that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub at: At,
    /// Whether it begins anew and has only what is exported; one that is split off has all that was set before.
    pub fresh: bool,
}

/// Variables that are in the environment from the start, so that what they are set to is handed on.
const INHERITED: &[&str] = &[
    "HOME", "LANG", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "USER",
];

/// The names of a program, gathered over all of it: which of two assignments comes first is not asked.
#[derive(Clone, Default)]
pub struct Names {
    pub variables: BTreeMap<String, Vec<Value>>,
    /// Where each variable is set: the ways to those processes.
    pub homes: BTreeMap<String, BTreeSet<Vec<Process>>>,
    /// Variables that are handed on to programs.
    pub exported: BTreeSet<String>,
    /// Functions by their names, each with every body that it is given, by its place.
    pub functions: BTreeMap<String, BTreeMap<At, Rc<FunctionBody>>>,
    /// Names of commands that are run, functions among them.
    pub called: BTreeSet<String>,
    /// Files that are written, by their names without a folder.
    pub written: BTreeSet<String>,
}

impl Names {
    /// Remembers a value; false where there are too many to follow.
    pub fn assign(&mut self, name: &str, value: Value) -> bool {
        let values = self.variables.entry(name.to_owned()).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
        values.len() <= bounds::VALUES
    }

    /// Remembers that something is added to a variable.
    pub fn append(&mut self, name: &str, value: &Value) -> bool {
        let before = self.variables.get(name).cloned().unwrap_or_default();
        let mut fits = before.len() <= bounds::VALUES / 2;
        if before.is_empty() || !fits {
            fits &= self.assign(name, Value::Scalar(Word::unknown(format!("${name}"))));
        }
        for old in before.into_iter().take(bounds::VALUES / 2) {
            let joined = match (old, value) {
                (Value::Scalar(mut word), Value::Scalar(more)) => {
                    word.extend(more);
                    Value::Scalar(word)
                }
                (Value::Scalar(word), Value::List(more)) => {
                    Value::List([vec![word], more.clone()].concat())
                }
                (Value::List(words), Value::List(more)) => {
                    Value::List([words, more.clone()].concat())
                }
                (Value::List(words), Value::Scalar(more)) => {
                    Value::List([words, vec![more.clone()]].concat())
                }
            };
            let long = matches!(&joined, Value::List(words) if words.len() > bounds::VALUES);
            let long = long || matches!(&joined, Value::Scalar(w) if w.shown().len() > 4096);
            fits &= !long && self.assign(name, joined);
        }
        fits
    }

    /// Whether a variable that is set somewhere is set in this process, too: in no sibling, and in no child.
    pub fn has(&self, name: &str, process: &[Process]) -> bool {
        let exported = self.exported.contains(name) || INHERITED.contains(&name);
        let reaches = |home: &Vec<Process>| {
            let further = process.strip_prefix(home.as_slice());
            further.is_some_and(|further| exported || further.iter().all(|one| !one.fresh))
        };
        let homes = self.homes.get(name);
        homes.is_some_and(|homes| homes.iter().any(reaches))
    }

    /// Functions that are called.
    fn calls(&self) -> impl Iterator<Item = &String> {
        let called = |name: &&String| self.called.contains(*name);
        self.functions.keys().filter(called)
    }

    /// Whether a round that knew these would find the same again.
    pub fn same(&self, other: &Self) -> bool {
        self.variables == other.variables
            && self.homes == other.homes
            && self.exported == other.exported
            && self.functions.keys().eq(other.functions.keys())
            && self
                .functions
                .values()
                .map(BTreeMap::len)
                .eq(other.functions.values().map(BTreeMap::len))
            && self.calls().eq(other.calls())
            && self.written == other.written
    }
}
