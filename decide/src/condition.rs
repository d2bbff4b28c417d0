//! CEL conditions: `when` of a step or of a rule of risk, and `until` of a wait. Foreign text is bounded before it is parsed, and parsed and evaluated on a stack of its own.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use cel::{
    Context, Program,
    common::ast::{EntryExpr, Expr, IdedExpr},
};
use serde::Serialize;

use crate::Refusal;

/// Deepest nesting of brackets.
const DEPTH: usize = 16;
/// Most characters of operators in a row, since each may be a level of recursion.
const OPERATORS: usize = 16;
/// Room for the parser, which is recursive and generous with its frames.
const STACK: usize = 32 << 20;

/// Does this with a stack on which a condition can be parsed and evaluated; none where it panics.
pub fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let room = thread::Builder::new().stack_size(STACK);
        let at_work = room.spawn_scoped(scope, work);
        at_work.expect("a thread can be started").join().ok()
    })
}

/// A condition as it was compiled, or why it cannot be.
#[derive(Debug)]
pub struct Compiled {
    field: String,
    text: String,
    program: Result<Program, Refusal>,
}

impl Compiled {
    /// To be called `with_room`.
    pub fn of(field: &str, text: &str) -> Self {
        Self {
            field: field.to_owned(),
            text: text.to_owned(),
            program: compile(field, text),
        }
    }

    /// Whether the condition holds. To be called `with_room`.
    pub fn holds(&self, variables: &impl Serialize) -> Result<bool, Refusal> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        let evaluated = catch_unwind(AssertUnwindSafe(|| evaluate(program, variables)));
        let value = evaluated.unwrap_or_else(|_| Err("it cannot be evaluated".into()));
        value.map_err(|error| bad(&self.field, &self.text, &error))
    }

    /// Whether the condition compiles and names no other variables than these. To be called `with_room`.
    pub fn names_only(&self, known: &[&str]) -> bool {
        let program = self.program.as_ref();
        program.is_ok_and(|program| unknown(program.expression(), known, &[]).is_none())
    }
}

/// Conditions that were compiled, by their texts.
#[derive(Default)]
pub struct Conditions(BTreeMap<String, Compiled>);

impl Conditions {
    /// Whether the condition holds. To be called `with_room`.
    pub fn holds(
        &mut self,
        field: &str,
        text: &str,
        variables: &impl Serialize,
    ) -> Result<bool, Refusal> {
        if !self.0.contains_key(text) {
            self.0.insert(text.to_owned(), Compiled::of(field, text));
        }
        self.0[text].holds(variables)
    }
}

fn evaluate(program: &Program, variables: &impl Serialize) -> Result<bool, String> {
    let mut context = Context::default();
    let given = serde_json::to_value(variables).map_err(|e| e.to_string())?;
    for (name, value) in given.as_object().into_iter().flatten() {
        let added = context.add_variable(
            name.as_str(),
            cel::to_value(value).map_err(|e| e.to_string())?,
        );
        added.map_err(|e| e.to_string())?;
    }
    match program.execute(&context) {
        Ok(cel::Value::Bool(holds)) => Ok(holds),
        Ok(other) => Err(format!("it gives {}, not a boolean", other.type_of())),
        Err(error) => Err(error.to_string()),
    }
}

/// Refuses a condition that does not compile, or that names another variable than these.
pub fn check(field: &str, text: &str, known: &[&str]) -> Result<(), Refusal> {
    let checked = with_room(|| {
        let program = compile(field, text)?;
        unknown(program.expression(), known, &[]).map_or(Ok(()), |name| {
            let known = known.join(", ");
            Err(bad(
                field,
                text,
                &format!("it names {name}; it can name {known}"),
            ))
        })
    });
    checked.unwrap_or_else(|| Err(bad(field, text, "it cannot be parsed")))
}

fn compile(field: &str, text: &str) -> Result<Program, Refusal> {
    narrow(text).map_err(|why| bad(field, text, why))?;
    let compiled = catch_unwind(|| Program::compile(text));
    let program = compiled
        .map_err(|_| bad(field, text, "it cannot be parsed"))?
        .map_err(|error| bad(field, text, &error.to_string()))?;
    if nested(program.expression(), false) {
        return Err(bad(
            field,
            text,
            "it has a macro such as all or exists within another",
        ));
    }
    Ok(program)
}

/// What makes a text too deep to be parsed.
fn narrow(text: &str) -> Result<(), &'static str> {
    let (mut depth, mut operators) = (0_usize, 0_usize);
    for character in text.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        operators = match character {
            '!' | '-' | '+' | '*' | '/' | '%' | '?' | ':' | '<' | '>' | '=' | '&' | '|' => {
                operators + 1
            }
            ' ' | '\t' | '\n' | '\r' => operators,
            _ => 0,
        };
        if depth > DEPTH {
            return Err("its brackets are nested too deeply");
        }
        if operators > OPERATORS {
            return Err("it has too many operators in a row");
        }
    }
    Ok(())
}

/// Whether a loop is within a loop, whose work nothing bounds.
fn nested(of: &IdedExpr, within: bool) -> bool {
    let is_loop = matches!(of.expr, Expr::Comprehension(_));
    let mut parts = parts(of).into_iter();
    (is_loop && within) || parts.any(|part| nested(part, within || is_loop))
}

/// The first variable that is neither known nor a loop's own.
fn unknown<'a>(of: &'a IdedExpr, known: &[&str], own: &[&'a str]) -> Option<&'a str> {
    if let Expr::Ident(name) = &of.expr {
        let is_known = known.contains(&name.as_str()) || own.contains(&name.as_str());
        return (!is_known).then_some(name);
    }
    let mut own = own.to_vec();
    if let Expr::Comprehension(inner) = &of.expr {
        own.extend([inner.iter_var.as_str(), inner.accu_var.as_str()]);
        own.extend(inner.iter_var2.as_deref());
    }
    parts(of)
        .into_iter()
        .find_map(|part| unknown(part, known, &own))
}

/// What an expression is made of.
fn parts(of: &IdedExpr) -> Vec<&IdedExpr> {
    match &of.expr {
        Expr::Comprehension(inner) => vec![
            &inner.iter_range,
            &inner.accu_init,
            &inner.loop_cond,
            &inner.loop_step,
            &inner.result,
        ],
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|e| of_entry(&e.expr)).collect(),
        Expr::Struct(of) => of.entries.iter().flat_map(|e| of_entry(&e.expr)).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn bad(field: &str, text: &str, why: &str) -> Refusal {
    Refusal::new("BadCondition", format!("{field}: {text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(text: &str) -> Result<bool, String> {
        let given = json!({"params": {"env": "prod"}, "object": {"spec": {"replicas": 3}, "list": [1, 2, 3]}});
        with_room(|| Conditions::default().holds("when", text, &given))
            .expect("no panic")
            .map_err(|refusal| refusal.message)
    }

    #[test]
    fn a_condition_is_true_or_false_or_says_what_is_wrong_with_it() {
        for (text, expected) in [
            ("params.env == 'prod'", Ok(true)),
            ("params.env in ['test', 'stage']", Ok(false)),
            (
                "object.spec.replicas > 2 && object.list.all(n, n > 0)",
                Ok(true),
            ),
            ("has(object.status) && object.status.ready", Ok(false)),
            ("object.status.ready", Err("No such key")),
            ("params.env", Err("not a boolean")),
            ("params.env ==", Err("when")),
            (
                "object.list.all(n, object.list.all(m, m == n))",
                Err("within another"),
            ),
            (
                "object.list.map(n, [n].filter(m, true)) == []",
                Err("within another"),
            ),
        ] {
            match (asked(text), expected) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{text}"),
                (Err(got), Err(wanted)) => assert!(got.contains(wanted), "{text}: {got}"),
                (got, wanted) => panic!("{text}: {got:?}, not {wanted:?}"),
            }
        }
    }

    #[test]
    fn what_is_deep_is_refused_before_it_is_parsed() {
        for text in [
            "(".repeat(500) + &")".repeat(500),
            "!".repeat(500) + "true",
            "- ".repeat(500) + "1 == 1",
            "[".repeat(17),
            "a".repeat(900) + "(",
        ] {
            assert!(check("when", &text, &["params"]).is_err());
        }
    }

    #[test]
    fn it_is_known_what_a_condition_names() {
        for (text, expected) in [
            ("params.a == 'b'", true),
            ("object.list.exists(c, c == params.a)", true),
            ("run.a == 'b'", false),
            ("params.a ==", false),
        ] {
            let names_only = || Compiled::of("when", text).names_only(&["params", "object"]);
            assert_eq!(with_room(names_only), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_condition_may_only_name_what_is_there() {
        assert_eq!(check("when", "params.a == 'b'", &["params"]), Ok(()));
        let own = "object.list.exists(c, c.type == 'Ready') && object.list.map(n, n) == []";
        assert_eq!(check("until", own, &["object"]), Ok(()));
        assert!(check("until", "object.list.exists(c, d)", &["object"]).is_err());
        let refused = check("when", "secrets.a == 'b'", &["params", "run"]).expect_err("unknown");
        assert!(
            refused
                .message
                .contains("it names secrets; it can name params, run"),
            "{refused:?}"
        );
    }
}
