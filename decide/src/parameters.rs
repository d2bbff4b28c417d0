//! Parameters: what was declared meets what was given, and every mismatch is named.

use std::collections::BTreeMap;

use crds::v1alpha1::{DeclaredParameter, ParameterRef, SecretKeyRef};
use regex::RegexBuilder;

use crate::{
    Refusal,
    kept::{self, Held, Store},
};

/// Memory that one compiled pattern may take.
const PATTERN_BYTES: usize = 256 * 1024;

/// What a run gives to parameters, each in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub plain: BTreeMap<String, String>,
    pub secret: BTreeMap<String, SecretKeyRef>,
    /// Kept in Parameters.
    pub refs: BTreeMap<String, ParameterRef>,
}

/// The values of a run: plain ones, and references to secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    pub plain: BTreeMap<String, String>,
    pub secret: BTreeMap<String, SecretKeyRef>,
    /// Parameters that values came from, in the version that was read.
    pub read: BTreeMap<String, ParameterRef>,
}

/// Values for every declared parameter, or the first mismatch.
pub fn resolve(
    declared: &[DeclaredParameter],
    given: &Given,
    store: &Store,
) -> Result<Values, Refusal> {
    let Given {
        plain,
        secret,
        refs,
    } = given;
    for name in plain.keys().chain(secret.keys()).chain(refs.keys()) {
        if !declared.iter().any(|p| &p.name == name) {
            return Err(undeclared(name, declared));
        }
    }
    let mut values = Values::default();
    for parameter in declared {
        let name = &parameter.name;
        if let Some(reference) = secret.get(name) {
            values.secret.insert(name.clone(), reference.clone());
            continue;
        }
        let own = parameter.from.as_ref();
        let from = refs.get(name).or(own.filter(|_| !plain.contains_key(name)));
        if let Some(from) = from {
            values.read_from(parameter, from, store)?;
            continue;
        }
        let value = plain_value(parameter, plain.get(name))?;
        values.plain.insert(name.clone(), value);
    }
    Ok(values)
}

impl Values {
    fn read_from(
        &mut self,
        declared: &DeclaredParameter,
        from: &ParameterRef,
        store: &Store,
    ) -> Result<(), Refusal> {
        let name = &declared.name;
        let kept = kept::fetch(&format!("spec.parameters.{name}"), declared, from, store)?;
        match &kept.value {
            Held::Plain(value) => {
                self.plain.insert(name.clone(), value.clone());
            }
            Held::Secret(place) => {
                self.secret.insert(name.clone(), place.clone());
            }
        }
        let read = ParameterRef {
            name: from.name.clone(),
            version: kept.version,
        };
        self.read.insert(name.clone(), read);
        Ok(())
    }
}

fn plain_value(parameter: &DeclaredParameter, given: Option<&String>) -> Result<String, Refusal> {
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
    if value.is_none() && parameter.is_asked_for() {
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
pub fn accepts(field: &str, parameter: &DeclaredParameter, value: &str) -> Result<(), Refusal> {
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

fn undeclared(name: &str, declared: &[DeclaredParameter]) -> Refusal {
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

    fn parameter(name: &str) -> DeclaredParameter {
        DeclaredParameter {
            name: name.into(),
            ..DeclaredParameter::default()
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
            DeclaredParameter {
                required: true,
                pattern: Some("[a-z]+".into()),
                ..parameter("unit")
            },
            DeclaredParameter {
                allowed: vec!["a".into(), "b".into()],
                default: Some("a".into()),
                ..parameter("mode")
            },
            DeclaredParameter {
                sensitive: true,
                ..parameter("password")
            },
        ];
        let secret: BTreeMap<_, _> = [(
            "password".to_owned(),
            SecretKeyRef {
                name: "s".into(),
                key: "k".into(),
                uid: None,
            },
        )]
        .into();
        let reason = |plain: &[(&str, &str)], secret: &BTreeMap<_, _>| {
            let given = Given {
                plain: map(plain),
                secret: secret.clone(),
                ..Given::default()
            };
            resolve(&declared, &given, &Store::new())
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
    fn a_run_gives_a_value_or_it_comes_from_where_the_job_says() {
        let from = |name: &str| ParameterRef {
            name: name.into(),
            version: None,
        };
        let kept = |value: &str, version| kept::Kept {
            value: Held::Plain(value.into()),
            version: Some(version),
        };
        let store: Store = [(from("a"), kept("of a", 1)), (from("b"), kept("of b", 2))].into();
        let declared = [DeclaredParameter {
            from: Some(from("a")),
            ..parameter("unit")
        }];
        let found = |given: Given| {
            let values = resolve(&declared, &given, &store).expect("sound");
            let read = values.read.get("unit").cloned();
            (values.plain["unit"].clone(), read.and_then(|r| r.version))
        };
        assert_eq!(found(Given::default()), ("of a".to_owned(), Some(1)));
        let plain = map(&[("unit", "own")]);
        let given = Given {
            plain,
            ..Given::default()
        };
        assert_eq!(found(given), ("own".to_owned(), None));
        let refs = [("unit".to_owned(), from("b"))].into();
        let given = Given {
            refs,
            ..Given::default()
        };
        assert_eq!(found(given), ("of b".to_owned(), Some(2)));
    }

    #[test]
    fn a_pattern_matches_the_whole_value_or_nothing() {
        let p = DeclaredParameter {
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
