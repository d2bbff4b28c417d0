//! Programs of Python: what they give to a shell, to other programs and to the file system, read from their syntax tree.

mod call;
mod names;
mod text;

use ruff_python_ast::{
    Expr, Stmt,
    visitor::{Visitor, walk_expr, walk_stmt},
};
use ruff_python_parser::parse_module;

use self::names::Names;
use super::{At, Why, bounds, walker::Walker};

/// Longest program that is read on the stack of the caller: each operator of it may be a level of the tree.
const SHORT: usize = 256;

/// Walks over a program that begins here.
pub fn walk(walker: &mut Walker, program: &str, at: At) {
    let depth = bounds::depth(program);
    let why = match () {
        () if program.len() > bounds::LENGTH => Some(Why::TooLong),
        () if bounds::is_too_deep(depth) => Some(Why::TooDeep),
        () => None,
    };
    if let Some(why) = why {
        return walker.unknown(why, program, at);
    }
    let fits = program.len() <= SHORT && bounds::is_shallow(depth);
    if !(walker.roomy || fits) {
        return walker.cramp();
    }
    if !walker.may_parse(program, at) {
        return;
    }
    let Ok(parsed) = parse_module(program) else {
        return walker.unknown(Why::Unparsed, program, at);
    };
    let suite = parsed.suite();
    let names = Names::of(suite);
    let mut reader = Reader {
        walker,
        program,
        at,
        names,
    };
    suite
        .iter()
        .for_each(|statement| reader.visit_stmt(statement));
}

/// A walk over the statements of a program.
pub struct Reader<'w, 'p> {
    walker: &'w mut Walker,
    program: &'p str,
    at: At,
    names: Names,
}

impl Reader<'_, '_> {
    /// The place of a byte.
    fn place(&self, offset: u32) -> At {
        let mut index = (offset as usize).min(self.program.len());
        while !self.program.is_char_boundary(index) {
            index -= 1;
        }
        super::expansion::offset(self.at, self.program, index)
    }

    fn unknown(&mut self, why: Why, offset: u32) {
        let at = self.place(offset);
        let from = (offset as usize).min(self.program.len());
        let rest = self.program.get(from..).unwrap_or_default();
        let what = rest.lines().next().unwrap_or_default();
        self.walker.unknown(why, what, at);
    }
}

impl<'a> Visitor<'a> for Reader<'_, '_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if self.walker.is_exhausted() {
            return;
        }
        // A function under another name is known by that name, too.
        let named = match statement {
            Stmt::Assign(assign) => self.names.path(&assign.value).is_some(),
            _ => false,
        };
        if !named {
            walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Call(call) => {
                let known = self.call(call);
                match &*call.func {
                    func if !known => self.visit_expr(func),
                    // What it is a method of may be a call of its own.
                    Expr::Attribute(method) if self.names.path(&call.func).is_none() => {
                        self.visit_expr(&method.value);
                    }
                    _ => {}
                }
                call.arguments
                    .args
                    .iter()
                    .for_each(|argument| self.visit_expr(argument));
                call.arguments
                    .keywords
                    .iter()
                    .for_each(|keyword| self.visit_expr(&keyword.value));
            }
            Expr::Name(_) | Expr::Attribute(_) | Expr::Subscript(_) => {
                if self
                    .names
                    .path(expression)
                    .is_some_and(|path| call::is_watched(&path))
                {
                    // It is handed on, and called where nobody sees with what.
                    self.unknown(Why::DynamicName, call::start(expression));
                } else if !matches!(expression, Expr::Name(_)) {
                    walk_expr(self, expression);
                }
            }
            _ => walk_expr(self, expression),
        }
    }
}
