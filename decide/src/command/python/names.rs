//! What the names of a program of Python stand for: modules and functions, and texts that are assigned.

use std::collections::BTreeMap;

use ruff_python_ast::{
    Expr, ExprCall, Stmt,
    visitor::{Visitor, walk_expr, walk_stmt},
};

use super::{
    super::Word,
    call,
    text::{list, word},
};

/// What a name may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    Text(Word),
    List(Vec<Word>),
    Other,
}

/// The names of a program. All of it is one scope: which assignment comes first is not asked.
#[derive(Default)]
pub struct Names {
    /// Modules and functions, by their dotted paths.
    paths: BTreeMap<String, String>,
    held: BTreeMap<String, Vec<Held>>,
}

/// Builtins that are watched or lead to what is.
const BUILTINS: [&str; 13] = [
    "eval",
    "exec",
    "compile",
    "__import__",
    "open",
    "getattr",
    "globals",
    "locals",
    "vars",
    "execfile",
    "__builtins__",
    "input",
    "breakpoint",
];

/// Dots and calls of one path.
const LEVELS: usize = 12;

impl Names {
    pub fn of(suite: &[Stmt]) -> Self {
        let mut names = Self::default();
        for statement in suite {
            names.visit_stmt(statement);
        }
        names
    }

    fn hold(&mut self, name: &str, held: Held) {
        let all = self.held.entry(name.to_owned()).or_default();
        if !all.contains(&held) && all.len() < 16 {
            all.push(held);
        }
    }

    /// The only thing that a name is ever given.
    pub fn held(&self, name: &str) -> Option<&Held> {
        match self.held.get(name)?.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The dotted path of a module or a function.
    pub fn path(&self, expression: &Expr) -> Option<String> {
        self.path_within(expression, LEVELS)
    }

    fn path_within(&self, expression: &Expr, levels: usize) -> Option<String> {
        let levels = levels.checked_sub(1)?;
        match expression {
            Expr::Name(name) => {
                let id = name.id.as_str();
                let builtin = BUILTINS.contains(&id).then(|| match id {
                    "__builtins__" => "builtins".to_owned(),
                    id => format!("builtins.{id}"),
                });
                self.paths.get(id).cloned().or(builtin)
            }
            Expr::Attribute(attribute) => {
                let path = self.path_within(&attribute.value, levels)?;
                (path.len() < 200).then(|| format!("{path}.{}", attribute.attr.as_str()))
            }
            Expr::Subscript(subscript) => {
                let path = self.path_within(&subscript.value, levels)?;
                let key = word(&subscript.slice, self).known()?;
                match path.as_str() {
                    "sys.modules" => Some(key),
                    path if path.ends_with("__dict__")
                        || path.ends_with("()")
                        || path == "builtins" =>
                    {
                        let of = path.trim_end_matches(".__dict__").trim_end_matches("()");
                        Some(format!("{of}.{key}"))
                    }
                    _ => None,
                }
            }
            Expr::Call(made) => self.path_made(made, levels),
            _ => None,
        }
    }

    /// The dotted path of what a call gives.
    fn path_made(&self, made: &ExprCall, levels: usize) -> Option<String> {
        let path = self.path_within(&made.func, levels)?;
        let argument = |at: usize| made.arguments.args.get(at);
        let text = |at: usize| argument(at).and_then(|one| word(one, self).known());
        match path.as_str() {
            "builtins.__import__" | "importlib.import_module" => text(0),
            "builtins.getattr" => {
                let of = self.path_within(argument(0)?, levels)?;
                Some(format!("{of}.{}", text(1)?))
            }
            "builtins.vars" => Some(format!("{}()", self.path_within(argument(0)?, levels)?)),
            path if path.ends_with("Path") => Some("pathlib.Path()".to_owned()),
            _ => None,
        }
    }

    fn assign(&mut self, target: &Expr, value: Option<&Expr>) {
        match target {
            Expr::Name(name) => {
                let path = value
                    .and_then(|value| self.path(value))
                    .filter(|path| !path.ends_with(')'));
                if let Some(path) = path {
                    self.paths.insert(name.id.to_string(), path);
                    return;
                }
                let held = value.map(|value| match list(value, self) {
                    Some(words) => Held::List(words),
                    None => Held::Text(word(value, self)),
                });
                self.hold(name.id.as_str(), held.unwrap_or(Held::Other));
            }
            Expr::Tuple(tuple) => tuple.elts.iter().for_each(|one| self.assign(one, None)),
            Expr::List(list) => list.elts.iter().for_each(|one| self.assign(one, None)),
            Expr::Starred(starred) => self.assign(&starred.value, None),
            _ => {}
        }
    }

    fn import(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Import(import) => {
                for alias in &import.names {
                    let module = alias.name.as_str();
                    let top = module.split('.').next().unwrap_or(module);
                    let own = alias.asname.as_ref().map(|own| (own.as_str(), module));
                    let (name, path) = own.unwrap_or((top, top));
                    self.paths.insert(name.to_owned(), path.to_owned());
                }
            }
            Stmt::ImportFrom(import) => {
                let module = import.module.as_ref().map_or("", |module| module.as_str());
                for alias in &import.names {
                    let name = alias.name.as_str();
                    if name == "*" {
                        let all = call::watched_of(module);
                        self.paths
                            .extend(all.map(|one| (one.to_owned(), format!("{module}.{one}"))));
                    } else {
                        let own = alias.asname.as_ref().map_or(name, |own| own.as_str());
                        self.paths
                            .insert(own.to_owned(), format!("{module}.{name}"));
                    }
                }
            }
            _ => {}
        }
    }
}

impl<'a> Visitor<'a> for Names {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        self.import(statement);
        match statement {
            Stmt::Assign(assign) => {
                assign
                    .targets
                    .iter()
                    .for_each(|target| self.assign(target, Some(&assign.value)));
            }
            Stmt::AnnAssign(assign) => self.assign(&assign.target, assign.value.as_deref()),
            Stmt::AugAssign(assign) => self.assign(&assign.target, None),
            Stmt::For(each) => self.assign(&each.target, None),
            Stmt::With(with) => {
                let targets = with
                    .items
                    .iter()
                    .filter_map(|item| item.optional_vars.as_deref());
                targets.for_each(|target| self.assign(target, None));
            }
            Stmt::FunctionDef(function) => {
                for parameter in &*function.parameters {
                    self.hold(parameter.name().as_str(), Held::Other);
                }
            }
            _ => {}
        }
        walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        if let Expr::Named(named) = expression {
            self.assign(&named.target, Some(&named.value));
        }
        walk_expr(self, expression);
    }
}
