//! Parameters: what was declared meets what was given, and every mismatch is named.

use std::collections::BTreeMap;

use crds::v1alpha1::{ParameterSpec, SecretKeyRef};
use regex::RegexBuilder;

use crate::Refusal;

/// Memory that one compiled pattern may take.
const PATTERN_BYTES: usize = 256 * 1024;

/// The values of a run: plain ones, and references to secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    pub plain: BTreeMap<String, String>,
    pub secret: BTreeMap<String, SecretKeyRef>,
}

/// Values for every declared parameter, or the first mismatch.
pub fn resolve(
    declared: &[ParameterSpec],
    plain: &BTreeMap<String, String>,
    secret: &BTreeMap<String, SecretKeyRef>,
) -> Result<Values, Refusal> {
    for name in plain.keys().chain(secret.keys()) {
        if !declared.iter().any(|p| &p.name == name) {
            return Err(undeclared(name, declared));
        }
    }
    let mut values = Values::default();
    for parameter in declared {
        if let Some(reference) = secret.get(&parameter.name) {
            values
                .secret
                .insert(parameter.name.clone(), reference.clone());
            continue;
        }
        let value = plain_value(parameter, plain.get(&parameter.name))?;
        values.plain.insert(parameter.name.clone(), value);
    }
    Ok(values)
}

fn plain_value(parameter: &ParameterSpec, given: Option<&String>) -> Result<String, Refusal> {
    let name = &parameter.name;
    if parameter.sensitive && given.is_some() {
        return Err(Refusal::new(
            "SensitiveInPlain",
            format!(
                "spec.parameters.{name}: the parameter is sensitive; give it in spec.secretParameters as a Secret's name and key"
            ),
        ));
    }
    let value = given.or(parameter.default.as_ref());
    if value.is_none() && (parameter.required || parameter.sensitive) {
        let place = if parameter.sensitive {
            "secretParameters"
        } else {
            "parameters"
        };
        return Err(Refusal::new(
            "MissingParameter",
            format!("spec.{place}.{name} is required and has no default; give it a value"),
        ));
    }
    let value = value.cloned().unwrap_or_default();
    if given.is_some() || parameter.default.is_some() {
        accepts(&format!("spec.parameters.{name}"), parameter, &value)?;
    }
    Ok(value)
}

/// Whether a value satisfies the declared list and pattern.
pub fn accepts(field: &str, parameter: &ParameterSpec, value: &str) -> Result<(), Refusal> {
    if !parameter.allowed.is_empty() && !parameter.allowed.iter().any(|a| a == value) {
        return Err(Refusal::new(
            "ValueNotAllowed",
            format!(
                "{field}: {value:?} is not one of {}",
                parameter.allowed.join(", ")
            ),
        ));
    }
    let Some(pattern) = &parameter.pattern else {
        return Ok(());
    };
    let regex = compile(field, pattern)?;
    if regex
        .find(value)
        .is_some_and(|hit| hit.len() == value.len())
    {
        return Ok(());
    }
    Err(Refusal::new(
        "ValueNotAllowed",
        format!("{field}: {value:?} does not match the pattern {pattern}"),
    ))
}

/// The pattern, anchored to the whole value.
pub fn compile(field: &str, pattern: &str) -> Result<regex::Regex, Refusal> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(PATTERN_BYTES)
        .build()
        .map_err(|error| {
            Refusal::new(
                "BadPattern",
                format!("{field}: the pattern {pattern:?} is not usable: {error}"),
            )
        })
}

/// Whether a pattern that was found sound is somewhere in the text.
pub fn is_in(pattern: &str, text: &str) -> bool {
    let regex = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
    regex.is_ok_and(|regex| regex.is_match(text))
}

fn undeclared(name: &str, declared: &[ParameterSpec]) -> Refusal {
    let known: Vec<_> = declared.iter().map(|p| p.name.as_str()).collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Refusal::new(
        "UnknownParameter",
        format!("spec.parameters.{name}: the job declares no such parameter; it declares {known}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(name: &str) -> ParameterSpec {
        ParameterSpec {
            name: name.into(),
            ..ParameterSpec::default()
        }
    }

    fn map(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn every_mismatch_has_its_reason() {
        let declared = [
            ParameterSpec {
                required: true,
                pattern: Some("[a-z]+".into()),
                ..parameter("unit")
            },
            ParameterSpec {
                allowed: vec!["a".into(), "b".into()],
                default: Some("a".into()),
                ..parameter("mode")
            },
            ParameterSpec {
                sensitive: true,
                ..parameter("password")
            },
        ];
        let secret: BTreeMap<_, _> = [(
            "password".to_owned(),
            SecretKeyRef {
                name: "s".into(),
                key: "k".into(),
            },
        )]
        .into();
        let reason = |plain: &[(&str, &str)], secret: &BTreeMap<_, _>| {
            resolve(&declared, &map(plain), secret)
                .map(|_| ())
                .map_err(|r| r.reason)
        };
        assert_eq!(reason(&[("unit", "web")], &secret), Ok(()));
        assert_eq!(reason(&[], &secret), Err("MissingParameter"));
        assert_eq!(
            reason(&[("unit", "web")], &BTreeMap::new()),
            Err("MissingParameter")
        );
        assert_eq!(reason(&[("unit", "WEB")], &secret), Err("ValueNotAllowed"));
        assert_eq!(
            reason(&[("unit", "web"), ("mode", "c")], &secret),
            Err("ValueNotAllowed")
        );
        assert_eq!(
            reason(&[("unit", "web"), ("other", "c")], &secret),
            Err("UnknownParameter")
        );
        assert_eq!(
            reason(&[("unit", "web"), ("password", "c")], &BTreeMap::new()),
            Err("SensitiveInPlain")
        );
    }

    #[test]
    fn a_pattern_matches_the_whole_value_or_nothing() {
        let p = ParameterSpec {
            pattern: Some("a|ab".into()),
            ..parameter("p")
        };
        assert!(accepts("f", &p, "ab").is_ok());
        assert!(accepts("f", &p, "abc").is_err());
        assert_eq!(
            compile("f", "(").expect_err("unbalanced").reason,
            "BadPattern"
        );
    }
}
