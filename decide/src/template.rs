//! Templates: `{{ params.unit }}`, `{{ target.name }}`, `{{ run.name }}`, `{{ item }}`, `{{ outputs.version }}`. Unknown names are refused, work is bounded, secrets never enter.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{
    Environment, UndefinedBehavior, Value,
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
};
use serde::Serialize;

use crate::Refusal;

/// Steps of work one template may take.
const FUEL: u64 = 20_000;
/// What a template may do beside naming values. Fuel counts steps and not bytes, and each of the others lets text double at every step.
const STATEMENTS: [&str; 4] = ["if", "elif", "else", "endif"];
/// Longest text a template may render to.
const MAX_BYTES: usize = 16 * 1024;

/// Everything a template or condition can name.
#[derive(Clone, Debug, Serialize)]
pub struct Scope<'a> {
    pub params: &'a BTreeMap<String, String>,
    pub target: Target<'a>,
    pub run: Run<'a>,
    /// The value of forEach that the step is repeated for.
    pub item: &'a str,
    /// What the steps before have handed on.
    pub outputs: &'a BTreeMap<String, String>,
}

/// What the templates of a step may name beside its target and run.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    pub params: BTreeSet<&'a str>,
    pub secrets: BTreeSet<&'a str>,
    pub outputs: BTreeSet<&'a str>,
    pub secret_outputs: BTreeSet<&'a str>,
    pub item: bool,
}

/// The target that a step works on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Target<'a> {
    pub name: &'a str,
    pub address: &'a str,
}

/// The run that works.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
}

impl Scope<'_> {
    fn value(&self) -> Value {
        let pairs = |of: [(&str, &str); 2]| {
            Value::from_pairs(of.map(|(k, v)| (k.to_owned(), v.to_owned())))
        };
        let map = |of: &BTreeMap<String, String>| {
            Value::from_pairs(of.iter().map(|(k, v)| (k.clone(), v.clone())))
        };
        Value::from_pairs([
            ("params", map(self.params)),
            ("outputs", map(self.outputs)),
            ("item", Value::from(self.item)),
            (
                "target",
                pairs([("name", self.target.name), ("address", self.target.address)]),
            ),
            (
                "run",
                pairs([("name", self.run.name), ("namespace", self.run.namespace)]),
            ),
        ])
    }
}

/// What a template passes on whole, if it does nothing else: `params` or `outputs`, and a name.
pub fn passes_on(template: &str) -> Option<(&str, &str)> {
    let text = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let (of, name) = text.trim().split_once('.')?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_name && matches!(of, "params" | "outputs")).then_some((of, name))
}

/// Refuses a template that does not parse, or that names what is not there.
pub fn check(field: &str, template: &str, known: &Known<'_>) -> Result<(), Refusal> {
    narrow(field, template)?;
    let environment = environment();
    let parsed = environment
        .template_from_str(template)
        .map_err(|error| broken(field, &error))?;
    for name in parsed.undeclared_variables(true) {
        let is_known = match name.split_once('.') {
            Some(("params", param)) if known.secrets.contains(param) => {
                return Err(sensitive(field, &name));
            }
            Some(("outputs", output)) if known.secret_outputs.contains(output) => {
                return Err(sensitive(field, &name));
            }
            Some(("params", param)) => known.params.contains(param),
            Some(("outputs", output)) => known.outputs.contains(output),
            Some(("target", "name" | "address") | ("run", "name" | "namespace")) => true,
            None => name == "item" && known.item,
            Some(_) => false,
        };
        if !is_known {
            return Err(unknown(field, &name, known));
        }
    }
    Ok(())
}

/// Whether a text is a template, and not what it says.
pub fn is_one(text: &str) -> bool {
    ["{{", "{%"].iter().any(|mark| text.contains(mark))
}

/// Whether the text depends on what steps hand on, so that it can be rendered only once they have.
pub fn awaits_outputs(template: &str) -> bool {
    let environment = environment();
    let parsed = environment.template_from_str(template);
    parsed.is_ok_and(|parsed| {
        let names = parsed.undeclared_variables(true);
        names.iter().any(|name| name.starts_with("outputs"))
    })
}

/// The template's text in this scope.
pub fn render(field: &str, template: &str, scope: &Scope<'_>) -> Result<String, Refusal> {
    if !is_one(template) {
        return Ok(template.to_owned());
    }
    narrow(field, template)?;
    let text = environment()
        .render_str(template, scope.value())
        .map_err(|error| broken(field, &error))?;
    if text.len() > MAX_BYTES {
        let message = format!(
            "{field} renders to {} bytes; keep it under {MAX_BYTES}",
            text.len()
        );
        return Err(Refusal::new("TemplateTooLong", message));
    }
    Ok(text)
}

/// Refuses what could make more of a text than it holds.
fn narrow(field: &str, template: &str) -> Result<(), Refusal> {
    let mut opened = false;
    for token in tokenize(template, false, SyntaxConfig::default()) {
        let (token, _) = token.map_err(|error| broken(field, &error))?;
        let refused = match token {
            Token::Mul => Some("*"),
            Token::Ident(word) if opened && !STATEMENTS.contains(&word) => Some(word),
            _ => None,
        };
        if let Some(refused) = refused {
            return Err(Refusal::new(
                "BadTemplate",
                format!(
                    "{field} uses {refused}; a template can put in values and choose with if, and no more"
                ),
            ));
        }
        opened = matches!(token, Token::BlockStart);
    }
    Ok(())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let mut syntax = SyntaxConfig::builder();
    // A text ends as it was written, with a template in it or without.
    let syntax = syntax.keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("its marks are the usual ones"));
    environment
}

fn broken(field: &str, error: &minijinja::Error) -> Refusal {
    Refusal::new("BadTemplate", format!("{field}: {error}"))
}

fn sensitive(field: &str, name: &str) -> Refusal {
    Refusal::new(
        "SensitiveInTemplate",
        format!(
            "{field} mixes the secret {name} into text; pass it on whole, as {{{{ {name} }}}} and nothing else, in a script's parameters or an env"
        ),
    )
}

fn unknown(field: &str, name: &str, known: &Known<'_>) -> Refusal {
    let params = known.params.iter().map(|name| format!("params.{name}"));
    let outputs = known.outputs.iter().map(|name| format!("outputs.{name}"));
    let item = known.item.then(|| "item".to_owned());
    let fixed = "target.name, target.address, run.name, run.namespace".to_owned();
    let all = params.chain(outputs).chain(item).chain([fixed]);
    Refusal::new(
        "UnknownValue",
        format!(
            "{field} names {name}; a template here can name {}",
            all.collect::<Vec<_>>().join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(of: &[&'a str]) -> BTreeSet<&'a str> {
        of.iter().copied().collect()
    }

    #[test]
    fn a_template_may_only_name_what_is_there() {
        let known = Known {
            params: names(&["unit"]),
            secrets: names(&["password"]),
            outputs: names(&["version"]),
            secret_outputs: names(&["token"]),
            item: false,
        };
        let check = |text| check("f", text, &known).map_err(|r| r.reason);
        for (template, verdict) in [
            ("plain", Ok(())),
            ("{{ params.unit }}-{{ target.name }}", Ok(())),
            (
                "{% if params.unit == 'web' %}a{% elif 1 %}b{% else %}c{% endif %}",
                Ok(()),
            ),
            ("{%- raw -%}{{ set }}{% endraw %}", Ok(())),
            (
                "{% for i in [1,2] %}{{ i }}{% endfor %}",
                Err("BadTemplate"),
            ),
            ("{{ params.other }}", Err("UnknownValue")),
            ("v{{ outputs.version }}", Ok(())),
            ("v{{ outputs.token }}", Err("SensitiveInTemplate")),
            ("{{ outputs.other }}", Err("UnknownValue")),
            ("{{ outputs }}", Err("UnknownValue")),
            ("{{ item }}", Err("UnknownValue")),
            ("{{ unit }}", Err("UnknownValue")),
            ("{{ params }}", Err("UnknownValue")),
            ("x{{ params.password }}", Err("SensitiveInTemplate")),
            ("{{ params.unit", Err("BadTemplate")),
        ] {
            assert_eq!(check(template), verdict, "{template}");
        }
    }

    #[test]
    fn rendering_is_bounded() {
        let params = [("unit".to_owned(), "web".to_owned())].into();
        let scope = Scope {
            params: &params,
            target: Target {
                name: "vm1",
                address: "10.0.0.1",
            },
            run: Run {
                name: "r",
                namespace: "n",
            },
            item: "i",
            outputs: &[("version".to_owned(), "1.2".to_owned())].into(),
        };
        assert_eq!(
            render("f", "{{ params.unit }}@{{ target.address }}", &scope).expect("valid"),
            "web@10.0.0.1"
        );
        assert_eq!(
            render("f", "{{ outputs.version }}-{{ item }}", &scope).expect("valid"),
            "1.2-i"
        );
        assert_eq!(
            render("f", "{{ params.unit }}\n", &scope).expect("valid"),
            "web\n"
        );
        let missing = render("f", "{{ outputs.other }}", &scope);
        assert_eq!(missing.expect_err("nobody gave it").reason, "BadTemplate");
        let long = "{{ params.unit }}".repeat(MAX_BYTES / 3 + 1);
        assert_eq!(
            render("f", &long, &scope).expect_err("too long").reason,
            "TemplateTooLong"
        );
        for grows in [
            "{{ 'x' * 99999999 }}",
            "{% set x = 'xx' %}{% set x = x ~ x %}{{ x }}",
            "{% set x %}{{ x }}{{ x }}{% endset %}",
            "{%- for x in [['a', 'a']] %}{% for y in [[x, x]] %}{{ y == y }}{% endfor %}{% endfor %}",
            "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{{ m(m('x')) }}",
        ] {
            let refused = render("f", grows, &scope).expect_err(grows);
            assert_eq!(refused.reason, "BadTemplate", "{grows}");
            assert!(refused.message.contains("no more"), "{refused:?}");
        }
    }

    #[test]
    fn only_a_lone_parameter_is_passed_on_whole() {
        let password = Some(("params", "password"));
        assert_eq!(passes_on("{{ params.password }}"), password);
        assert_eq!(passes_on("{{params.password}}"), password);
        assert_eq!(passes_on("{{ outputs.a }}"), Some(("outputs", "a")));
        assert_eq!(passes_on("{{ target.name }}"), None);
        assert_eq!(passes_on("x{{ params.password }}"), None);
        assert_eq!(passes_on("{{ params.a }}{{ params.b }}"), None);
    }
}
