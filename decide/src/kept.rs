//! What Parameters keep: a value in a version, found by the name under which somebody refers to it.

use std::collections::BTreeMap;

use crds::v1alpha1::{
    DeclaredParameter, JobSpec, Parameter, ParameterRef, ParameterSpec, Requester, SecretKeyRef,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Refusal, parameters};

/// What a ControllerRevision of a Parameter holds: the value, and who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// A value and the number of the version that it is; none while the operator has not counted it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub value: Held,
    pub version: Option<i64>,
}

/// A plain value, or where a secret one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    Plain(String),
    Secret(SecretKeyRef),
}

/// Values as they are referred to. What does not exist is not among them.
pub type Store = BTreeMap<ParameterRef, Kept>;

impl Version {
    /// What a Parameter says now.
    pub fn of(spec: &ParameterSpec) -> Self {
        Self {
            value: spec.value.clone(),
            secret_ref: spec.secret_ref.clone(),
            requested_by: spec.requested_by.clone(),
        }
    }

    pub fn held(&self) -> Held {
        match &self.secret_ref {
            Some(place) => Held::Secret(place.clone()),
            None => Held::Plain(self.value.clone().unwrap_or_default()),
        }
    }
}

impl Held {
    /// Digest of a value, `sha256:` and 64 hexadecimal digits; of a secret one, of its place.
    pub fn digest(&self) -> String {
        let held = match self {
            Self::Plain(value) => serde_json::json!({"value": value}),
            Self::Secret(place) => serde_json::json!({"secretRef": place}),
        };
        format!("sha256:{}", hex::encode(Sha256::digest(held.to_string())))
    }
}

/// What a Parameter says now, and which version that is if the operator has counted it already.
pub fn latest(parameter: &Parameter) -> Kept {
    let status = parameter.status.as_ref();
    let counted = status.filter(|s| s.observed_generation == parameter.metadata.generation);
    Kept {
        value: Version::of(&parameter.spec).held(),
        version: counted.and_then(|s| s.version),
    }
}

/// Name of the ControllerRevision that holds a version; one of a Parameter that was created anew is another.
pub fn revision_name(parameter: &str, uid: &str, version: i64) -> String {
    format!(
        "{}-{}-{version}",
        &parameter[..parameter.len().min(220)],
        &uid[..uid.len().min(8)]
    )
}

/// Parameters that the values of a job come from where a run gives none.
pub fn named(job: &JobSpec) -> impl Iterator<Item = &ParameterRef> {
    job.parameters.iter().filter_map(|p| p.from.as_ref())
}

/// The value that a declared parameter gets from a Parameter, or why it cannot.
pub fn fetch<'a>(
    field: &str,
    declared: &DeclaredParameter,
    from: &ParameterRef,
    store: &'a Store,
) -> Result<&'a Kept, Refusal> {
    let Some(kept) = store.get(from) else {
        return Err(missing(field, from));
    };
    match &kept.value {
        Held::Secret(_) => Ok(kept),
        Held::Plain(_) if declared.sensitive => Err(Refusal::new(
            "SensitiveInPlain",
            format!(
                "{field}: the parameter is sensitive and Parameter {} holds a plain value; have it refer to a Secret, or name another",
                from.name
            ),
        )),
        Held::Plain(value) => {
            let whose = format!("{field}, from Parameter {}", from.name);
            parameters::accepts(&whose, declared, value).map(|()| kept)
        }
    }
}

fn missing(field: &str, from: &ParameterRef) -> Refusal {
    let name = &from.name;
    match from.version {
        None => Refusal::new(
            "ParameterNotFound",
            format!(
                "{field}: there is no Parameter {name} in this namespace; create it or correct the name"
            ),
        ),
        Some(version) => Refusal::new(
            "ParameterVersionNotFound",
            format!(
                "{field}: Parameter {name} has no version {version}, or it is kept no more; name another, which `kubectl pilothouse parameter history {name}` shows"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(value: Held) -> Store {
        let kept = Kept {
            value,
            version: Some(3),
        };
        [(reference(None), kept)].into()
    }

    fn reference(version: Option<i64>) -> ParameterRef {
        ParameterRef {
            name: "shop-unit".into(),
            version,
        }
    }

    fn place() -> SecretKeyRef {
        SecretKeyRef {
            name: "s".into(),
            key: "k".into(),
            uid: None,
        }
    }

    #[test]
    fn a_value_has_to_be_there_and_to_be_what_was_declared() {
        let plain = store(Held::Plain("web".into()));
        let secret = store(Held::Secret(place()));
        let lower = DeclaredParameter {
            pattern: Some("[a-z]+".into()),
            ..DeclaredParameter::default()
        };
        let upper = DeclaredParameter {
            pattern: Some("[A-Z]+".into()),
            ..DeclaredParameter::default()
        };
        let sensitive = DeclaredParameter {
            sensitive: true,
            ..DeclaredParameter::default()
        };
        let reason = |declared: &DeclaredParameter, version, store: &Store| {
            fetch("f", declared, &reference(version), store)
                .map(|kept| kept.version)
                .map_err(|refusal| refusal.reason)
        };
        assert_eq!(reason(&lower, None, &plain), Ok(Some(3)));
        assert_eq!(reason(&upper, None, &plain), Err("ValueNotAllowed"));
        assert_eq!(reason(&sensitive, None, &plain), Err("SensitiveInPlain"));
        assert_eq!(reason(&sensitive, None, &secret), Ok(Some(3)));
        assert_eq!(
            reason(&lower, Some(1), &plain),
            Err("ParameterVersionNotFound")
        );
        assert_eq!(
            reason(&lower, None, &Store::new()),
            Err("ParameterNotFound")
        );
    }

    #[test]
    fn a_digest_tells_a_value_from_the_place_of_one() {
        let plain = Held::Plain("s".into()).digest();
        assert_eq!(plain, Held::Plain("s".into()).digest());
        assert_ne!(plain, Held::Plain("S".into()).digest());
        assert_ne!(plain, Held::Secret(place()).digest());
    }

    #[test]
    fn each_version_of_each_parameter_has_a_name_of_its_own() {
        let name = revision_name("shop-unit", "0123456789", 12);
        assert_eq!(name, "shop-unit-01234567-12");
        assert!(revision_name(&"a".repeat(253), "0123456789", 1_000_000_000).len() <= 253);
    }
}
